/** What meters promise. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Meters } from '../../src/gateway/ports.ts';
import type { ManualClock } from '../support/manual-clock.ts';

export interface MetersUnderTest extends AsyncDisposable {
  readonly meters: Meters;
  readonly clock: ManualClock;
}

export function metersContract(name: string, open: () => Promise<MetersUnderTest>): void {
  describe(`${name} as meters`, () => {
    test('give the whole allowance and then none until it comes back', async () => {
      await using under = await open();
      for (let number = 0; number < 3; number++) {
        assert.equal(await under.meters.take('a', 3, 1000), true);
      }
      assert.equal(await under.meters.take('a', 3, 1000), false);
      assert.equal(await under.meters.take('b', 3, 1000), true);
      under.clock.advance(999);
      assert.equal(await under.meters.take('a', 3, 1000), false);
      under.clock.advance(1);
      assert.equal(await under.meters.take('a', 3, 1000), true);
    });

    test('do not count what they refuse', async () => {
      await using under = await open();
      assert.equal(await under.meters.take('a', 1, 1000), true);
      for (let number = 0; number < 10; number++) {
        under.clock.advance(100);
        assert.equal(await under.meters.take('a', 1, 1000), number === 9);
      }
    });

    test('give nothing when the limit is nothing', async () => {
      await using under = await open();
      assert.equal(await under.meters.take('a', 0, 1000), false);
    });

    test('know nothing of what is held until it is counted', async () => {
      await using under = await open();
      const one = { count: 1, octets: 10 };
      const quota = { count: 2, octets: 100 };
      assert.equal(await under.meters.reserve('a', one, quota), 'unknown');
      await under.meters.release('a', one);
      assert.equal(await under.meters.reserve('a', one, quota), 'unknown');
      await under.meters.recount('a', { count: 0, octets: 0 });
      assert.equal(await under.meters.reserve('a', one, quota), 'reserved');
      assert.equal(await under.meters.reserve('b', one, quota), 'unknown');
    });

    test('reserve up to the quota, in number and in octets, and again what was released', async () => {
      await using under = await open();
      const quota = { count: 2, octets: 100 };
      await under.meters.recount('many', { count: 0, octets: 0 });
      const one = { count: 1, octets: 1 };
      const reserve = () => under.meters.reserve('many', one, quota);
      assert.deepEqual([await reserve(), await reserve(), await reserve()], ['reserved', 'reserved', 'full']);
      await under.meters.release('many', one);
      assert.deepEqual([await reserve(), await reserve()], ['reserved', 'full']);

      await under.meters.recount('large', { count: 1, octets: 40 });
      assert.equal(await under.meters.reserve('large', { count: 1, octets: 61 }, quota), 'full');
      assert.equal(await under.meters.reserve('large', { count: 1, octets: 60 }, quota), 'reserved');
    });

    test('do not go below nothing when more is released than was reserved', async () => {
      await using under = await open();
      await under.meters.recount('a', { count: 1, octets: 1 });
      await under.meters.release('a', { count: 5, octets: 50 });
      const quota = { count: 1, octets: 1 };
      assert.equal(await under.meters.reserve('a', { count: 1, octets: 1 }, quota), 'reserved');
      assert.equal(await under.meters.reserve('a', { count: 1, octets: 1 }, quota), 'full');
    });

    test('never give more than the limit in any period, and all of it again after a quiet one', async () => {
      const limits = fc.integer({ min: 1, max: 200 });
      const waits = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 600 });
      await fc.assert(
        fc.asyncProperty(limits, waits, async (limit, steps) => {
          await using under = await open();
          const period = 10_000;
          const taken: number[] = [];
          for (const step of steps) {
            under.clock.advance(step);
            if (await under.meters.take('a', limit, period)) {
              taken.push(under.clock.now());
              const first = taken.at(-limit - 1);
              assert.ok(first === undefined || under.clock.now() - first >= period);
            }
          }
          under.clock.advance(period);
          for (let number = 0; number < limit; number++) {
            assert.equal(await under.meters.take('a', limit, period), true);
          }
        }),
        { numRuns: 25 },
      );
    });
  });
}
