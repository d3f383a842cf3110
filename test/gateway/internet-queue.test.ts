import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import { writeParcelCountersignature } from '../../src/awala/poweb/countersignature.ts';
import { readParcel } from '../../src/awala/ramf/parcel.ts';
import type { TraceIds } from '../../src/gateway/errors.ts';
import { readOutboxKey } from '../../src/gateway/outbox.ts';
import { ParcelStorage } from '../../src/gateway/parcel-storage.ts';
import {
  type ObjectEntry,
  type StoredObject,
  StoreError,
  type TakenItem,
  type WorkQueue,
} from '../../src/gateway/ports.ts';
import { fingerprintOf } from '../../src/gateway/sent-memory.ts';
import { CLOCK_DRIFT, DAY, HOUR } from '../../src/gateway/time.ts';
import { type GatewayRoom, openGatewayRoom } from '../support/gateway-room.ts';
import { type TestChain, testChain, testParcel } from '../support/pki.ts';

const DESTINATION = 'endpoint.example.org';

/** A room, and a chain whose sender has something for the Internet. */
async function open() {
  const room = await openGatewayRoom();
  return { room, chain: await testChain({ gateway: room.asNode() }) };
}

async function deliver(room: GatewayRoom, chain: TestChain, fields: Parameters<typeof testParcel>[1] = {}) {
  const recipient = { id: chain.endpoint.id, internetAddress: DESTINATION };
  const parcel = await testParcel(chain, { recipient, ...fields });
  const ids: TraceIds = { trace: 'test' };
  await room.delivery.fromPrivateGateway(parcel, await writeParcelCountersignature(parcel, chain.privateGateway), ids);
  return { parcel, ids };
}

const items = (room: GatewayRoom) => Array.fromAsync(room.backends.work.list('internet-delivery'));

async function take(room: GatewayRoom): Promise<TakenItem> {
  const [item] = await room.storage.internetQueue.take(
    { count: 1, lease: HOUR, room: () => 1 },
    new AbortController().signal,
  );
  assert.ok(item);
  return item;
}

test('A parcel for the Internet is queued under its address, in lower case, until it expires', async () => {
  const { room, chain } = await open();
  await using _room = room;
  const recipient = { id: chain.endpoint.id, internetAddress: 'Endpoint.Example.ORG' };
  const { parcel } = await deliver(room, chain, { recipient });
  const item = await take(room);
  assert.deepEqual(
    { group: item.group, size: item.size, attempts: item.attempts },
    { group: DESTINATION, size: parcel.length, attempts: 0 },
  );
  const stored = (await room.storage.outbox.read(item.key)) as StoredObject;
  assert.deepEqual(stored.body, parcel);
  assert.equal(item.expiry, stored.expiry);
  assert.equal(stored.metadata['destination'], 'Endpoint.Example.ORG');
  assert.equal(readOutboxKey(item.key).peer, chain.privateGateway.id);
});

test('A parcel is accepted when the queue is away, and housekeeping queues it later', async () => {
  const { room, chain } = await open();
  await using _room = room;
  const { objects, records, work, signals, meters } = room.backends;
  const away = new Proxy(work, {
    get: (target, name) =>
      name === 'add' ? () => Promise.reject(new Error('away')) : Reflect.get(target, name, target).bind(target),
  }) as WorkQueue;
  const storage = new ParcelStorage({ objects, records, work: away, signals, meters, clock: room.clock });
  const bytes = Buffer.from('parcel');
  const expiry = room.clock.now() + DAY;
  await storage.outbox.put(chain.privateGateway.id, { digest: 'digest', bytes, expiry, metadata: {} }, DESTINATION);
  assert.deepEqual(await items(room), []);

  await room.storage.outbox.requeue(100);
  const [item, ...others] = await items(room);
  assert.equal(item?.group, DESTINATION);
  assert.equal(others.length, 0);
  await room.storage.outbox.requeue(100);
  assert.equal((await items(room)).length, 1);
});

test('Housekeeping looks at a part of the outboxes at a time, and at all of them in the end', async () => {
  const { room, chain } = await open();
  await using _room = room;
  const count = 50;
  for (let number = 0; number < count; number++) {
    await deliver(room, chain);
  }
  for (const { key } of await items(room)) {
    await room.backends.work.remove('internet-delivery', key);
  }
  const seen: number[] = [];
  for (let round = 0; round < 4; round++) {
    await room.storage.outbox.requeue(20);
    seen.push((await items(room)).length);
  }
  assert.deepEqual(seen, [20, 40, 50, 50]);
  // What is lost again is found in the next walk.
  await room.backends.work.remove('internet-delivery', (await items(room))[0]?.key ?? '');
  for (let round = 0; round < 4; round++) {
    await room.storage.outbox.requeue(20);
  }
  assert.equal((await items(room)).length, count);
});

test('An inbound parcel from an endpoint ends the rest of its address, and of no other', async () => {
  const { room, chain } = await open();
  await using _room = room;
  // The Internet endpoint is who may send to the private one.
  const internetEndpoint = { id: chain.sender.id, internetAddress: DESTINATION };
  await deliver(room, chain, { recipient: internetEndpoint });
  const queue = room.storage.internetQueue;
  const rest = async () => (await Array.fromAsync(room.backends.work.groups('internet-delivery')))[0]?.rest;
  await queue.postpone(await take(room), room.clock.now() + HOUR);
  await queue.rest(DESTINATION, room.clock.now() + HOUR);

  const other = await testChain({ gateway: room.asNode(), keys: { sender: 'other-sender' } });
  await room.delivery.fromInternet(await testParcel(other), { trace: 'test' });
  assert.equal(await rest(), room.clock.now() + HOUR);

  await room.delivery.fromInternet(await testParcel(chain), { trace: 'test' });
  assert.equal(await rest(), 0);
  assert.equal((await take(room)).attempts, 1);
});

test('An inbound parcel ends the rest of its address also where another process delivers, which has just started', async () => {
  const { room, chain } = await open();
  await using _room = room;
  const internetEndpoint = { id: chain.sender.id, internetAddress: DESTINATION };
  await deliver(room, chain, { recipient: internetEndpoint });
  await room.storage.internetQueue.rest(DESTINATION, room.clock.now() + HOUR);
  const rest = async () => (await Array.fromAsync(room.backends.work.groups('internet-delivery')))[0]?.rest;
  const another = () => new ParcelStorage({ ...room.backends, clock: room.clock });
  const [door, worker] = [another(), another()];
  const parcel = await testParcel(chain);

  using _heard = await worker.internetQueue.listen().then((subscription) => ({
    [Symbol.dispose]: () => subscription.close(),
  }));
  await door.internetQueue.heardFrom(chain.sender.id);
  assert.equal(await rest(), room.clock.now() + HOUR);
  await worker.internetQueue.learn((key) => worker.outbox.find(key));
  await door.internetQueue.heardFrom(readParcel(parcel, new CertificateCache()).sender.subjectId);
  while ((await rest()) !== 0) {
    await setImmediate();
  }
});

test('A worker that cannot give back what it has in hand goes on', async () => {
  await using room = await openGatewayRoom();
  const { work } = room.backends;
  const away: Partial<WorkQueue> = { release: () => Promise.reject(new StoreError('STORE_AWAY', 'away')) };
  const storage = new ParcelStorage({
    ...room.backends,
    work: Object.assign(Object.create(work), away),
    clock: room.clock,
  });
  await storage.internetQueue.release({} as TakenItem);
});

test('What was sent on is remembered while it may come again, and is accepted without a look at that', async () => {
  const { room, chain } = await open();
  await using _room = room;
  const { parcel, ids } = await deliver(room, chain, { messageId: 'same', ttl: DAY / 1000 });
  assert.equal(ids.place, 'outbox');
  const { digest } = readOutboxKey((await take(room)).key);
  const [stored] = await Array.fromAsync(room.backends.objects.list('outbox/'));
  const { expiry } = stored as ObjectEntry;
  assert.equal(await room.storage.sent.includes(digest, fingerprintOf(parcel)), false);
  await room.storage.sent.add(digest, fingerprintOf(parcel), expiry);
  // The worker drops it.
  const again: TraceIds = { trace: 'test' };
  await room.delivery.fromPrivateGateway(
    parcel,
    await writeParcelCountersignature(parcel, chain.privateGateway),
    again,
  );
  assert.equal(again.place, 'outbox');
  assert.equal((await items(room)).length, 1);

  // Until then, a slow clock may bring it again.
  room.clock.advance(expiry + CLOCK_DRIFT - room.clock.now());
  assert.equal(await room.storage.sent.includes(digest, fingerprintOf(parcel)), true);
  room.clock.advance(1);
  assert.equal(await room.storage.sent.includes(digest, fingerprintOf(parcel)), false, 'the parcel itself has expired');
});

test('Other parcels than the one that was sent on are not taken for it', async () => {
  const { room, chain } = await open();
  await using _room = room;
  const one = await deliver(room, chain, { messageId: 'one' });
  const { digest } = readOutboxKey((await take(room)).key);
  await room.storage.sent.add(digest, fingerprintOf(one.parcel), room.clock.now() + DAY);
  const two = await deliver(room, chain, { messageId: 'two' });
  const { digest: other } = readOutboxKey((await take(room)).key);
  assert.equal(await room.storage.sent.includes(other, fingerprintOf(two.parcel)), false);
  assert.equal(await room.storage.sent.includes(digest, fingerprintOf(two.parcel)), false);
});
