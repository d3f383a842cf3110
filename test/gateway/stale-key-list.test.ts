/**
 * A process that could not read the keys for longer than a new one waits before it issues: whatever others issued under
 * that looks like a stranger's here, and is refused for now, never for good.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import { writeHandshakeResponse, writeNonceSignature } from '../../src/awala/poweb/collection-handshake.ts';
import { writeParcelCountersignature } from '../../src/awala/poweb/countersignature.ts';
import { writeRegistrationRequest } from '../../src/awala/poweb/registration-request.ts';
import { CargoDelivery } from '../../src/gateway/cargo/cargo-delivery.ts';
import { CargoProcessing } from '../../src/gateway/cargo/cargo-processing.ts';
import { Identity, TAKEOVER_MARGIN } from '../../src/gateway/identity.ts';
import { ParcelCollections } from '../../src/gateway/parcel-collections.ts';
import { ParcelDelivery } from '../../src/gateway/parcel-delivery.ts';
import { type Records, StoreError } from '../../src/gateway/ports.ts';
import { Registration } from '../../src/gateway/registration.ts';
import { MINUTE, SECOND } from '../../src/gateway/time.ts';
import { machineRandom } from '../../src/machine.ts';
import { CargoRecipient, cargoCollectionsOf } from '../support/cargo-recipient.ts';
import { CargoSender, openCargoRoom } from '../support/cargo-room.ts';
import { INTERNET_ADDRESS } from '../support/gateway-room.ts';
import { testIdentity } from '../support/pki.ts';

const TAKEOVER = 2 * MINUTE + TAKEOVER_MARGIN;
/** Between two attempts to read the keys. */
const PAUSE = 2 * SECOND;

const AWAY = { code: 'STORE_AWAY' };

/** Records by which an identity reads its keys: they are away when a test wants that, and count how often they are asked. */
function watched(records: Records) {
  const watch = { isAway: false, reads: 0, records };
  watch.records = {
    get: (...args) => records.get(...args),
    put: (...args) => records.put(...args),
    create: (...args) => records.create(...args),
    replace: (...args) => records.replace(...args),
    delete: (...args) => records.delete(...args),
    async *list(kind, prefix) {
      watch.reads += kind === 'identity-keys' || watch.isAway ? 1 : 0;
      if (watch.isAway) {
        throw new StoreError('STORE_AWAY', 'As the test wants it');
      }
      yield* records.list(kind, prefix);
    },
  };
  return watch;
}

/** Two processes: that of the room, whose key is issuing by now, and one that has read the keys before it was made. */
async function openRoom() {
  const cargoRoom = await openCargoRoom();
  const { room, cargo, sessions, collected, loads, revocations } = cargoRoom;
  const { backends, clock, storage, sessionKeys } = room;
  const { identityKeys, records, meters } = backends;
  const watch = watched(records);
  const parts = { internetAddress: INTERNET_ADDRESS, identityKeys, random: machineRandom, clock, takeover: TAKEOVER };
  const identity = await Identity.open({ ...parts, records: watch.records });
  const rotating = await Identity.open({ ...parts, records });
  await rotating.rotateKey();
  const certificates = new CertificateCache();
  const common = { identity, storage, certificates, clock, revocations };
  const parcels = new ParcelDelivery({ ...common, meters });
  watch.isAway = true;
  watch.reads = 0;
  return {
    room,
    watch,
    /** Lets the time pass that a new key waits for. */
    async takeOver() {
      clock.advance(TAKEOVER);
      await room.identity.refresh();
      assert.notEqual(room.identity.id, identity.id);
    },
    parcels,
    delivery: new CargoDelivery({ ...common, storage: cargo }),
    processing: new CargoProcessing({
      ...common,
      storage: cargo,
      sessions,
      delivery: parcels,
      collected,
      loads,
      mailboxes: storage.mailboxes,
    }),
    /** By the door of the process that knows the key. */
    arrive: (bytes: Buffer) => cargoRoom.delivery.deliver(bytes, { trace: 'test' }),
    cargoCollections: cargoCollectionsOf(room, { identity }),
    collections: new ParcelCollections(common),
    registration: new Registration({ identity, sessionKeys, records, random: machineRandom, clock }),
    [Symbol.asyncDispose]: () => cargoRoom[Symbol.asyncDispose](),
  };
}

const ids = () => ({ trace: 'test' });

describe('By a list of keys that is too old to know of the newest', () => {
  test('cargo is not taken, nor refused for good, until the keys can be read again', async () => {
    await using under = await openRoom();
    const { room, watch, delivery } = under;
    await under.takeOver();
    const sender = await CargoSender.register(room);
    const bytes = await sender.cargo([]);
    await assert.rejects(delivery.deliver(bytes, ids()), AWAY);
    // However much comes meanwhile, the records are asked once.
    for (let count = 0; count < 10; count++) {
      await assert.rejects(delivery.deliver(bytes, ids()), AWAY);
    }
    assert.equal(watch.reads, 1);
    room.clock.advance(PAUSE);
    await assert.rejects(delivery.deliver(bytes, ids()), AWAY);
    assert.equal(watch.reads, 2);

    watch.isAway = false;
    room.clock.advance(PAUSE);
    await delivery.deliver(bytes, ids());
    assert.equal((await Array.fromAsync(room.backends.objects.list(`cargo/${sender.id}/`))).length, 1);
  });

  test('a stranger is refused once the keys were read again, and has them read no more', async () => {
    await using under = await openRoom();
    const { room, watch, delivery } = under;
    await under.takeOver();
    const sender = await CargoSender.register(room);
    const strange = await sender.cargo([], { fields: { recipient: { id: sender.id } } });
    watch.isAway = false;
    for (let count = 0; count < 3; count++) {
      await assert.rejects(delivery.deliver(strange, ids()), { code: 'WRONG_GATEWAY' });
    }
    assert.equal(watch.reads, 1);
  });

  test('authorizations to collect cargo are not refused for good', async () => {
    await using under = await openRoom();
    const { room, watch, cargoCollections } = under;
    await under.takeOver();
    const recipient = await CargoRecipient.register(room);
    const cca = await recipient.writeCca();
    await assert.rejects(cargoCollections.open(cca, ids()), AWAY);
    watch.isAway = false;
    room.clock.advance(PAUSE);
    (await cargoCollections.open(cca, ids()))[Symbol.dispose]();
  });

  test('parcels are not refused for good, at either door', async () => {
    await using under = await openRoom();
    const { room, watch, parcels } = under;
    await under.takeOver();
    const sender = await CargoSender.register(room);
    const parcel = await sender.parcel();
    const countersignature = await writeParcelCountersignature(parcel, sender.node);
    const doors = [
      () => parcels.fromInternet(parcel, ids()),
      () => parcels.fromPrivateGateway(parcel, countersignature, ids()),
    ];
    for (const deliver of doors) {
      await assert.rejects(deliver(), AWAY);
    }
    watch.isAway = false;
    room.clock.advance(PAUSE);
    for (const deliver of doors) {
      await deliver();
    }
    assert.equal(watch.reads, 2, 'once in vain and once with success');
  });

  test('parcels in cargo wait, and no acknowledgement is owed for them', async () => {
    await using under = await openRoom();
    const { room, watch, processing } = under;
    await under.takeOver();
    const sender = await CargoSender.register(room);
    await under.arrive(await sender.cargo([await sender.parcel(), await sender.revocation()]));
    const [stored] = await Array.fromAsync(room.backends.objects.list('cargo/'));
    assert.ok(stored);
    const results: string[] = [];
    const open = () => processing.open(stored.key, async ({ result }) => void results.push(result));
    await assert.rejects(open(), AWAY);
    assert.deepEqual(results, []);
    assert.deepEqual(await Array.fromAsync(room.backends.records.list('collected-parcels')), []);

    watch.isAway = false;
    room.clock.advance(PAUSE);
    assert.equal((await open()).result, 'opened');
    assert.deepEqual(results, ['taken', 'taken']);
    assert.equal((await Array.fromAsync(room.mailboxes.list(sender.id))).length, 1);
  });

  test('a collection of parcels is not refused as a stranger’s, and finds the keys read when it comes again', async () => {
    await using under = await openRoom();
    const { room, watch, collections } = under;
    await under.takeOver();
    const { node } = await CargoSender.register(room);
    const nonce = machineRandom(16);
    const response = writeHandshakeResponse([await writeNonceSignature(nonce, node)]);
    assert.throws(() => collections.authenticate(nonce, response), AWAY);
    watch.isAway = false;
    room.clock.advance(PAUSE);
    assert.throws(() => collections.authenticate(nonce, response), AWAY);
    // Whoever can wait is told when the keys were read.
    await under.parcels.fromInternet(await (await CargoSender.register(room)).parcel(), ids());
    assert.deepEqual(collections.authenticate(nonce, response), [node.id]);
  });

  test('an authorization to register is not refused for good', async () => {
    await using under = await openRoom();
    const { room, watch, registration } = under;
    await under.takeOver();
    const node = await testIdentity('private-gateway');
    const authorization = await room.registration.preRegister(node.publicKey.digest);
    const request = await writeRegistrationRequest({ publicKey: node.publicKey, authorization }, node.key);
    await assert.rejects(registration.register(request), AWAY);
    watch.isAway = false;
    // It is good for seconds only.
    room.clock.advance(PAUSE);
    assert.equal((await registration.register(request)).peer, node.id);
  });
});

test('While no key can be missing, what is refused is refused for good, and nothing is read', async () => {
  await using under = await openRoom();
  const { room, watch, delivery } = under;
  const sender = await CargoSender.register(room);
  const strange = await sender.cargo([], { fields: { recipient: { id: sender.id } } });
  room.clock.advance(TAKEOVER - TAKEOVER_MARGIN - 1);
  await assert.rejects(delivery.deliver(strange, ids()), { code: 'WRONG_GATEWAY' });
  assert.equal(watch.reads, 0);
  room.clock.advance(1);
  await assert.rejects(delivery.deliver(strange, ids()), AWAY);
  assert.equal(watch.reads, 1);
});
