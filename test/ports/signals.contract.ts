/** What signals promise inside one process; with a broker, two `Signals` on it are told apart by `other`. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Signals } from '../../src/gateway/ports.ts';

export interface SignalsUnderTest extends AsyncDisposable {
  readonly signals: Signals;
  /** Resolves when what was published before has come to all subscribers. */
  settled(): Promise<void>;
}

export function signalsContract(name: string, open: () => Promise<SignalsUnderTest>): void {
  describe(`${name} as signals`, () => {
    test('come to every subscriber of the channel, in order, and to nobody else', async () => {
      await using under = await open();
      const heard: string[][] = [[], [], []];
      const listen = (channel: string, index: number) =>
        under.signals.subscribe(channel, (payload) => heard[index]?.push(payload.toString()), assert.fail);
      await Promise.all([listen('a', 0), listen('a', 1), listen('b', 2)]);
      for (let number = 0; number < 50; number++) {
        under.signals.publish('a', Buffer.from(`${number}`));
      }
      under.signals.publish('nobody', Buffer.from('x'));
      await under.settled();
      const expected = Array.from({ length: 50 }, (_, number) => `${number}`);
      assert.deepEqual(heard, [expected, expected, []]);
    });

    test('come no more after the subscription is closed, while others hear on', async () => {
      await using under = await open();
      const heard: string[] = [];
      const subscriptions = await Promise.all(
        ['first', 'second', 'third'].map((who) =>
          under.signals.subscribe('a', (payload) => heard.push(`${who} ${payload}`), assert.fail),
        ),
      );
      subscriptions[1]?.close();
      subscriptions[1]?.close();
      under.signals.publish('a', Buffer.from('1'));
      await under.settled();
      subscriptions[0]?.close();
      under.signals.publish('a', Buffer.from('2'));
      await under.settled();
      assert.equal(under.signals.isHeard?.('a') ?? true, true);
      subscriptions[2]?.close();
      under.signals.publish('a', Buffer.from('3'));
      await under.settled();
      assert.deepEqual(heard, ['first 1', 'third 1', 'third 2']);
      assert.notEqual(under.signals.isHeard?.('a'), true);
    });

    test('do not fail the publisher when a listener fails, and still come to the others', async () => {
      await using under = await open();
      const heard: string[] = [];
      await under.signals.subscribe(
        'a',
        () => {
          throw new Error('listener');
        },
        assert.fail,
      );
      await under.signals.subscribe('a', (payload) => heard.push(payload.toString()), assert.fail);
      under.signals.publish('a', Buffer.from('1'));
      await under.settled();
      assert.deepEqual(heard, ['1']);
    });

    test('a listener may close its own and others subscriptions', async () => {
      await using under = await open();
      const heard: string[] = [];
      const first = await under.signals.subscribe(
        'a',
        () => {
          heard.push('first');
          first.close();
          second.close();
        },
        assert.fail,
      );
      const second = await under.signals.subscribe('a', () => heard.push('second'), assert.fail);
      under.signals.publish('a', Buffer.from('1'));
      under.signals.publish('a', Buffer.from('2'));
      await under.settled();
      assert.deepEqual(heard, ['first']);
    });
  });
}
