import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { writeCertificateRotation } from '../../../src/awala/cargo/certificate-rotation.ts';
import { writeParcelCollectionAck } from '../../../src/awala/cargo/parcel-collection-ack.ts';
import { writeParcelDeliveryDeauthorization } from '../../../src/awala/cargo/parcel-delivery-deauthorization.ts';
import { type ObjectStore, StoreError } from '../../../src/gateway/ports.ts';
import { CargoRecipient, cargoCollectionsOf } from '../../support/cargo-recipient.ts';
import { type CargoRoom, CargoSender, deliverAndOpen, openAll, openCargoRoom } from '../../support/cargo-room.ts';
import { issued, newSessionKey, testIdentity } from '../../support/pki.ts';

const SECOND = 1000;
const DAY = 86_400 * SECOND;

const OTHER_KEYS = { node: 'other-private-gateway', endpoint: 'other-endpoint', sender: 'other-sender' } as const;

/** Parcels that wait for a private gateway. */
async function waiting({ room }: CargoRoom, peer: string): Promise<string[]> {
  const entries = await Array.fromAsync(room.mailboxes.list(peer));
  return entries.map(({ metadata }) => metadata['parcel'] ?? '').sort();
}

/** Ids of the parcels whose acknowledgement is owed to a private gateway. */
async function owed({ collected }: CargoRoom, peer: string): Promise<string[]> {
  return (await Array.fromAsync(collected.owedTo(peer))).map(({ ack }) => ack.parcelId).sort();
}

const taken = { kind: 'parcel', result: 'taken', code: undefined };

function ackOf({ sender, endpoint }: CargoSender, parcelId: string): Buffer {
  return writeParcelCollectionAck({ senderEndpointId: sender.id, recipientEndpointId: endpoint.id, parcelId });
}

/** Has a courier take all that waits. */
async function loadAll({ room }: CargoRoom, { node }: CargoSender): Promise<void> {
  const recipient = await CargoRecipient.register(room, node);
  using collection = await cargoCollectionsOf(room).open(await recipient.writeCca(), { trace: 'a' });
  for await (const { id } of collection.deliveries(new AbortController().signal)) {
    collection.acknowledge(id);
  }
}

describe('Parcels in cargo', () => {
  test('go to mailboxes and to the outbox of the gateway that signed the cargo', async () => {
    await using cargo = await openCargoRoom();
    const { room } = cargo;
    const sender = await CargoSender.register(room);
    const recipient = await CargoSender.register(room, OTHER_KEYS);
    const local = await recipient.parcel({ messageId: 'local' });
    const away = await recipient.parcel({
      messageId: 'away',
      recipient: { id: recipient.endpoint.id, internetAddress: 'elsewhere.example.com' },
    });
    const { items, outcomes } = await deliverAndOpen(cargo, await sender.cargo([local, away]));
    assert.deepEqual(items, [taken, taken]);
    assert.deepEqual(outcomes, ['opened']);
    assert.deepEqual(await waiting(cargo, recipient.id), ['local']);
    const outbox = await Array.fromAsync(room.backends.objects.list(`outbox/${sender.id}/`));
    assert.deepEqual(
      outbox.map(({ metadata }) => metadata['parcel']),
      ['away'],
    );
    assert.deepEqual(await owed(cargo, sender.id), ['away', 'local']);
    assert.deepEqual(await owed(cargo, recipient.id), []);
    assert.deepEqual(await Array.fromAsync(room.backends.objects.list('cargo/')), []);
  });

  test('are owed an acknowledgement until they expire', async () => {
    await using cargo = await openCargoRoom();
    const sender = await CargoSender.register(cargo.room);
    const parcel = await sender.parcel({ creation: cargo.room.clock.now() - 60 * SECOND, ttl: 3660 });
    await deliverAndOpen(cargo, await sender.cargo([parcel]));
    cargo.room.clock.advance(3599 * SECOND);
    assert.equal((await owed(cargo, sender.id)).length, 1);
    cargo.room.clock.advance(2 * SECOND);
    assert.deepEqual(await owed(cargo, sender.id), []);
  });

  test('that are refused for good are acknowledged too, and those that cannot be read are skipped', async () => {
    await using cargo = await openCargoRoom();
    const sender = await CargoSender.register(cargo.room);
    const recipient = await CargoSender.register(cargo.room, OTHER_KEYS);
    const unauthorized = await sender.parcel({ messageId: 'unauthorized', recipient: { id: recipient.endpoint.id } });
    const good = await recipient.parcel({ messageId: 'good' });
    const { items, outcomes } = await deliverAndOpen(
      cargo,
      await sender.cargo([unauthorized, good.subarray(0, -10), Buffer.from('rubbish'), Buffer.alloc(0), good]),
    );
    const results = new Map(items.map(({ kind, code }) => [`${kind} ${code}`, true]));
    assert.deepEqual(outcomes, ['opened']);
    assert.equal(items.length, 5);
    assert.ok(results.has('parcel PARCEL_UNAUTHORIZED'));
    assert.ok(results.has('parcel SIGNED_DATA_MALFORMED'));
    assert.ok(results.has('unknown CARGO_MESSAGE_SET_MALFORMED'));
    assert.deepEqual(await waiting(cargo, recipient.id), ['good']);
    assert.deepEqual(await owed(cargo, sender.id), ['good', 'unauthorized']);
  });

  test('have the cargo wait while the outbox of its sender has no room, and arrive once it has', async () => {
    await using cargo = await openCargoRoom({
      quotas: { mailboxQuota: { count: 1, octets: 1e6 }, outboxQuota: { count: 1, octets: 1e6 } },
    });
    const { room } = cargo;
    const sender = await CargoSender.register(room);
    const recipient = await CargoSender.register(room, OTHER_KEYS);
    const parcels = await Promise.all(['1', '2', '3'].map((messageId) => recipient.parcel({ messageId })));
    const first = await deliverAndOpen(cargo, await sender.cargo(parcels));
    assert.deepEqual(first.outcomes, ['waiting']);
    assert.deepEqual(first.items.map(({ result }) => result).sort(), ['taken', 'taken', 'waiting']);
    assert.equal((await owed(cargo, sender.id)).length, 2);

    // The recipient collects what there is, and the held one moves up.
    for await (const entry of room.mailboxes.list(recipient.id)) {
      await room.mailboxes.remove(recipient.id, entry);
    }
    await room.storage.held.move(recipient.id);
    const second = await openAll(cargo);
    assert.deepEqual(second.outcomes, ['opened']);
    assert.deepEqual(second.items.map(({ result }) => result).sort(), ['repeated', 'repeated', 'taken']);
    assert.deepEqual(await owed(cargo, sender.id), ['1', '2', '3']);
  });

  test('that come again change nothing, and a newer one of the same id replaces the older', async () => {
    await using cargo = await openCargoRoom();
    const { room } = cargo;
    const sender = await CargoSender.register(room);
    const older = await sender.parcel({ messageId: 'a', payload: Buffer.from('older') });
    const newer = await sender.parcel({ messageId: 'a', payload: Buffer.from('newer') });
    const bytes = await sender.cargo([older]);
    await deliverAndOpen(cargo, bytes);
    for await (const entry of room.mailboxes.list(sender.id)) {
      await room.mailboxes.remove(sender.id, entry);
    }
    const again = await deliverAndOpen(cargo, bytes);
    assert.deepEqual(
      again.items.map(({ result }) => result),
      ['repeated'],
    );
    assert.deepEqual(await waiting(cargo, sender.id), []);
    await deliverAndOpen(cargo, await sender.cargo([newer]));
    assert.deepEqual(await waiting(cargo, sender.id), ['a']);
    assert.deepEqual(await owed(cargo, sender.id), ['a']);
  });

  test('are each taken when two workers open the same cargo at once', async () => {
    await using cargo = await openCargoRoom();
    const sender = await CargoSender.register(cargo.room);
    const parcels = await Promise.all(Array.from({ length: 50 }, () => sender.parcel()));
    await cargo.delivery.deliver(await sender.cargo(parcels), { trace: 'a' });
    const [first, second] = await Promise.all([openAll(cargo), openAll(cargo)]);
    assert.ok([...first.outcomes, ...second.outcomes].includes('opened'));
    assert.equal((await waiting(cargo, sender.id)).length, 50);
    assert.equal((await owed(cargo, sender.id)).length, 50);
    assert.deepEqual(await Array.fromAsync(cargo.room.backends.objects.list('cargo/')), []);
  });
});

describe('Cargo', () => {
  test('for a session key that is not known, or that of another peer, is dropped', async () => {
    await using cargo = await openCargoRoom();
    const sender = await CargoSender.register(cargo.room);
    const other = await CargoSender.register(cargo.room, OTHER_KEYS);
    for (const sessionKey of [newSessionKey(), other.gatewayKey]) {
      const { outcomes } = await deliverAndOpen(cargo, await sender.cargo([await sender.parcel()], { sessionKey }));
      assert.deepEqual(outcomes, ['SESSION_KEY_UNKNOWN']);
    }
    const wrongKey = { ...newSessionKey(), keyId: sender.gatewayKey.keyId };
    const { outcomes } = await deliverAndOpen(cargo, await sender.cargo([], { sessionKey: wrongKey }));
    assert.deepEqual(outcomes, ['DECRYPTION_FAILED']);
    assert.deepEqual(await Array.fromAsync(cargo.room.backends.objects.list('cargo/')), []);
    assert.equal(await cargo.peerKeys.newest(sender.id), undefined);
  });

  test('for the key of the connection parameters is opened', async () => {
    await using cargo = await openCargoRoom();
    const sender = await CargoSender.register(cargo.room);
    const sessionKey = await cargo.room.sessionKeys.create(undefined, cargo.room.clock.now() + DAY);
    const { outcomes } = await deliverAndOpen(cargo, await sender.cargo([], { sessionKey }));
    assert.deepEqual(outcomes, ['opened']);
  });

  test('stays when a store fails in the middle, and is opened whole the next time', async () => {
    await using cargo = await openCargoRoom();
    const { room } = cargo;
    const sender = await CargoSender.register(room);
    const parcels = await Promise.all(Array.from({ length: 300 }, () => sender.parcel()));
    await cargo.delivery.deliver(await sender.cargo(parcels), { trace: 'a' });
    let puts = 0;
    const { objects } = room.backends;
    const put = objects.putUnless.bind(objects);
    objects.putUnless = (...parameters: Parameters<ObjectStore['putUnless']>) =>
      ++puts === 20 ? Promise.reject(new StoreError('STORE_AWAY', 'away')) : put(...parameters);
    await assert.rejects(openAll(cargo), { code: 'STORE_AWAY' });
    assert.equal((await Array.fromAsync(objects.list('cargo/'))).length, 1);
    const { outcomes } = await openAll(cargo);
    assert.deepEqual(outcomes, ['opened']);
    assert.equal((await waiting(cargo, sender.id)).length, 300);
    assert.equal((await owed(cargo, sender.id)).length, 300);
  });
});

describe('Collection acknowledgements in cargo', () => {
  test('delete the parcel from the mailbox of the gateway that signed the cargo, and from no other', async () => {
    await using cargo = await openCargoRoom();
    const sender = await CargoSender.register(cargo.room);
    const other = await CargoSender.register(cargo.room, OTHER_KEYS);
    await cargo.room.delivery.fromInternet(await sender.parcel({ messageId: 'a' }), { trace: 'a' });
    const ack = ackOf(sender, 'a');
    await loadAll(cargo, sender);
    await deliverAndOpen(cargo, await other.cargo([ack]));
    assert.deepEqual(await waiting(cargo, sender.id), ['a']);
    const { items } = await deliverAndOpen(cargo, await sender.cargo([ack]));
    assert.deepEqual(
      items.map(({ result }) => result),
      ['taken'],
    );
    assert.deepEqual(await waiting(cargo, sender.id), []);
  });

  test('leave a parcel that came in the place of the one that was loaded, until it was loaded, too', async () => {
    await using cargo = await openCargoRoom();
    const { room } = cargo;
    const sender = await CargoSender.register(room);
    const ack = ackOf(sender, 'a');
    const arrive = async () => room.delivery.fromInternet(await sender.parcel({ messageId: 'a' }), { trace: 'a' });
    await arrive();
    await loadAll(cargo, sender);
    room.clock.advance(SECOND);
    await arrive();
    await deliverAndOpen(cargo, await sender.cargo([ack]));
    assert.deepEqual(await waiting(cargo, sender.id), ['a']);
    await loadAll(cargo, sender);
    await deliverAndOpen(cargo, await sender.cargo([ack]));
    assert.deepEqual(await waiting(cargo, sender.id), []);
  });
});

describe('Deauthorizations in cargo', () => {
  test('revoke authorizations of endpoints behind the gateway that signed the cargo, at every door, until they end', async () => {
    await using cargo = await openCargoRoom();
    const { room, parcels } = cargo;
    const sender = await CargoSender.register(room);
    const other = await CargoSender.register(room, OTHER_KEYS);
    const deliver = async () => parcels.fromInternet(await sender.parcel(), { trace: 'a' });
    const expiry = room.clock.now() + DAY;
    const deauthorization = writeParcelDeliveryDeauthorization({
      endpointId: sender.endpoint.id,
      serialNumbers: [sender.sender.certificate.serialNumber],
      expiry,
    });
    await deliverAndOpen(cargo, await other.cargo([deauthorization]));
    await deliver();
    await deliverAndOpen(cargo, await sender.cargo([deauthorization]));
    await assert.rejects(deliver(), { code: 'PARCEL_UNAUTHORIZED' });
    const { items } = await deliverAndOpen(cargo, await other.cargo([await sender.parcel()]));
    assert.deepEqual(items, [{ kind: 'parcel', result: 'refused', code: 'PARCEL_UNAUTHORIZED' }]);

    const another = await issued(await testIdentity('other-sender'), sender.endpoint, { isCa: false, pathLength: 0 });
    Object.assign(sender, { sender: another });
    await deliver();
    const all = writeParcelDeliveryDeauthorization({ endpointId: sender.endpoint.id, serialNumbers: [], expiry });
    await deliverAndOpen(cargo, await sender.cargo([all]));
    await assert.rejects(deliver(), { code: 'PARCEL_UNAUTHORIZED' });
    room.clock.advance(DAY + SECOND);
    await deliver();
  });
});

describe('Certificate revocations in cargo', () => {
  test("refuse the very certificate that signed them everywhere, and none of the gateway's others", async () => {
    await using cargo = await openCargoRoom();
    const { room, parcels, delivery } = cargo;
    const sender = await CargoSender.register(room);
    const parcel = await sender.parcel();
    const revoked = sender.node;
    const { items } = await deliverAndOpen(cargo, await sender.cargo([await sender.revocation()]));
    assert.deepEqual(
      items.map(({ result }) => result),
      ['taken'],
    );
    await assert.rejects(parcels.fromInternet(parcel, { trace: 'a' }), { code: 'CERTIFICATE_REVOKED' });
    await assert.rejects(delivery.deliver(await sender.cargo([]), { trace: 'a' }), { code: 'CERTIFICATE_REVOKED' });

    const next = await issued(revoked, room.asNode());
    await delivery.deliver(await sender.cargo([], { signer: next }), { trace: 'a' });
  });

  test('have cargo that their certificate signed dropped, unless they came in it', async () => {
    await using cargo = await openCargoRoom();
    const { room, delivery } = cargo;
    const sender = await CargoSender.register(room);
    // In the order in which it is opened.
    await delivery.deliver(
      await sender.cargo([await sender.revocation(), await sender.parcel({ messageId: 'beside' })]),
      { trace: 'a' },
    );
    room.clock.advance(SECOND);
    await delivery.deliver(await sender.cargo([await sender.parcel({ messageId: 'later' })]), { trace: 'a' });
    const [first, second] = (await Array.fromAsync(room.backends.objects.list('cargo/'))).sort(
      (one, other) => one.arrival - other.arrival,
    );
    const ignore = async () => undefined;
    assert.equal((await cargo.processing.open(first?.key ?? '', ignore)).result, 'opened');
    const dropped = await cargo.processing.open(second?.key ?? '', ignore);
    assert.ok(dropped.result === 'dropped');
    assert.equal(dropped.error.code, 'CERTIFICATE_REVOKED');
    assert.deepEqual(await owed(cargo, sender.id), ['beside']);
    assert.deepEqual(await Array.fromAsync(room.backends.objects.list('cargo/')), []);
  });

  test('count only from the gateway that sent the cargo, for us, and without a payload', async () => {
    await using cargo = await openCargoRoom();
    const { room } = cargo;
    const sender = await CargoSender.register(room);
    const other = await CargoSender.register(room, OTHER_KEYS);
    const wrong = [
      await other.revocation(),
      await sender.revocation({ fields: { payload: Buffer.from('x') } }),
      await sender.revocation({ fields: { recipient: { id: other.id } } }),
      await sender.revocation({ signer: sender.endpoint }),
    ];
    const { items } = await deliverAndOpen(cargo, await sender.cargo(wrong));
    assert.deepEqual(
      items.map(({ result }) => result),
      ['refused', 'refused', 'refused', 'refused'],
    );
    await cargo.delivery.deliver(await sender.cargo([]), { trace: 'a' });
    await cargo.delivery.deliver(await other.cargo([]), { trace: 'a' });
  });
});

test('Certificate rotations in cargo are ignored', async () => {
  await using cargo = await openCargoRoom();
  const sender = await CargoSender.register(cargo.room);
  const rotation = writeCertificateRotation(
    { leaf: sender.node.certificate, authorities: [cargo.room.asNode().certificate] },
    'octet-strings',
  );
  const { items } = await deliverAndOpen(cargo, await sender.cargo([rotation]));
  assert.deepEqual(items, [{ kind: 'certificate-rotation', result: 'ignored', code: undefined }]);
});
