/** Deadlines that share a timer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Deadlines } from '../../src/workers/internet-delivery/deadlines.ts';

const HOUR = 3_600_000;
const PERIOD = 1000;

test('what is over is told once, what is not or was removed is not, and nothing runs when nothing is watched', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const clear = t.mock.method(globalThis, 'clearInterval');
  const deadlines = new Deadlines();
  const told: string[] = [];
  const bounded = (name: string, time: number) => ({
    deadline: performance.now() + time,
    onDeadline: () => void told.push(name),
  });
  const [over, removed, later] = [bounded('over', 0), bounded('removed', 0), bounded('later', HOUR)];
  for (const one of [over, removed, later]) {
    deadlines.add(one);
  }
  deadlines.remove(removed);
  t.mock.timers.tick(PERIOD);
  assert.deepEqual(told, ['over']);
  t.mock.timers.tick(PERIOD);
  assert.deepEqual(told, ['over']);
  assert.equal(clear.mock.callCount(), 0);

  // As when an answer begins, and its body may take less time.
  later.deadline = performance.now();
  t.mock.timers.tick(PERIOD);
  assert.deepEqual(told, ['over', 'later']);
  assert.equal(clear.mock.callCount(), 1);

  deadlines.add(bounded('after a pause', 0));
  t.mock.timers.tick(PERIOD);
  assert.deepEqual(told, ['over', 'later', 'after a pause']);
});
