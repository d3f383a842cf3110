/** How much waits, counted a little at a time. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { type ObjectEntry, type ObjectStore, StoreError } from '../../src/gateway/ports.ts';
import { type Waiting, WaitingCensus } from '../../src/gateway/waiting-census.ts';
import { temporaryBackends } from '../support/local-backends.ts';
import { ManualClock } from '../support/manual-clock.ts';

const DAY = 86_400_000;
const ENOUGH = 1000;

describe('The census', () => {
  async function openCensus(t: TestContext) {
    const stores = await temporaryBackends();
    t.after(() => stores[Symbol.asyncDispose]());
    const { clock, backends } = stores;
    const { objects } = backends;
    return {
      clock,
      objects,
      census: new WaitingCensus({ objects, clock }),
      put: (key: string, octets = 10) => objects.put(key, Buffer.alloc(octets), { expiry: clock.now() + DAY }),
    };
  }

  const of = (census: WaitingCensus, place: string): Waiting | undefined =>
    [...census.waiting()].find((waiting) => waiting.place === place);

  test('tells of each place how much waits, whose most of it is, and since when', async (t) => {
    const { census, put, clock } = await openCensus(t);
    const first = await put('mailboxes/a/1', 100);
    clock.advance(5000);
    await put('mailboxes/a/2', 50);
    await put('mailboxes/b/1', 200);
    await put('outbox/a/1', 7);
    await put('cargo/c/1', 9);
    await census.count(ENOUGH);
    assert.deepEqual(of(census, 'mailbox'), {
      place: 'mailbox',
      count: 3,
      octets: 350,
      oldest: first.arrival,
      owners: 2,
      most: { count: 2, octets: 200 },
      counted: clock.now(),
    });
    assert.deepEqual(
      ['outbox', 'cargo', 'held'].map((place) => of(census, place)?.count),
      [1, 1, 0],
    );
    assert.equal(of(census, 'held')?.oldest, undefined);
  });

  test('looks at a bounded number in each round, and keeps the last figure until the next is complete', async (t) => {
    const { census, put, objects } = await openCensus(t);
    for (let number = 0; number < 10; number++) {
      await put(`mailboxes/a/${number}`);
    }
    for (let round = 0; round < 3; round++) {
      assert.equal(of(census, 'mailbox'), undefined);
      await census.count(4);
    }
    assert.equal(of(census, 'mailbox')?.count, 10);
    await objects.delete('mailboxes/a/0');
    await census.count(4);
    assert.equal(of(census, 'mailbox')?.count, 10);
    await census.count(4);
    await census.count(4);
    assert.equal(of(census, 'mailbox')?.count, 9);
  });

  test('begins anew where a list failed in its middle', async () => {
    let isAway = true;
    const entry = { key: 'mailboxes/a/1', size: 1, arrival: 1 } as ObjectEntry;
    const objects = {
      async *list(prefix: string) {
        if (prefix === 'mailboxes/') {
          yield entry;
          if (isAway) {
            throw new StoreError('STORE_AWAY', 'Away');
          }
        }
      },
    } as unknown as ObjectStore;
    const census = new WaitingCensus({ objects, clock: new ManualClock() });
    await assert.rejects(census.count(ENOUGH), { code: 'STORE_AWAY' });
    isAway = false;
    await census.count(ENOUGH);
    assert.equal(of(census, 'mailbox')?.count, 1);
  });
});
