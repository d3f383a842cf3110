/** Quotas of mailboxes and outboxes, and what becomes of parcels that find no room. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import { writeParcelCountersignature } from '../../src/awala/poweb/countersignature.ts';
import { readParcel } from '../../src/awala/ramf/parcel.ts';
import type { TraceIds } from '../../src/gateway/errors.ts';
import { ParcelCollections } from '../../src/gateway/parcel-collections.ts';
import { ParcelStorage } from '../../src/gateway/parcel-storage.ts';
import type { Amount, ObjectEntry } from '../../src/gateway/ports.ts';
import { HOUR, MINUTE, SECOND } from '../../src/gateway/time.ts';
import { type GatewayRoom, openGatewayRoom } from '../support/gateway-room.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { issued, type TestChain, type TestNode, testChain, testIdentity, testParcel } from '../support/pki.ts';

const MANY: Amount = { count: 10_000, octets: 1024 ** 3 };

/** Room for so many parcels in each mailbox, and in each outbox. */
const openWith = (mailbox: number, outbox = 10_000) =>
  openGatewayRoom(new ManualClock(Date.now()), {
    mailboxQuota: { ...MANY, count: mailbox },
    outboxQuota: { ...MANY, count: outbox },
  });

const chainIn = (room: GatewayRoom, options: Parameters<typeof testChain>[0] = {}) =>
  testChain({ gateway: room.asNode(), ...options });

async function send(room: GatewayRoom, chain: TestChain, messageId: string, by: TestNode): Promise<TraceIds> {
  const ids: TraceIds = { trace: 'test' };
  const parcel = await testParcel(chain, { messageId, payload: Buffer.from(messageId) });
  await room.delivery.fromPrivateGateway(parcel, await writeParcelCountersignature(parcel, by), ids);
  return ids;
}

async function inMailbox(room: GatewayRoom, chain: TestChain): Promise<ObjectEntry[]> {
  const entries = await Array.fromAsync(room.mailboxes.list(chain.privateGateway.id));
  return entries.sort((one, other) => one.arrival - other.arrival);
}

const idsIn = async (room: GatewayRoom, chain: TestChain) =>
  (await inMailbox(room, chain)).map(({ metadata }) => metadata['parcel']);

const held = async (room: GatewayRoom) => (await Array.fromAsync(room.backends.objects.list('held/'))).length;

/** As the private gateway acknowledges it. */
async function collectOldest(room: GatewayRoom, chain: TestChain): Promise<string | undefined> {
  const [oldest] = await inMailbox(room, chain);
  if (oldest) {
    await room.mailboxes.remove(chain.privateGateway.id, oldest);
    await room.storage.held.move(chain.privateGateway.id);
  }
  return oldest?.metadata['parcel'];
}

const refusedWith = (code: string) => (error: Error & { code?: string }) => {
  assert.equal(error.code, code, error.message);
  return true;
};

test('A full mailbox refuses what the Internet brings, and takes it again once something was collected', async () => {
  await using room = await openWith(2);
  const chain = await chainIn(room);
  const bring = async (messageId: string) =>
    room.delivery.fromInternet(await testParcel(chain, { messageId }), { trace: 'test' });
  await bring('1');
  await bring('2');
  await assert.rejects(bring('3'), refusedWith('MAILBOX_FULL'));
  assert.equal(await collectOldest(room, chain), '1');
  await bring('3');
  assert.deepEqual(await idsIn(room, chain), ['2', '3']);
});

test('A mailbox is full in octets as it is in number', async () => {
  await using room = await openGatewayRoom(new ManualClock(Date.now()), {
    mailboxQuota: { count: 100, octets: 20_000 },
  });
  const chain = await chainIn(room);
  const bring = async (octets: number) =>
    room.delivery.fromInternet(await testParcel(chain, { payload: Buffer.alloc(octets) }), { trace: 'test' });
  await bring(8_000);
  await assert.rejects(bring(16_000), refusedWith('MAILBOX_FULL'));
  await bring(100);
});

test('One full mailbox is not in the way of another', async () => {
  await using room = await openWith(1);
  const full = await chainIn(room);
  const other = await chainIn(room, { keys: { privateGateway: 'other-private-gateway', endpoint: 'other-endpoint' } });
  await send(room, full, '1', full.privateGateway);
  await send(room, full, '2', full.privateGateway);
  assert.equal((await send(room, other, '3', full.privateGateway)).place, 'mailbox');
});

test('What expired or was replaced takes no room, though nobody told', async () => {
  await using room = await openWith(2);
  const chain = await chainIn(room);
  const bring = async (messageId: string, ttl = 3600 * 24) =>
    room.delivery.fromInternet(await testParcel(chain, { messageId, ttl }), { trace: 'test' });
  await bring('replaced');
  await bring('replaced');
  room.clock.advance(10 * SECOND);
  await bring('short', 3600);
  await assert.rejects(bring('late'), refusedWith('MAILBOX_FULL'));
  room.clock.advance(HOUR);
  await bring('late');
  assert.deepEqual(await idsIn(room, chain), ['replaced', 'late']);
});

test('A parcel for a full mailbox is held for its sender, and moves oldest first when there is room', async () => {
  await using room = await openWith(2);
  const chain = await chainIn(room);
  const places: (string | undefined)[] = [];
  for (const id of ['1', '2', '3', '4', '5']) {
    places.push((await send(room, chain, id, chain.privateGateway)).place);
  }
  assert.deepEqual(places, ['mailbox', 'mailbox', 'held', 'held', 'held']);

  const collected: (string | undefined)[] = [];
  for (let count = 0; count < 5; count++) {
    collected.push(await collectOldest(room, chain));
  }
  assert.deepEqual(collected, ['1', '2', '3', '4', '5']);
  assert.equal(await held(room), 0);
  assert.equal((await send(room, chain, '6', chain.privateGateway)).place, 'mailbox');
});

test('A held parcel arrives byte for byte, with the ids that trace it', async () => {
  await using room = await openWith(1);
  const chain = await chainIn(room);
  await send(room, chain, '1', chain.privateGateway);
  const parcel = await testParcel(chain, { messageId: '2' });
  const countersignature = await writeParcelCountersignature(parcel, chain.privateGateway);
  await room.delivery.fromPrivateGateway(parcel, countersignature, { trace: 'of the second' });
  await collectOldest(room, chain);
  const [entry] = await inMailbox(room, chain);
  assert.ok(entry);
  assert.deepEqual((await room.mailboxes.read(entry.key))?.body, parcel);
  assert.deepEqual(entry.metadata, {
    trace: 'of the second',
    parcel: '2',
    sender: chain.sender.id,
    recipient: chain.endpoint.id,
    created: `${readParcel(parcel, new CertificateCache()).creation}`,
  });
});

test('Later parcels of the same sender queue behind its held ones, even if there is room by then', async () => {
  await using room = await openWith(1);
  const chain = await chainIn(room);
  const other = await issued(await testIdentity('other-private-gateway'), room.asNode());
  await send(room, chain, '1', chain.privateGateway);
  await send(room, chain, '2', chain.privateGateway);
  // Room appears, and before anything is moved the same sender and another have one more.
  const [first] = await inMailbox(room, chain);
  assert.ok(first);
  await room.backends.objects.delete(first.key);
  await room.backends.meters.recount(`mailbox/${chain.privateGateway.id}`, { count: 0, octets: 0 });
  assert.equal((await send(room, chain, '3', chain.privateGateway)).place, 'held');
  assert.equal((await send(room, chain, '4', other)).place, 'mailbox');
});

test('A replacement of a held parcel takes its place in the outbox', async () => {
  await using room = await openWith(1);
  const chain = await chainIn(room);
  await send(room, chain, '1', chain.privateGateway);
  await send(room, chain, '2', chain.privateGateway);
  const newer = await testParcel(chain, { messageId: '2', payload: Buffer.from('newer') });
  const countersignature = await writeParcelCountersignature(newer, chain.privateGateway);
  await room.delivery.fromPrivateGateway(newer, countersignature, { trace: 'test' });
  assert.equal(await held(room), 1);
  await collectOldest(room, chain);
  const [entry] = await inMailbox(room, chain);
  assert.deepEqual((await room.mailboxes.read(entry?.key ?? ''))?.body, newer);
});

test('A held parcel does not replace a newer version that the Internet has brought meanwhile', async () => {
  await using room = await openWith(1);
  const chain = await chainIn(room);
  await send(room, chain, '1', chain.privateGateway);
  await send(room, chain, '2', chain.privateGateway);
  // Room appears, and before anything is moved the newer version takes it.
  const [first] = await inMailbox(room, chain);
  assert.ok(first);
  await room.backends.objects.delete(first.key);
  await room.backends.meters.recount(`mailbox/${chain.privateGateway.id}`, { count: 0, octets: 0 });
  const newer = await testParcel(chain, { messageId: '2', payload: Buffer.from('newer') });
  await room.delivery.fromInternet(newer, { trace: 'test' });
  await room.storage.held.refresh();
  const [entry, ...others] = await inMailbox(room, chain);
  assert.equal(others.length, 0);
  assert.deepEqual((await room.mailboxes.read(entry?.key ?? ''))?.body, newer);
  assert.equal(await held(room), 0);
});

test('A sender whose outbox is full queues behind nothing', async () => {
  await using room = await openWith(1, 1);
  const chain = await chainIn(room);
  const other = await issued(await testIdentity('other-private-gateway'), room.asNode());
  const away = { recipient: { id: chain.endpoint.id, internetAddress: 'endpoint.example.org' } };
  const outbound = await testParcel(chain, away);
  await room.delivery.fromPrivateGateway(outbound, await writeParcelCountersignature(outbound, other), {
    trace: 'test',
  });
  await send(room, chain, '1', other);
  await assert.rejects(send(room, chain, '2', other), refusedWith('OUTBOX_FULL'));
  await collectOldest(room, chain);
  assert.equal((await send(room, chain, '2', other)).place, 'mailbox');
});

test("When the sender's outbox is full too, the parcel is refused for now, and other senders go on", async () => {
  await using room = await openWith(1, 2);
  const chain = await chainIn(room);
  const other = await issued(await testIdentity('other-private-gateway'), room.asNode());
  for (const id of ['1', '2', '3']) {
    await send(room, chain, id, chain.privateGateway);
  }
  await assert.rejects(send(room, chain, '4', chain.privateGateway), refusedWith('OUTBOX_FULL'));
  assert.equal((await send(room, chain, '5', other)).place, 'held');

  // What moves on leaves room behind.
  await collectOldest(room, chain);
  assert.equal((await send(room, chain, '4', chain.privateGateway)).place, 'held');
});

test('Held parcels and those for the Internet share the quota of the outbox', async () => {
  await using room = await openWith(1, 2);
  const chain = await chainIn(room);
  const away = { recipient: { id: chain.endpoint.id, internetAddress: 'endpoint.example.org' } };
  await send(room, chain, '1', chain.privateGateway);
  await send(room, chain, '2', chain.privateGateway);
  const outbound = async () => {
    const parcel = await testParcel(chain, away);
    const countersignature = await writeParcelCountersignature(parcel, chain.privateGateway);
    await room.delivery.fromPrivateGateway(parcel, countersignature, { trace: 'test' });
  };
  await outbound();
  await assert.rejects(outbound(), refusedWith('OUTBOX_FULL'));
  room.clock.advance(11 * SECOND);
  await assert.rejects(outbound(), refusedWith('OUTBOX_FULL'), 'counting again finds the same');
});

test('A parcel over its rate is held when a private gateway sends it, and moves when its time has come', async () => {
  await using room = await openWith(100);
  const chain = await chainIn(room, { pdaRateLimit: { limit: 1, periodMs: HOUR } });
  assert.equal((await send(room, chain, '1', chain.privateGateway)).place, 'mailbox');
  assert.equal((await send(room, chain, '2', chain.privateGateway)).place, 'held');
  assert.equal((await send(room, chain, '3', chain.privateGateway)).place, 'held');
  await room.storage.held.refresh();
  assert.deepEqual(await idsIn(room, chain), ['1']);
  room.clock.advance(HOUR + SECOND);
  await room.storage.held.refresh();
  assert.deepEqual(await idsIn(room, chain), ['1', '2']);
  room.clock.advance(HOUR + SECOND);
  await room.storage.held.refresh();
  assert.deepEqual(await idsIn(room, chain), ['1', '2', '3']);
});

test('A sender over its rate holds up no other that waits for the same mailbox', async () => {
  await using room = await openWith(2);
  const slow = await chainIn(room, { pdaRateLimit: { limit: 1, periodMs: HOUR } });
  const other = await issued(await testIdentity('other-private-gateway'), room.asNode());
  const free = await chainIn(room, { keys: { sender: 'other-sender' } });
  await send(room, slow, 'slow 1', slow.privateGateway);
  await send(room, free, 'free 1', other);
  await send(room, slow, 'slow 2', slow.privateGateway);
  await send(room, free, 'free 2', other);
  assert.equal(await collectOldest(room, slow), 'slow 1');
  assert.deepEqual(await idsIn(room, slow), ['free 1', 'free 2']);
});

test('A process that starts finds what an earlier one held, and what was held without its knowledge', async () => {
  await using room = await openWith(1);
  const chain = await chainIn(room);
  await send(room, chain, '1', chain.privateGateway);
  await send(room, chain, '2', chain.privateGateway);
  const { objects, records, work, signals, meters } = room.backends;
  const restarted = new ParcelStorage({
    objects,
    records,
    work,
    signals,
    meters,
    clock: room.clock,
    mailboxQuota: { ...MANY, count: 1 },
  });
  await restarted.held.refresh();
  assert.equal(restarted.held.includes(chain.privateGateway.id, chain.privateGateway.id), true);
  const [first] = await inMailbox(room, chain);
  assert.ok(first);
  await restarted.mailboxes.remove(chain.privateGateway.id, first);
  await restarted.held.move(chain.privateGateway.id);
  assert.deepEqual(await idsIn(room, chain), ['2']);
});

test('A process that only looks knows what others hold, moves nothing by itself, and forgets what they have moved', async () => {
  await using room = await openWith(1);
  const chain = await chainIn(room);
  const { id } = chain.privateGateway;
  await send(room, chain, '1', chain.privateGateway);
  await send(room, chain, '2', chain.privateGateway);
  const { objects, records, work, signals, meters } = room.backends;
  const quota = { ...MANY, count: 1 };
  const parts = { objects, records, work, signals, meters, clock: room.clock, mailboxQuota: quota };
  const [other, unknowing] = [new ParcelStorage(parts), new ParcelStorage(parts)];
  await other.held.look();
  assert.equal(other.held.includes(id, id), true);
  const [first] = await inMailbox(room, chain);
  assert.ok(first);
  // By a process that knows of nothing held.
  await unknowing.mailboxes.remove(id, first);
  await other.held.look();
  assert.deepEqual(await idsIn(room, chain), []);
  assert.equal(other.held.includes(id, id), true);

  await room.storage.held.refresh();
  assert.deepEqual(await idsIn(room, chain), ['2']);
  assert.equal(other.held.includes(id, id), true);
  await other.held.look();
  assert.equal(other.held.includes(id, id), false);
});

test('A look forgets no parcel that comes to be held meanwhile', async () => {
  await using room = await openWith(1);
  const chain = await chainIn(room);
  const { id } = chain.privateGateway;
  await send(room, chain, '1', chain.privateGateway);
  await send(room, chain, '2', chain.privateGateway);
  const [held] = await Array.fromAsync(room.backends.objects.list('held/'));
  assert.ok(held);
  await room.backends.objects.delete(held.key, held.version);
  const { objects } = room.backends;
  const list = objects.list.bind(objects);
  let isListed = false;
  objects.list = async function* (prefix: string) {
    yield* list(prefix);
    if (!isListed) {
      isListed = true;
      await send(room, chain, '3', chain.privateGateway);
    }
  } as typeof objects.list;
  await room.storage.held.look();
  assert.equal(isListed, true);
  assert.equal(room.storage.held.includes(id, id), true);
});

test('Hundreds of held parcels all move, in order, as they are collected', async () => {
  await using room = await openWith(10);
  const chain = await chainIn(room);
  const ids = Array.from({ length: 300 }, (_, number) => String(number));
  for (const id of ids) {
    await send(room, chain, id, chain.privateGateway);
  }
  const collected: (string | undefined)[] = [];
  for (let oldest = await collectOldest(room, chain); oldest; oldest = await collectOldest(room, chain)) {
    collected.push(oldest);
  }
  assert.deepEqual(collected, ids);
});

test('A collection that ends when all is collected brings what was held, too', async () => {
  await using room = await openWith(2);
  const chain = await chainIn(room);
  for (const id of ['1', '2', '3', '4', '5']) {
    await send(room, chain, id, chain.privateGateway);
  }
  const collections = new ParcelCollections({
    identity: room.identity,
    storage: room.storage,
    certificates: new CertificateCache(),
    clock: room.clock,
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const delivered: (string | undefined)[] = [];
  const collection = collections.open(
    [chain.privateGateway.id],
    { untilEmpty: true, window: 1 },
    {
      async deliver(deliveryId, _parcel, ids) {
        delivered.push(ids.parcel);
        queueMicrotask(() => collection.acknowledge(deliveryId));
      },
      supersede: reject,
      complete: resolve,
      fail: reject,
    },
  );
  await promise;
  assert.deepEqual(delivered, ['1', '2', '3', '4', '5']);
  assert.equal(await held(room), 0);
});

test('A parcel that expires while it is held is gone', async () => {
  await using room = await openWith(1);
  const chain = await chainIn(room);
  await send(room, chain, '1', chain.privateGateway);
  const parcel = await testParcel(chain, { messageId: '2', ttl: 3600 });
  const countersignature = await writeParcelCountersignature(parcel, chain.privateGateway);
  await room.delivery.fromPrivateGateway(parcel, countersignature, { trace: 'test' });
  assert.equal(await held(room), 1);
  room.clock.advance(HOUR + MINUTE);
  await collectOldest(room, chain);
  assert.deepEqual(await idsIn(room, chain), []);
});
