/** Collections of cargo: what is in them and in which order, how they grow, and how a retry goes on. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { cargoItemKind } from '../../../src/awala/cargo/cargo-message-set.ts';
import { readCertificateRotation } from '../../../src/awala/cargo/certificate-rotation.ts';
import { readParcelCollectionAck } from '../../../src/awala/cargo/parcel-collection-ack.ts';
import { CertificateCache } from '../../../src/awala/pki/certificate-cache.ts';
import { readParcel } from '../../../src/awala/ramf/parcel.ts';
import type { CargoCollection, OutgoingCargo } from '../../../src/gateway/cargo/cargo-collection.ts';
import { ITEM_DIGEST_OCTETS } from '../../../src/gateway/cargo/cca-claims.ts';
import { CollectedParcels, type OwedAck } from '../../../src/gateway/cargo/collected-parcels.ts';
import { GatewayError } from '../../../src/gateway/errors.ts';
import { parcelAtRest } from '../../../src/gateway/parcel-at-rest.ts';
import { DAY, HOUR, MINUTE, SECOND } from '../../../src/gateway/time.ts';
import { CargoRecipient, cargoCollectionsOf } from '../../support/cargo-recipient.ts';
import { type GatewayRoom, openGatewayRoom } from '../../support/gateway-room.ts';
import { issued, type TestChain, testChain, testIdentity, testParcel } from '../../support/pki.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

interface Setting {
  readonly room: GatewayRoom;
  readonly chain: TestChain;
  readonly recipient: CargoRecipient;
  readonly collections: ReturnType<typeof cargoCollectionsOf>;
  /** Puts a parcel of about so many octets into the mailbox. */
  put(messageId: string, octets?: number, ttl?: number): Promise<void>;
  open(cca?: Buffer): Promise<CargoCollection>;
}

async function setting(t: TestContext): Promise<Setting> {
  const room = await openGatewayRoom();
  t.after(() => room[Symbol.asyncDispose]());
  const chain = await testChain({ gateway: room.asNode() });
  const recipient = await CargoRecipient.register(room, chain.privateGateway);
  const collections = cargoCollectionsOf(room);
  return {
    room,
    chain,
    recipient,
    collections,
    async put(messageId, octets = KIB, ttl = DAY / SECOND) {
      const payload = randomBytes(octets);
      const parcel = await testParcel(chain, { messageId, payload, creation: room.clock.now(), ttl });
      const atRest = parcelAtRest(readParcel(parcel, new CertificateCache()), { trace: 'test' }, Date.now());
      await room.mailboxes.put(chain.privateGateway.id, atRest);
      room.clock.advance(1);
    },
    open: async (cca) => collections.open(cca ?? (await recipient.writeCca()), { trace: 'test' }),
  };
}

const never = new AbortController().signal;

/** Takes all cargo, acknowledging each at once. */
async function collectAll(collection: CargoCollection): Promise<OutgoingCargo[]> {
  const cargoes: OutgoingCargo[] = [];
  for await (const delivery of collection.deliveries(never)) {
    cargoes.push(delivery);
    collection.acknowledge(delivery.id);
  }
  collection[Symbol.dispose]();
  return cargoes;
}

/** What an item is, in a word; of parcels and acknowledgements the parcel's id. */
function named(item: Buffer): string {
  const kind = cargoItemKind(item);
  if (kind === 'parcel') {
    return readParcel(item, new CertificateCache()).messageId;
  }
  return kind === 'parcel-collection-ack' ? `ack of ${readParcelCollectionAck(item).parcelId}` : kind;
}

const itemsOf = ({ recipient }: Setting, cargoes: readonly OutgoingCargo[]): string[] =>
  cargoes.flatMap(({ cargo }) => recipient.open(cargo).items.map(named));

const waiting = async ({ room, chain }: Setting) =>
  (await Array.fromAsync(room.mailboxes.list(chain.privateGateway.id))).length;

const refusal = (code: string) => (error: unknown) => error instanceof GatewayError && error.code === code;

async function owe({ room, chain, collections }: Setting, messageId: string, ttl = DAY): Promise<void> {
  const [sender, recipient] = [chain.endpoint.id, chain.sender.id];
  const content = Buffer.from(messageId);
  const expiry = room.clock.now() + ttl;
  await collections.collectedParcels.add(chain.privateGateway.id, { sender, recipient, messageId, content, expiry });
  room.clock.advance(1);
}

test('new acknowledgements come first, then parcels, oldest first, then repeated acknowledgements', async (t) => {
  const here = await setting(t);
  await owe(here, 'old');
  assert.deepEqual(itemsOf(here, await collectAll(await here.open())), ['ack of old']);
  await owe(here, 'new');
  await owe(here, 'short', MINUTE);
  for (const id of ['c', 'a', 'b']) {
    await here.put(id);
  }
  await here.put('expiring', KIB, 60);
  here.room.clock.advance(2 * MINUTE);
  const cargoes = await collectAll(await here.open());
  assert.deepEqual(itemsOf(here, cargoes), ['ack of new', 'c', 'a', 'b', 'ack of old']);
  assert.equal(cargoes.length, 1);
  // Only an acknowledgement by the private gateway itself removes them.
  assert.equal(await waiting(here), 3);
  assert.deepEqual(
    itemsOf(here, await collectAll(await here.open())),
    ['c', 'a', 'b', 'ack of new', 'ack of old'].toSorted(
      (one, other) => Number(one.startsWith('ack')) - Number(other.startsWith('ack')),
    ),
  );
});

test('acknowledgements that are owed are read once, and a second time only where they are very many', async (t) => {
  const here = await setting(t);
  const { records, meters } = here.room.backends;
  let readings = 0;
  class Counting extends CollectedParcels {
    override owedTo(peer: string): AsyncIterable<OwedAck> {
      readings++;
      return super.owedTo(peer);
    }
  }
  const collectedParcels = new Counting({ records, meters, clock: here.room.clock });
  const counting = { ...here, collections: cargoCollectionsOf(here.room, { collectedParcels }) };
  const collect = async () => {
    readings = 0;
    const cca = await here.recipient.writeCca();
    return itemsOf(here, await collectAll(await counting.collections.open(cca, { trace: 'test' })));
  };
  await owe(here, 'first');
  assert.deepEqual(await collect(), ['ack of first']);
  assert.deepEqual(await collect(), ['ack of first']);
  assert.equal(readings, 1);

  await Promise.all(Array.from({ length: 1000 }, (_, number) => owe(here, `${number}`)));
  assert.equal((await collect()).length, 1001);
  assert.equal(readings, 1);
  assert.equal(new Set(await collect()).size, 1001);
  assert.equal(readings, 2);
});

test('an empty collection spends its CCA', async (t) => {
  const here = await setting(t);
  const cca = await here.recipient.writeCca();
  assert.deepEqual(await collectAll(await here.open(cca)), []);
  await assert.rejects(here.open(cca), refusal('CCA_SPENT'));
});

test('cargo is dated back, never before its authorization, and expires with its longest-lived item', async (t) => {
  const here = await setting(t);
  const { room, chain } = here;
  await here.put('short', KIB, 7200);
  const longest = Math.floor(room.clock.now() / SECOND) * SECOND;
  await here.put('long', KIB, (3 * DAY) / SECOND);
  const [first] = await collectAll(await here.open());
  const cargo = here.recipient.open(first?.cargo ?? []);
  // The CDA of this private gateway starts 90 minutes back.
  assert.equal(cargo.creation, here.recipient.authorization.notBefore);
  assert.equal(cargo.expiry, longest + 3 * DAY);

  const old = await CargoRecipient.register(room, chain.privateGateway, { notBefore: room.clock.now() - DAY });
  const [second] = await collectAll(await here.open(await old.writeCca()));
  assert.equal(old.open(second?.cargo ?? []).creation, Math.floor((room.clock.now() - 3 * HOUR) / SECOND) * SECOND);

  const early = await CargoRecipient.register(room, chain.privateGateway, { notBefore: room.clock.now() + HOUR });
  const [third] = await collectAll(await here.open(await early.writeCca()));
  assert.ok(third);
  room.clock.advance(HOUR);
  assert.equal(early.open(third.cargo).creation, early.authorization.notBefore);
});

test('cargoes start at 64 KiB, grow to 1 MiB, and larger parcels go alone and last', async (t) => {
  const here = await setting(t);
  await here.put('huge', 5 * MIB);
  for (let index = 0; index < 60; index++) {
    await here.put(`parcel ${String(index).padStart(2, '0')}`, 50 * KIB);
  }
  await here.put('larger', MIB);
  const cargoes = await collectAll(await here.open());
  const sizes = cargoes.map(({ octets }) => octets);
  const names = itemsOf(here, cargoes);
  assert.deepEqual(names.slice(0, 60), names.slice(0, 60).toSorted());
  assert.deepEqual(names.slice(60), ['huge', 'larger']);
  assert.ok((sizes[0] as number) <= 64 * KIB);
  const shared = sizes.slice(0, -2);
  assert.ok(shared.every((size) => size <= MIB));
  assert.ok(Math.max(...shared) > 900 * KIB, `${shared}`);
  assert.ok(shared.every((size, index) => index === 0 || size <= 2 * (shared[index - 1] as number) + 60 * KIB));
  assert.deepEqual(
    cargoes.slice(-2).map(({ cargo }) => here.recipient.open(cargo).items.length),
    [1, 1],
  );
});

test('a cargo that was acknowledged late makes the next ones smaller, down to where they started', async (t) => {
  const here = await setting(t);
  for (let index = 0; index < 40; index++) {
    await here.put(`parcel ${index}`, 30 * KIB);
  }
  const collection = await here.open();
  const sizes: number[] = [];
  for await (const { id, octets } of collection.deliveries(never)) {
    sizes.push(octets);
    here.room.clock.advance(sizes.length > 3 ? 2 * SECOND : 0);
    collection.acknowledge(id);
  }
  assert.ok(Math.max(...sizes) > 200 * KIB, `${sizes}`);
  assert.ok((sizes.at(-2) as number) <= 64 * KIB, `${sizes}`);
});

test('five cargoes are sent without an acknowledgement, and no more', async (t) => {
  const here = await setting(t);
  for (let index = 0; index < 8; index++) {
    await here.put(`parcel ${index}`, 60 * KIB);
  }
  const collection = await here.open();
  const deliveries = collection.deliveries(never);
  const ids: string[] = [];
  for (let count = 0; count < 5; count++) {
    ids.push((await deliveries.next()).value?.id as string);
  }
  assert.equal(new Set(ids).size, 5);
  const sixth = deliveries.next();
  assert.equal(await Promise.race([sixth, here.room.backends.records.get('configuration', 'x')]), undefined);
  assert.equal(collection.inFlight, 5);
  collection.acknowledge('of another call');
  collection.acknowledge(ids[3] as string);
  assert.ok((await sixth).value?.cargo);
  assert.equal(collection.inFlight, 5);
  await deliveries.return(undefined);
});

test('a retry under the same CCA goes on after what was acknowledged, and the CCA is spent then', async (t) => {
  const here = await setting(t);
  await owe(here, 'parcel');
  for (let index = 0; index < 6; index++) {
    await here.put(`parcel ${index}`, 50 * KIB);
  }
  const cca = await here.recipient.writeCca();
  const first = await here.open(cca);
  const taken: OutgoingCargo[] = [];
  const gone = new AbortController();
  await assert.rejects(
    async () => {
      for await (const delivery of first.deliveries(gone.signal)) {
        taken.push(delivery);
        // Not so fast that they grow.
        here.room.clock.advance(SECOND / 2);
        if (taken.length < 4) {
          first.acknowledge(delivery.id);
        } else {
          gone.abort(new Error('The courier has gone'));
        }
      }
    },
    { message: 'The courier has gone' },
  );
  assert.deepEqual(itemsOf(here, taken), ['ack of parcel', 'parcel 0', 'parcel 1', 'parcel 2', 'parcel 3']);
  await settled(here, 4);
  const rest = itemsOf(here, await collectAll(await here.open(cca)));
  assert.deepEqual(rest, ['parcel 3', 'parcel 4', 'parcel 5']);
  await assert.rejects(here.open(cca), refusal('CCA_SPENT'));
  // Whoever asks by another CCA gets all that is not acknowledged by the private gateway.
  assert.equal(itemsOf(here, await collectAll(await here.open())).length, 7);
});

test('what was acknowledged at one instant is noted at the latest when the call ends', async (t) => {
  const here = await setting(t);
  for (let index = 0; index < 4; index++) {
    await here.put(`parcel ${index}`, 900 * KIB);
  }
  const cca = await here.recipient.writeCca();
  const first = await here.open(cca);
  const deliveries = first.deliveries(never);
  for (let taken = 0; taken < 3; taken++) {
    first.acknowledge((await deliveries.next()).value?.id as string);
  }
  await deliveries.return(undefined);
  assert.deepEqual(itemsOf(here, await collectAll(await here.open(cca))), ['parcel 3']);
});

/** Resolves when the acknowledgement of so many items is noted. */
async function settled({ room }: Setting, items: number): Promise<void> {
  const noted = async () => {
    const notes = await Array.fromAsync(room.backends.records.list('cca-progress'));
    return notes.reduce((sum, { fields }) => sum + (fields['digests'] as Uint8Array).length / ITEM_DIGEST_OCTETS, 0);
  };
  while ((await noted()) < items) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('after a call that got nothing acknowledged the next starts smaller, and leaves larger parcels for the end', async (t) => {
  const here = await setting(t);
  await here.put('middling', 300 * KIB);
  for (let index = 0; index < 10; index++) {
    await here.put(`parcel ${index}`, 10 * KIB);
  }
  const cca = await here.recipient.writeCca();
  const first = await (await here.open(cca)).deliveries(never).next();
  assert.deepEqual(here.recipient.open(first.value?.cargo ?? []).items.map(named), ['middling']);
  const cargoes = await collectAll(await here.open(cca));
  assert.ok((cargoes[0]?.octets as number) <= 32 * KIB);
  assert.equal(itemsOf(here, cargoes).at(-1), 'middling');
});

test('a private gateway whose certificate nears its end gets a new one, in both forms', async (t) => {
  const room = await openGatewayRoom();
  t.after(() => room[Symbol.asyncDispose]());
  const gateway = room.asNode();
  const identity = await testIdentity('private-gateway');
  const rotations = async (notAfter: number) => {
    const node = await issued(identity, gateway, { notAfter, notBefore: room.clock.now() - 3 * HOUR });
    const recipient = await CargoRecipient.register(room, node);
    const collection = await cargoCollectionsOf(room).open(await recipient.writeCca(), { trace: 'test' });
    return (await collectAll(collection)).flatMap(({ cargo }) => recipient.open(cargo).items);
  };
  const now = room.clock.now();
  assert.deepEqual(await rotations(now + 100 * DAY), []);
  const items = await rotations(now + 89 * DAY);
  assert.deepEqual(items.map(named), ['certificate-rotation', 'certificate-rotation']);
  for (const item of items) {
    const { leaf, authorities } = readCertificateRotation(item);
    assert.equal(leaf.subjectId, identity.id);
    assert.ok(leaf.isSignedBy(gateway.publicKey));
    assert.ok(leaf.notAfter >= now + 120 * DAY);
    assert.ok(authorities[0]?.raw.equals(room.identity.issuer().certificate.raw));
  }
  const { leaf } = readCertificateRotation(items[0] as Buffer);
  // In the form of the Kotlin stack the leaf is itself under an implicit tag.
  const kotlin = Buffer.from(leaf.raw);
  kotlin[0] = 0xa0;
  assert.ok(items[1]?.includes(kotlin));
});

test('older identity keys sign cargo under the authorizations that name them', async (t) => {
  const here = await setting(t);
  await here.put('parcel');
  const old = here.room.identity.id;
  await here.room.identity.rotateKey();
  assert.notEqual(here.room.identity.id, old);
  const [cargo] = await collectAll(await here.open());
  const { items } = here.recipient.open(cargo?.cargo ?? []);
  assert.deepEqual(items.map(named), ['certificate-rotation', 'certificate-rotation', 'parcel']);
  // The next certificate is by the new key, and comes whatever remains of the one before.
  const { leaf, authorities } = readCertificateRotation(items[0] as Buffer);
  assert.equal(leaf.issuerId, here.room.identity.id);
  assert.ok(authorities[0]?.raw.equals(here.room.identity.issuer().certificate.raw));
});

test('a parcel that is replaced during the collection goes once', async (t) => {
  const here = await setting(t);
  await here.put('first', 60 * KIB);
  for (let index = 0; index < 30; index++) {
    await here.put(`parcel ${index}`, 60 * KIB);
  }
  await here.put('replaced', 60 * KIB);
  const collection = await here.open();
  const cargoes: OutgoingCargo[] = [];
  for await (const delivery of collection.deliveries(never)) {
    if (cargoes.push(delivery) === 1) {
      await here.put('replaced', 61 * KIB);
    }
    collection.acknowledge(delivery.id);
  }
  assert.equal(itemsOf(here, cargoes).filter((name) => name === 'replaced').length, 1);
});
