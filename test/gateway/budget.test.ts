/** A budget that many share. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Budget } from '../../src/gateway/budget.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('A budget', () => {
  it('lets those wait who ask for more than is left, first come, first served', async () => {
    const budget = new Budget(10);
    const admitted: string[] = [];
    const take = async (name: string, amount: number) => {
      const give = await budget.take(amount);
      admitted.push(name);
      return give;
    };
    const first = await take('first', 8);
    const second = take('second', 5);
    const third = take('third', 1);
    await settled();
    // The third would fit, but must not overtake the second, which might then wait for ever.
    assert.deepEqual(admitted, ['first']);
    first();
    await Promise.all([second, third]);
    assert.deepEqual(admitted, ['first', 'second', 'third']);
  });

  it('takes more than the whole for the whole', async () => {
    const budget = new Budget(10);
    const give = await budget.take(1000);
    let isAdmitted = false;
    const next = budget.take(1).then(() => {
      isAdmitted = true;
    });
    await settled();
    assert.ok(!isAdmitted);
    give();
    await next;
  });

  it('is never overdrawn, and serves everybody in the end', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 50 }), async (amounts) => {
        const budget = new Budget(10);
        let taken = 0;
        await Promise.all(
          amounts.map(async (amount) => {
            const give = await budget.take(amount);
            taken += Math.min(amount, 10);
            assert.ok(taken <= 10);
            await settled();
            taken -= Math.min(amount, 10);
            give();
          }),
        );
        assert.equal(taken, 0);
      }),
      { numRuns: 50 },
    );
  });
});
