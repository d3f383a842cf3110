/** Collections on real stores, with the moments that matter held open. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import type { ParcelCollection } from '../../src/gateway/parcel-collection.ts';
import { QUEUE_CAPACITY } from '../../src/gateway/parcel-queue.ts';
import { HOUR, MINUTE, SECOND } from '../../src/gateway/time.ts';
import { type CollectionRoom, type Outlet, openCollectionRoom } from '../support/collection-room.ts';

describe('A parcel that arrives', { timeout: 120_000 }, () => {
  let room: CollectionRoom;
  let open: ParcelCollection[] = [];

  before(async () => {
    room = await openCollectionRoom();
  });

  afterEach(async () => {
    for (const collection of open) {
      collection.close();
    }
    open = [];
    const rest = room.collect({ untilEmpty: true });
    await takeAll(rest);
    assert.equal(room.signals.subscriptions, 0);
  });

  after(() => room[Symbol.asyncDispose]());

  function collect(...parameters: Parameters<CollectionRoom['collect']>) {
    const collection = room.collect(...parameters);
    open.push(collection.collection);
    return collection;
  }

  /** Acknowledges all that comes until the collection says that it is complete. */
  async function takeAll({ collection, outlet }: { collection: ParcelCollection; outlet: Outlet }): Promise<Buffer[]> {
    const parcels: Buffer[] = [];
    for (;;) {
      await outlet.until(() => outlet.isComplete || outlet.delivered.length > 0);
      const next = outlet.delivered.shift();
      if (!next) {
        return parcels;
      }
      parcels.push(next.parcel);
      assert.ok(collection.acknowledge(next.deliveryId));
    }
  }

  it('before the subscription is delivered once', async () => {
    const { beforeSubscribe } = room.barriers;
    beforeSubscribe.hold();
    const collection = collect({ untilEmpty: true });
    await beforeSubscribe.reached;
    const parcel = await room.put();
    beforeSubscribe.release();
    assert.deepEqual(await takeAll(collection), [parcel]);
  });

  it('between subscription and listing is delivered once, though it is both listed and told', async () => {
    for (const barrier of [room.barriers.afterSubscribe, room.barriers.beforeList]) {
      barrier.hold();
      const collection = collect({ untilEmpty: true });
      await barrier.reached;
      const parcel = await room.put();
      barrier.release();
      assert.deepEqual(await takeAll(collection), [parcel]);
    }
  });

  it('after the listing was taken, and before it was given, is delivered once', async () => {
    const waiting = await room.put();
    room.barriers.afterList.hold();
    const collection = collect({ untilEmpty: true });
    await room.barriers.afterList.reached;
    const parcel = await room.put();
    room.barriers.afterList.release();
    assert.deepEqual(await takeAll(collection), [waiting, parcel]);
  });

  it('is delivered once when its signal comes after it was listed, sent, acknowledged and deleted', async () => {
    room.signals.hold();
    const parcel = await room.put();
    const { collection, outlet } = collect();
    const { deliveryId, parcel: delivered } = await outlet.next();
    assert.deepEqual(delivered, parcel);
    collection.acknowledge(deliveryId);
    await room.emptied();
    room.signals.release();
    const last = await room.put();
    assert.deepEqual((await outlet.next()).parcel, last);
  });

  it('is delivered once when it is listed again while it is in flight, and while it is being deleted', async () => {
    const { collection, outlet } = collect();
    const parcel = await room.put();
    const { deliveryId, parcel: delivered } = await outlet.next();
    assert.deepEqual(delivered, parcel);
    room.signals.gap();
    room.barriers.beforeDelete.hold();
    collection.acknowledge(deliveryId);
    await room.barriers.beforeDelete.reached;
    room.barriers.afterList.hold();
    room.signals.gap();
    await room.barriers.afterList.reached;
    room.barriers.beforeDelete.release();
    await room.emptied();
    room.barriers.afterList.release();
    const last = await room.put();
    assert.deepEqual((await outlet.next()).parcel, last);
  });

  it('without a signal is delivered after a gap', async () => {
    const { outlet } = collect();
    const heard = await room.put();
    assert.deepEqual((await outlet.next()).parcel, heard);
    room.signals.hold();
    const lost = await room.put();
    room.signals.gap();
    open[0]?.acknowledge('1');
    assert.deepEqual((await outlet.next()).parcel, lost);
  });

  it('without a signal is delivered when the gap comes in the midst of a listing that has passed it', async () => {
    room.barriers.afterList.hold();
    const { outlet } = collect();
    await room.barriers.afterList.reached;
    room.signals.hold();
    const lost = await room.put();
    room.signals.gap();
    room.barriers.afterList.release();
    assert.deepEqual((await outlet.next()).parcel, lost);
  });

  it('after an hour without any finds a collection that has asked for nothing but one list', async () => {
    const { objects, records, meters, work } = room.room.backends;
    const asked: string[] = [];
    const restore = Object.entries({ objects, records, meters, work }).flatMap(([port, backend]) =>
      Object.getOwnPropertyNames(Object.getPrototypeOf(backend)).flatMap((name) => {
        const methods = backend as unknown as Record<string, unknown>;
        const method = methods[name];
        if (name === 'constructor' || typeof method !== 'function') {
          return [];
        }
        methods[name] = (...parameters: unknown[]) => {
          asked.push(`${port}.${name}`);
          return method.apply(backend, parameters);
        };
        return [() => delete methods[name]];
      }),
    );
    try {
      const { collection, outlet } = collect();
      const first = await room.put();
      const { deliveryId, parcel } = await outlet.next();
      assert.deepEqual(parcel, first);
      collection.acknowledge(deliveryId);
      await room.emptied();
      const settled = () => new Promise((resolve) => setImmediate(resolve));
      // The last that the parcel costs.
      while (!asked.includes('meters.release')) {
        await settled();
      }
      await settled();
      asked.length = 0;
      // As often as the door has each connection looked after.
      for (let passed = 0; passed < HOUR; passed += 5 * SECOND) {
        room.room.clock.advance(5 * SECOND);
        collection.maintain();
        await settled();
      }
      // Which stores may make of pages.
      assert.deepEqual(
        asked.filter((name) => name !== 'objects.listPages'),
        ['objects.list'],
      );
      const next = await room.put();
      assert.deepEqual((await outlet.next()).parcel, next);
    } finally {
      for (const undo of restore) {
        undo();
      }
    }
  });

  it('is delivered though its process died before it told anybody', async () => {
    const { collection, outlet } = collect();
    const first = await room.put();
    const delivery = await outlet.next();
    assert.deepEqual(delivery.parcel, first);
    collection.acknowledge(delivery.deliveryId);
    room.signals.hold();
    const untold = await room.put();
    room.room.clock.advance(HOUR);
    collection.maintain();
    assert.deepEqual((await outlet.next()).parcel, untold);
    room.signals.gap();
  });

  it('and replaces one that waits for its turn is delivered in its place', async () => {
    const { collection, outlet } = collect();
    await room.put('first');
    await room.put('second');
    const third = await room.put('third');
    const newer = await room.put('second');
    const { deliveryId } = await outlet.next();
    collection.acknowledge(deliveryId);
    const parcels: Buffer[] = [];
    for (let count = 0; count < 2; count++) {
      const next = await outlet.next();
      parcels.push(next.parcel);
      collection.acknowledge(next.deliveryId);
    }
    assert.deepEqual(parcels, [third, newer]);
  });

  it('and replaces one that is being read is delivered, and both when the older was read in time', async () => {
    await room.put('one');
    room.barriers.beforeGet.hold();
    const late = collect({ untilEmpty: true });
    await room.barriers.beforeGet.reached;
    const newer = await room.put('one');
    room.barriers.beforeGet.release();
    assert.deepEqual(await takeAll(late), [newer]);

    const older = await room.put('two');
    room.barriers.afterGet.hold();
    const early = collect({ untilEmpty: true });
    await room.barriers.afterGet.reached;
    const newest = await room.put('two');
    room.barriers.afterGet.release();
    assert.deepEqual(await takeAll(early), [older, newest]);
  });

  it('is delivered as the store has it when the signals of two versions cross', async () => {
    const { collection, outlet } = collect();
    room.signals.hold();
    await room.put('one');
    const newer = await room.put('one');
    room.signals.releaseOne(1);
    const delivery = await outlet.next();
    assert.deepEqual(delivery.parcel, newer);
    collection.acknowledge(delivery.deliveryId);
    room.signals.release();
    const last = await room.put();
    assert.deepEqual((await outlet.next()).parcel, last);
  });

  it('is delivered as the store has it when the signals of two versions cross while it waits for its turn', async () => {
    const { collection, outlet } = collect();
    await room.put();
    const first = await outlet.next();
    room.signals.hold();
    await room.put('one');
    const newer = await room.put('one');
    room.signals.releaseOne(1);
    room.signals.release();
    collection.acknowledge(first.deliveryId);
    const second = await outlet.next();
    assert.deepEqual(second.parcel, newer);
    collection.acknowledge(second.deliveryId);
  });

  it('is not delivered when it expired while it waited for its turn', async () => {
    const { collection, outlet } = collect();
    await room.put();
    const { deliveryId } = await outlet.next();
    await room.put();
    room.room.clock.advance(2 * 24 * 60 * MINUTE);
    collection.acknowledge(deliveryId);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(outlet.delivered.length, 0);
  });

  it('is not delivered to a collection that was closed before it had subscribed', async () => {
    room.barriers.afterSubscribe.hold();
    const { collection, outlet } = collect();
    await room.barriers.afterSubscribe.reached;
    collection.close();
    room.barriers.afterSubscribe.release();
    await room.put();
    while (room.signals.subscriptions > 0) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(outlet.delivered.length, 0);
  });

  it('is delivered in its turn when more wait than are kept in mind', async () => {
    const total = QUEUE_CAPACITY + 50;
    const parcels = await Promise.all(Array.from({ length: total }, (_, place) => room.put(String(place))));
    const collection = collect({ untilEmpty: true, window: 5 });
    await collection.outlet.until(() => collection.outlet.delivered.length === 5);
    parcels.push(await room.put());
    const collected = await takeAll(collection);
    assert.equal(collected.length, total + 1);
    // Those that were put together may have been stored in any order; the last is last.
    assert.deepEqual(new Set(collected.map(String)), new Set(parcels.map(String)));
    assert.deepEqual(collected.at(-1), parcels.at(-1));
  });

  it('without a signal is delivered after a gap to many, whose listings take turns', async () => {
    const many = Array.from({ length: 100 }, () => collect());
    await room.put();
    for (const { collection, outlet } of many) {
      // It has listed, or it would send nothing.
      collection.acknowledge((await outlet.next()).deliveryId);
    }
    room.signals.hold();
    const lost = await room.put();
    room.barriers.beforeList.hold();
    room.signals.gap();
    await room.barriers.beforeList.reached;
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(room.barriers.beforeList.waiting, 32);
    room.barriers.beforeList.release();
    for (const { outlet } of many) {
      assert.deepEqual((await outlet.next()).parcel, lost);
    }
  });
});
