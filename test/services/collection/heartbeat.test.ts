/** Connections that are due for something, a few in each turn of the event loop. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type Beating, Heartbeat } from '../../../src/services/collection/heartbeat.ts';

/** Longer than the looks of one turn may last, in milliseconds. */
const LONG = 11;

function takeLong(): void {
  const end = performance.now() + LONG;
  while (performance.now() <= end) {}
}

suite('Heartbeat', () => {
  test('lets others have their turn when the looks take long, and goes on where it was', async () => {
    const heartbeat = new Heartbeat(1);
    const order: string[] = [];
    const { promise: roundIsOver, resolve } = Promise.withResolvers<void>();
    const member = (name: string): Beating => ({
      beat() {
        order.push(name);
        setImmediate(() => order.push(`turn after ${name}`));
        if (order.filter((event) => event === 'first').length > 1) {
          heartbeat.close();
          resolve();
        }
        takeLong();
      },
    });
    for (const name of ['first', 'second', 'third']) {
      heartbeat.add(member(name));
    }
    await keepingAlive(roundIsOver);
    assert.deepEqual(order.slice(0, 7), [
      'first',
      'turn after first',
      'second',
      'turn after second',
      'third',
      'turn after third',
      'first',
    ]);
  });

  test('looks no more at who went meanwhile', async () => {
    const heartbeat = new Heartbeat(1);
    const order: string[] = [];
    const { promise: twice, resolve } = Promise.withResolvers<void>();
    const gone: Beating = { beat: () => order.push('gone') };
    heartbeat.add({
      beat() {
        order.push('there');
        heartbeat.delete(gone);
        takeLong();
        if (order.length === 2) {
          heartbeat.close();
          resolve();
        }
      },
    });
    heartbeat.add(gone);
    await keepingAlive(twice);
    assert.deepEqual(order, ['there', 'there']);
  });
});

/** The heartbeat's own timer keeps no process alive. */
async function keepingAlive(promise: Promise<void>): Promise<void> {
  const timer = setInterval(() => {}, 1000);
  await promise;
  clearInterval(timer);
}
