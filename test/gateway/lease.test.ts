/** A lease passes from process to process, and never has two holders at once. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Lease } from '../../src/gateway/lease.ts';
import type { Clock, Records } from '../../src/gateway/ports.ts';
import { MINUTE } from '../../src/gateway/time.ts';
import { temporaryBackends } from '../support/local-backends.ts';

const leaseOf = (records: Records, clock: Clock, holder: string) =>
  new Lease({ records, clock, name: 'housekeeping', holder, duration: MINUTE });

/** Records whose creations wait until all of them have come. */
function meeting(records: Records, count: number): Records {
  const all = Promise.withResolvers<void>();
  let come = 0;
  return {
    get: (...parameters) => records.get(...parameters),
    put: (...parameters) => records.put(...parameters),
    replace: (...parameters) => records.replace(...parameters),
    delete: (...parameters) => records.delete(...parameters),
    list: (...parameters) => records.list(...parameters),
    async create(...parameters) {
      if (++come === count) {
        all.resolve();
      }
      await all.promise;
      return records.create(...parameters);
    },
  };
}

suite('A lease', () => {
  test('has one holder, who extends it as often as it likes', async () => {
    await using stores = await temporaryBackends();
    const { backends, clock } = stores;
    const [one, other] = ['one', 'other'].map((name) => leaseOf(backends.records, clock, name)) as [Lease, Lease];
    assert.equal(await one.hold(), true);
    for (let round = 0; round < 3; round++) {
      clock.advance(MINUTE / 2);
      assert.equal(await one.hold(), true);
      assert.equal(await other.hold(), false);
    }
  });

  test('passes on when its holder is gone, and no earlier', async () => {
    await using stores = await temporaryBackends();
    const { backends, clock } = stores;
    const [gone, other] = ['gone', 'other'].map((name) => leaseOf(backends.records, clock, name)) as [Lease, Lease];
    assert.equal(await gone.hold(), true);
    clock.advance(MINUTE);
    assert.equal(await other.hold(), false);
    clock.advance(1);
    assert.equal(await other.hold(), true);
    // It was only stopped, and comes back.
    assert.equal(await gone.hold(), false);
  });

  test('passes on at once when its holder lets it go; nobody else can', async () => {
    await using stores = await temporaryBackends();
    const { backends, clock } = stores;
    const [one, other] = ['one', 'other'].map((name) => leaseOf(backends.records, clock, name)) as [Lease, Lease];
    assert.equal(await one.hold(), true);
    await other.release();
    assert.equal(await other.hold(), false);
    await one.release();
    assert.equal(await other.hold(), true);
  });

  test('is taken by one of many who come at the same time, when it is new and when it ran out', async () => {
    await using stores = await temporaryBackends();
    const { backends, clock } = stores;
    const names = Array.from({ length: 8 }, (_, number) => `process ${number}`);
    for (let round = 0; round < 2; round++) {
      const records = meeting(backends.records, names.length);
      const outcomes = await Promise.all(names.map((name) => leaseOf(records, clock, name).hold()));
      assert.equal(outcomes.filter((holds) => holds).length, 1);
      clock.advance(MINUTE + 1);
    }
  });
});
