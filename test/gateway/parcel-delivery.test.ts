import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writeParcelCountersignature } from '../../src/awala/poweb/countersignature.ts';
import type { TraceIds } from '../../src/gateway/errors.ts';
import type { ObjectEntry } from '../../src/gateway/ports.ts';
import { DAY, HOUR, MINUTE } from '../../src/gateway/time.ts';
import { type GatewayRoom, INTERNET_ADDRESS, openGatewayRoom } from '../support/gateway-room.ts';
import { selfIssued, type TestChain, type TestNode, testChain, testIdentity, testParcel } from '../support/pki.ts';

const chainIn = (room: GatewayRoom, options: Parameters<typeof testChain>[0] = {}) =>
  testChain({ gateway: room.asNode(), ...options });

/** Delivers as the private gateway `by`, which is the recipient's own unless told otherwise. */
async function deliver(room: GatewayRoom, parcel: Buffer, by: TestNode): Promise<TraceIds> {
  const ids: TraceIds = { trace: 'test' };
  await room.delivery.fromPrivateGateway(parcel, await writeParcelCountersignature(parcel, by), ids);
  return ids;
}

async function listed(entries: AsyncIterable<ObjectEntry>): Promise<ObjectEntry[]> {
  return Array.fromAsync(entries);
}

const mailbox = (room: GatewayRoom, chain: TestChain) => listed(room.mailboxes.list(chain.privateGateway.id));
const outbox = (room: GatewayRoom, chain: TestChain) =>
  listed(room.backends.objects.list(`outbox/${chain.privateGateway.id}/`));

const refusedWith = (code: string) => (error: Error & { code?: string }) => {
  assert.equal(error.code, code, error.message);
  return true;
};

test('A parcel for an endpoint behind this gateway waits in the mailbox of its private gateway, byte for byte', async () => {
  await using room = await openGatewayRoom();
  const chain = await chainIn(room);
  const parcel = await testParcel(chain, { messageId: 'first' });
  const ids = await deliver(room, parcel, chain.privateGateway);

  const [entry, ...others] = await mailbox(room, chain);
  assert.ok(entry);
  assert.equal(others.length, 0);
  assert.deepEqual((await room.mailboxes.read(entry.key))?.body, parcel);
  assert.deepEqual(ids, {
    trace: 'test',
    peer: chain.privateGateway.id,
    parcel: 'first',
    sender: chain.sender.id,
    recipient: chain.endpoint.id,
    place: 'mailbox',
    mailbox: chain.privateGateway.id,
  });
});

test('The recipient may name our Internet address, in any case', async () => {
  await using room = await openGatewayRoom();
  const chain = await chainIn(room);
  const recipient = { id: chain.endpoint.id, internetAddress: INTERNET_ADDRESS.toUpperCase() };
  await deliver(room, await testParcel(chain, { recipient }), chain.privateGateway);
  await room.delivery.fromInternet(await testParcel(chain, { recipient }), { trace: 'test' });
  assert.equal((await mailbox(room, chain)).length, 2);
  assert.equal((await outbox(room, chain)).length, 0);
});

test('A parcel for another address waits in the outbox of its private gateway, even if its signer is self-issued', async () => {
  await using room = await openGatewayRoom();
  const chain = await chainIn(room);
  const sender = await selfIssued(await testIdentity('stranger'));
  const recipient = { id: chain.endpoint.id, internetAddress: 'endpoint.example.org' };
  await deliver(room, await testParcel({ ...chain, sender }, { recipient }), chain.privateGateway);
  const [entry] = await outbox(room, chain);
  assert.equal(entry?.metadata['destination'], 'endpoint.example.org');
  assert.equal((await mailbox(room, chain)).length, 0);
});

test('PoHTTP never relays', async () => {
  await using room = await openGatewayRoom();
  const chain = await chainIn(room);
  const recipient = { id: chain.endpoint.id, internetAddress: 'endpoint.example.org' };
  const parcel = await testParcel(chain, { recipient });
  await assert.rejects(room.delivery.fromInternet(parcel, { trace: 'test' }), refusedWith('WRONG_GATEWAY'));
});

test('A countersigner that we did not certify is refused before the parcel is looked at', async () => {
  await using room = await openGatewayRoom();
  const chain = await chainIn(room);
  const stranger = await selfIssued(await testIdentity('stranger'));
  const ids: TraceIds = { trace: 'test' };
  const countersignature = await writeParcelCountersignature(Buffer.from('no parcel'), stranger);
  await assert.rejects(
    room.delivery.fromPrivateGateway(Buffer.from('no parcel'), countersignature, ids),
    refusedWith('COUNTERSIGNATURE_INVALID'),
  );
  assert.deepEqual(ids, { trace: 'test' });
  assert.equal((await mailbox(room, chain)).length, 0);
});

test('A parcel without a delivery authorization from its recipient is refused at both doors', async () => {
  await using room = await openGatewayRoom();
  const chain = await chainIn(room);
  const parcel = await testParcel(chain, { recipient: { id: (await testIdentity('other-endpoint')).id } });
  await assert.rejects(room.delivery.fromInternet(parcel, { trace: 'test' }), refusedWith('PARCEL_UNAUTHORIZED'));
  await assert.rejects(deliver(room, parcel, chain.privateGateway), refusedWith('PARCEL_UNAUTHORIZED'));
  assert.equal((await mailbox(room, chain)).length, 0);
});

test('A chain that ends at another gateway is refused', async () => {
  await using room = await openGatewayRoom();
  const chain = await testChain({ keys: { gateway: 'other-internet-gateway' } });
  const parcel = await testParcel(chain);
  await assert.rejects(room.delivery.fromInternet(parcel, { trace: 'test' }), refusedWith('CERTIFICATE_UNTRUSTED'));
});

test('What an earlier identity key certified is still delivered after another issues', async () => {
  await using room = await openGatewayRoom();
  const chain = await chainIn(room);
  await room.identity.rotateKey();
  await room.delivery.fromInternet(await testParcel(chain), { trace: 'test' });
  assert.equal((await mailbox(room, chain)).length, 1);
});

test('Parcels dated up to two hours ahead of our clock are taken, later ones are not', async () => {
  await using room = await openGatewayRoom();
  const chain = await chainIn(room);
  const now = room.clock.now();
  await room.delivery.fromInternet(await testParcel(chain, { creation: now + 2 * HOUR - MINUTE }), { trace: 'test' });
  await assert.rejects(
    room.delivery.fromInternet(await testParcel(chain, { creation: now + 2 * HOUR + MINUTE }), { trace: 'test' }),
    refusedWith('MESSAGE_FROM_FUTURE'),
  );
  assert.equal((await mailbox(room, chain)).length, 1);
});

test('A parcel with the same id from the same sender replaces the one that waits; from another sender it does not', async () => {
  await using room = await openGatewayRoom();
  const chain = await chainIn(room);
  const other = await chainIn(room, { keys: { sender: 'other-sender' } });
  const send = async (from: TestChain, text: string) =>
    room.delivery.fromInternet(await testParcel(from, { messageId: 'same', payload: Buffer.from(text) }), {
      trace: 'test',
    });
  await send(chain, 'older');
  await send(other, 'of another sender');
  await send(chain, 'newer');
  const bodies = await Promise.all(
    (await mailbox(room, chain)).map(async ({ key }) => (await room.mailboxes.read(key))?.body),
  );
  assert.equal(bodies.length, 2);
  assert.equal(bodies.filter((body) => body?.includes('newer')).length, 1);
  assert.equal(bodies.filter((body) => body?.includes('older')).length, 0);
});

test('A parcel is gone from the mailbox when it expires', async () => {
  await using room = await openGatewayRoom();
  const chain = await chainIn(room);
  await room.delivery.fromInternet(await testParcel(chain, { ttl: 3600 }), { trace: 'test' });
  room.clock.advance(58 * MINUTE);
  assert.equal((await mailbox(room, chain)).length, 1);
  room.clock.advance(2 * MINUTE);
  assert.equal((await mailbox(room, chain)).length, 0);
});

test('A delivery authorization with a rate limit allows that many parcels in its period, by the time of receipt', async () => {
  await using room = await openGatewayRoom();
  const chain = await chainIn(room, { pdaRateLimit: { limit: 2, periodMs: HOUR } });
  const send = async () => room.delivery.fromInternet(await testParcel(chain), { trace: 'test' });
  await send();
  await send();
  await assert.rejects(send(), refusedWith('RATE_EXCEEDED'));
  room.clock.advance(HOUR + 1);
  await send();
  assert.equal((await mailbox(room, chain)).length, 3);
});

test('One sender at its rate does not stop another', async () => {
  await using room = await openGatewayRoom();
  const limited = await chainIn(room, { pdaRateLimit: { limit: 1, periodMs: DAY } });
  const free = await chainIn(room, { keys: { sender: 'other-sender' } });
  await room.delivery.fromInternet(await testParcel(limited), { trace: 'test' });
  await room.delivery.fromInternet(await testParcel(free), { trace: 'test' });
  await room.delivery.fromInternet(await testParcel(free), { trace: 'test' });
  assert.equal((await mailbox(room, limited)).length, 3);
});
