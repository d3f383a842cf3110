/** The parcels that wait for one collection. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ParcelQueue, QUEUE_CAPACITY, type QueuedParcel } from '../../src/gateway/parcel-queue.ts';
import { QueueRoom } from '../../src/gateway/queue-room.ts';

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
        const queue = new ParcelQueue(new QueueRoom());
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
    const queue = new ParcelQueue(new QueueRoom());
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
    const queue = new ParcelQueue(new QueueRoom());
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
    const queue = new ParcelQueue(new QueueRoom());
    const body = Buffer.from('body');
    for (let arrival = 0; arrival < 100; arrival++) {
      queue.add(parcel(`key ${arrival}`, arrival, { body, ids: { trace: 'test' } }));
    }
    const parcels = takeAll(queue);
    assert.equal(parcels.length, 100);
    assert.equal(parcels.filter((taken) => taken.body).length, 16);
    assert.ok(parcels.every((taken) => (taken.body === undefined) === (taken.ids === undefined)));
  });

  it('gives its memory back when others need it, the one first that has sent nothing for longest', () => {
    const room = new QueueRoom(64 * 1024);
    const [waiting, collecting, late] = [new ParcelQueue(room), new ParcelQueue(room), new ParcelQueue(room)];
    for (let arrival = 0; arrival < 60; arrival++) {
      waiting.add(parcel(`waiting ${arrival}`, arrival));
      collecting.add(parcel(`collecting ${arrival}`, arrival));
    }
    assert.equal(waiting.size + collecting.size, 120);
    assert.equal(collecting.shift()?.arrival, 0);
    for (let arrival = 0; arrival < 60; arrival++) {
      late.add(parcel(`late ${arrival}`, arrival));
      assert.ok(room.size <= 64 * 1024, `${room.size} octets`);
    }
    assert.equal(collecting.size, 59);
    assert.equal(late.size, 60);
    assert.ok(waiting.isTruncated);
    assert.deepEqual(
      takeAll(waiting).map(({ arrival }) => arrival),
      [0, 1, 2, 3],
    );
    takeAll(collecting);
    takeAll(late);
    assert.equal(room.size, 0);
  });

  it('has its bytes counted, and gives them back as well', () => {
    const room = new QueueRoom(32 * 1024);
    const [waiting, late] = [new ParcelQueue(room), new ParcelQueue(room)];
    waiting.add(parcel('0', 0, { body: Buffer.alloc(16 * 1024), ids: { trace: 'test' } }));
    late.add(parcel('0', 0, { body: Buffer.alloc(16 * 1024), ids: { trace: 'test' } }));
    assert.deepEqual(takeAll(waiting), [parcel('0', 0)]);
    assert.equal(late.shift()?.body?.length, 16 * 1024);
    assert.equal(room.size, 0);
  });

  it('gives the oldest first and says what it left out, whenever others take its memory', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(10_000), { minLength: 1, maxLength: 200, size: 'max' }),
        fc.integer({ min: 0, max: 200 }),
        (arrivals, moment) => {
          const queue = new ParcelQueue(new QueueRoom());
          for (const [index, arrival] of arrivals.entries()) {
            if (index === moment) {
              queue.shrink();
            }
            queue.add(parcel(`key ${arrival}`, arrival));
          }
          const oldest = arrivals.toSorted((one, other) => one - other);
          const taken = takeAll(queue).map(({ arrival }) => arrival);
          assert.deepEqual(taken, oldest.slice(0, taken.length));
          assert.equal(queue.isTruncated, taken.length < arrivals.length);
          assert.ok(taken.length >= Math.min(4, arrivals.length));
        },
      ),
      { numRuns: 100 },
    );
  });
});
