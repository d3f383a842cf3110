/** Who may collect cargo, and what becomes of calls that meet, or whose stores and keys fail. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { AwalaError } from '../../../src/awala/errors.ts';
import { CertificateCache } from '../../../src/awala/pki/certificate-cache.ts';
import { readParcel } from '../../../src/awala/ramf/parcel.ts';
import { RamfType } from '../../../src/awala/ramf/ramf-message.ts';
import { writeRamfMessage } from '../../../src/awala/ramf/write-ramf.ts';
import type { CargoCollection } from '../../../src/gateway/cargo/cargo-collection.ts';
import { GatewayError, type TraceIds } from '../../../src/gateway/errors.ts';
import { parcelAtRest } from '../../../src/gateway/parcel-at-rest.ts';
import { Peers } from '../../../src/gateway/peers.ts';
import { type Records, StoreError } from '../../../src/gateway/ports.ts';
import { Revocations } from '../../../src/gateway/revocations.ts';
import { DAY, HOUR } from '../../../src/gateway/time.ts';
import { machineRandom } from '../../../src/machine.ts';
import { CargoRecipient, type CcaOptions, cargoCollectionsOf } from '../../support/cargo-recipient.ts';
import { type GatewayRoom, openGatewayRoom } from '../../support/gateway-room.ts';
import { heldClaims } from '../../support/held-claims.ts';
import { Barrier } from '../../support/held-stores.ts';
import {
  issued,
  newSessionKey,
  selfIssued,
  type TestChain,
  testChain,
  testIdentity,
  testParcel,
} from '../../support/pki.ts';

const CALLS = 20;
const PARCELS = 12;

async function setting(t: TestContext): Promise<{ room: GatewayRoom; chain: TestChain; recipient: CargoRecipient }> {
  const room = await openGatewayRoom();
  t.after(() => room[Symbol.asyncDispose]());
  const chain = await testChain({ gateway: room.asNode() });
  return { room, chain, recipient: await CargoRecipient.register(room, chain.privateGateway) };
}

const open = (room: GatewayRoom, cca: Buffer, parts: Parameters<typeof cargoCollectionsOf>[1] = {}, ids?: TraceIds) =>
  cargoCollectionsOf(room, parts).open(cca, ids ?? { trace: 'test' });

const refusal = (code: string) => (error: unknown) => {
  assert.ok(error instanceof AwalaError || error instanceof GatewayError || error instanceof StoreError, `${error}`);
  assert.equal(error.code, code, error.message);
  return true;
};

const never = new AbortController().signal;

/** Takes all, acknowledging each; gives the ids of the parcels. */
async function collectAll(
  recipient: CargoRecipient,
  collection: CargoCollection,
  into: string[] = [],
): Promise<string[]> {
  using _ = collection;
  for await (const { id, cargo } of collection.deliveries(never)) {
    into.push(...recipient.open(cargo).items.map((item) => readParcel(item, new CertificateCache()).messageId));
    collection.acknowledge(id);
    await setImmediate();
  }
  return into;
}

async function fill(room: GatewayRoom, chain: TestChain): Promise<string[]> {
  const ids = Array.from({ length: PARCELS }, (_, index) => `parcel ${String(index).padStart(2, '0')}`);
  for (const messageId of ids) {
    const parcel = await testParcel(chain, { messageId, payload: randomBytes(40 * 1024) });
    const atRest = parcelAtRest(readParcel(parcel, new CertificateCache()), { trace: 'test' }, Date.now());
    await room.mailboxes.put(chain.privateGateway.id, atRest);
  }
  return ids;
}

test('a CCA is refused with the code of what is wrong with it', async (t) => {
  const { room, chain, recipient } = await setting(t);
  const stranger = await selfIssued(await testIdentity('stranger'));
  const others = await issued(await testIdentity('other-private-gateway'), room.asNode());
  const now = room.clock.now();
  const cda = (options: Parameters<typeof issued>[2], by = chain.privateGateway, subject = room.asNode()) =>
    issued(subject, by, { isCa: false, pathLength: 0, notBefore: now - HOUR, ...options });
  const cases: [string, CcaOptions][] = [
    ['CCA_FOR_ANOTHER_GATEWAY', { fields: { recipient: { id: stranger.id } } }],
    ['CERTIFICATE_UNTRUSTED', { signer: stranger }],
    // Whose certificate is by the private gateway, and not by us.
    ['CERTIFICATE_UNTRUSTED', { signer: chain.endpoint }],
    ['MESSAGE_EXPIRED', { fields: { creation: now - DAY, ttl: 0 } }],
    ['MESSAGE_FROM_FUTURE', { fields: { creation: now + 3 * HOUR } }],
    ['ENVELOPED_DATA_MALFORMED', { payload: Buffer.from('nothing') }],
    ['SESSION_KEY_UNKNOWN', { sessionKey: newSessionKey() }],
    // Encrypted for a key that was given to somebody else.
    ['SESSION_KEY_UNKNOWN', { signer: others }],
    ['COLLECTION_REQUEST_MALFORMED', { plaintext: Buffer.from('nothing') }],
    ['CERTIFICATE_SIGNATURE_INVALID', { authorization: (await cda({}, stranger)).certificate }],
    ['CERTIFICATE_UNTRUSTED', { authorization: (await cda({}, chain.privateGateway, stranger)).certificate }],
    [
      'CERTIFICATE_EXPIRED',
      { authorization: (await cda({ notAfter: now - 2 * HOUR - 1000, notBefore: now - 2.5 * HOUR })).certificate },
    ],
    ['CERTIFICATE_NOT_YET_VALID', { authorization: (await cda({ notBefore: now + 2 * HOUR + 1000 })).certificate }],
  ];
  for (const [code, options] of cases) {
    await assert.rejects(open(room, await recipient.writeCca(options), {}), refusal(code));
  }
  await assert.rejects(open(room, Buffer.alloc(0)), refusal('RAMF_FORMAT_UNKNOWN'));
  await assert.rejects(open(room, randomBytes(20_000)), refusal('MESSAGE_TOO_LARGE'));
  const cargo = await writeRamfMessage(
    RamfType.CARGO,
    { recipient: { id: room.identity.id }, messageId: 'x', creation: now, ttl: 60, payload: Buffer.alloc(1) },
    chain.privateGateway,
  );
  await assert.rejects(open(room, cargo), refusal('RAMF_FORMAT_UNKNOWN'));
  const forged = await recipient.writeCca();
  forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
  await assert.rejects(open(room, forged), refusal('SIGNATURE_INVALID'));
});

test('authorizations as either stack issues them are taken, also two hours off', async (t) => {
  const { room, chain } = await setting(t);
  const now = room.clock.now();
  for (const options of [
    { isCa: true, pathLength: 1 },
    { isCa: true, pathLength: 0 },
    { isCa: false, pathLength: 0 },
    { isCa: false, pathLength: 0, notBefore: now + 2 * HOUR - 1000 },
    { isCa: false, pathLength: 0, notBefore: now - 3 * HOUR, notAfter: now - 2 * HOUR + 1000 },
  ]) {
    const recipient = await CargoRecipient.register(room, chain.privateGateway, options);
    assert.deepEqual(await collectAll(recipient, await open(room, await recipient.writeCca())), []);
  }
  // As Android does: by the certificate that we issued.
  const byOurs = await issued(room.asNode(), chain.privateGateway, { isCa: false, pathLength: 0 });
  const recipient = await CargoRecipient.register(room, chain.privateGateway);
  await open(room, await recipient.writeCca({ authorization: byOurs.certificate }));
});

test('who it is for is known even when it is refused', async (t) => {
  const { room, chain, recipient } = await setting(t);
  const ids: TraceIds = { trace: 'test' };
  const cca = await recipient.writeCca({ sessionKey: newSessionKey(), fields: { messageId: 'the-cca' } });
  await assert.rejects(open(room, cca, {}, ids));
  assert.deepEqual(ids, { trace: 'test', peer: chain.privateGateway.id, cca: 'the-cca' });
});

test('nobody collects by a certificate that was revoked, or who is blocked', async (t) => {
  const { room, chain, recipient } = await setting(t);
  const parts = { ...room.backends, random: machineRandom, clock: room.clock };
  using revocations = await Revocations.open(parts);
  using peers = await Peers.open(parts);
  await peers.block(chain.privateGateway.id);
  await assert.rejects(open(room, await recipient.writeCca(), { peers, revocations }), refusal('PEER_BLOCKED'));
  await peers.unblock(chain.privateGateway.id);
  await open(room, await recipient.writeCca(), { peers, revocations });
  await revocations.revokeCertificate(chain.privateGateway.certificate);
  await assert.rejects(open(room, await recipient.writeCca(), { peers, revocations }), refusal('CERTIFICATE_REVOKED'));
});

for (const code of ['PEER_BLOCKED', 'CERTIFICATE_REVOKED']) {
  test(`a collection under way ends with ${code}`, async (t) => {
    const { room, chain, recipient } = await setting(t);
    await fill(room, chain);
    const parts = { ...room.backends, random: machineRandom, clock: room.clock };
    using revocations = await Revocations.open(parts);
    using peers = await Peers.open(parts);
    using collection = await open(room, await recipient.writeCca(), { peers, revocations });
    const deliveries = collection.deliveries(never);
    assert.equal((await deliveries.next()).done, false);
    // It waits for the courier to acknowledge.
    const rest = Array.fromAsync(deliveries);
    if (code === 'PEER_BLOCKED') {
      await peers.block(chain.privateGateway.id);
    } else {
      await revocations.revokeCertificate(chain.privateGateway.certificate);
    }
    await assert.rejects(rest, refusal(code));
  });
}

test('of 20 concurrent collections with one CCA at most one completes; it is spent exactly then, and nothing is lost', async (t) => {
  const { room, chain, recipient } = await setting(t);
  const expected = await fill(room, chain);
  const barrier = new Barrier();
  const records = heldClaims(room.backends.records, barrier);
  const collections = cargoCollectionsOf(room, { records });
  for (let round = 0; round < 3; round++) {
    const cca = await recipient.writeCca();
    const taken: string[] = [];
    barrier.hold();
    const calls = Array.from({ length: CALLS }, async () => {
      await collectAll(recipient, await collections.open(cca, { trace: 'test' }), taken);
    });
    const outcomes = Promise.allSettled(calls);
    // All have found the CCA unused, and are about to claim it.
    while (barrier.waiting < CALLS) {
      await setImmediate();
    }
    barrier.release();
    const completed = (await outcomes).filter(({ status }) => status === 'fulfilled').length;
    assert.ok(completed <= 1, `${completed} completed`);
    for (const outcome of await outcomes) {
      assert.ok(
        outcome.status === 'fulfilled' || /^CCA_(SPENT|SUPERSEDED)$/.test(outcome.reason.code),
        `${outcome.status === 'rejected' && outcome.reason}`,
      );
    }
    if (completed === 1) {
      await assert.rejects(collections.open(cca, { trace: 'test' }), refusal('CCA_SPENT'));
    } else {
      await collectAll(recipient, await collections.open(cca, { trace: 'test' }), taken);
    }
    assert.deepEqual([...new Set(taken)].sort(), expected);
    assert.equal((await Array.fromAsync(room.mailboxes.list(chain.privateGateway.id))).length, PARCELS);
  }
});

test('calls that are about to spend one CCA when another claims it do not both complete', async (t) => {
  const { room, chain, recipient } = await setting(t);
  await fill(room, chain);
  const barrier = new Barrier();
  const collections = cargoCollectionsOf(room, { records: heldClaims(room.backends.records, barrier) });
  const cca = await recipient.writeCca();
  const first = await collections.open(cca, { trace: 'first' });
  barrier.hold();
  // Both are at their compare-and-set: the one to spend the CCA, the other to take it over.
  const spending = collectAll(recipient, first);
  const claiming = collections.open(cca, { trace: 'second' }).then((second) => collectAll(recipient, second));
  while (barrier.waiting < 2) {
    await setImmediate();
  }
  barrier.release();
  const outcomes = await Promise.allSettled([spending, claiming]);
  assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
  await assert.rejects(collections.open(cca, { trace: 'third' }), refusal('CCA_SPENT'));
});

test('a store that is away, or a key that does not sign, ends the call, and the CCA can be used again', async (t) => {
  const { room, chain, recipient } = await setting(t);
  const expected = await fill(room, chain);
  const cca = await recipient.writeCca();
  let isAway = false;
  const records: Records = {
    ...bound(room.backends.records),
    async create(kind, ...rest) {
      if (isAway && kind === 'cca-progress') {
        throw new StoreError('STORE_AWAY', 'Store is away');
      }
      return room.backends.records.create(kind, ...rest);
    },
  };
  const collection = await open(room, cca, { records });
  isAway = true;
  await assert.rejects(collectAll(recipient, collection), refusal('STORE_AWAY'));
  isAway = false;

  const key = room.identity.ownKey(room.identity.id);
  assert.ok(key);
  const { crypto } = key.signing;
  const broken = { subtle: { sign: () => Promise.reject(new Error('Key is away')) } } as unknown as Crypto;
  Object.assign(key.signing, { crypto: broken });
  const [parcel] = await Promise.allSettled([open(room, cca).then((each) => collectAll(recipient, each))]);
  assert.match(String(parcel?.status === 'rejected' && parcel.reason), /Key is away/);
  Object.assign(key.signing, { crypto });

  assert.deepEqual(await collectAll(recipient, await open(room, cca)), expected);
});

function bound(records: Records): Records {
  return {
    get: (...args) => records.get(...args),
    list: (...args) => records.list(...args),
    put: (...args) => records.put(...args),
    delete: (...args) => records.delete(...args),
    create: (...args) => records.create(...args),
    replace: (...args) => records.replace(...args),
  };
}
