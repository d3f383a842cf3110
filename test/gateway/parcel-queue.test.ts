/** The parcels that wait for one collection. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ParcelQueue, QUEUE_CAPACITY, type QueuedParcel } from '../../src/gateway/parcel-queue.ts';

function parcel(key: string, arrival: number, fields: Partial<QueuedParcel> = {}): QueuedParcel {
  const version = `${key}@${arrival}`;
  return { key, version, peer: '0', arrival, expiry: 1, size: 1, body: undefined, ids: undefined, ...fields };
}

function takeAll(queue: ParcelQueue): QueuedParcel[] {
  const parcels: QueuedParcel[] = [];
  for (let next = queue.shift(); next; next = queue.shift()) {
    parcels.push(next);
  }
  return parcels;
}

describe('A parcel queue', () => {
  it('gives the oldest there are, up to its capacity, whatever order they come in', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(100_000), { maxLength: QUEUE_CAPACITY + 200, size: 'max' }), (arrivals) => {
        const queue = new ParcelQueue();
        for (const arrival of arrivals) {
          queue.add(parcel(`key ${arrival}`, arrival));
        }
        assert.equal(queue.isTruncated, arrivals.length > QUEUE_CAPACITY);
        const oldest = arrivals.toSorted((one, other) => one - other).slice(0, QUEUE_CAPACITY);
        assert.deepEqual(
          takeAll(queue).map(({ arrival }) => arrival),
          oldest,
        );
      }),
      { numRuns: 30 },
    );
  });

  it('gives a parcel of several versions one place, that of the newest, and trusts none of them', () => {
    const queue = new ParcelQueue();
    const body = Buffer.from('body');
    queue.add(parcel('replaced', 1, { body, ids: { trace: 'test' } }));
    queue.add(parcel('other', 2));
    queue.add(parcel('replaced', 3, { body, ids: { trace: 'test' } }));
    queue.add(parcel('other', 2, { body }));
    const [other, replaced, ...rest] = takeAll(queue);
    assert.deepEqual(rest, []);
    assert.deepEqual(other, parcel('other', 2));
    assert.deepEqual(replaced, parcel('replaced', 3, { version: undefined }));
  });

  it('once it has left parcels out, takes no newer ones that would overtake them, until all are expected again', () => {
    const queue = new ParcelQueue();
    for (let arrival = 0; arrival <= QUEUE_CAPACITY; arrival++) {
      queue.add(parcel(`key ${arrival}`, arrival));
    }
    assert.equal(takeAll(queue).length, QUEUE_CAPACITY);
    queue.add(parcel('newer', QUEUE_CAPACITY + 1));
    assert.equal(queue.size, 0);
    assert.ok(queue.isTruncated);
    queue.expectAll();
    queue.add(parcel('newer', QUEUE_CAPACITY + 1));
    queue.add(parcel('left out', QUEUE_CAPACITY));
    assert.deepEqual(
      takeAll(queue).map(({ key }) => key),
      ['left out', 'newer'],
    );
  });

  it('keeps the bytes of a few parcels only', () => {
    const queue = new ParcelQueue();
    const body = Buffer.from('body');
    for (let arrival = 0; arrival < 100; arrival++) {
      queue.add(parcel(`key ${arrival}`, arrival, { body, ids: { trace: 'test' } }));
    }
    const parcels = takeAll(queue);
    assert.equal(parcels.length, 100);
    assert.equal(parcels.filter((taken) => taken.body).length, 16);
    assert.ok(parcels.every((taken) => (taken.body === undefined) === (taken.ids === undefined)));
  });
});
