/** Of two parcels with the same recipient, sender and id, the one that its sender dated later is the newer, whoever brings it. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { writeParcelCountersignature } from '../../src/awala/poweb/countersignature.ts';
import type { ObjectEntry } from '../../src/gateway/ports.ts';
import { type CargoRoom, CargoSender, deliverAndOpen, openCargoRoom } from '../support/cargo-room.ts';
import type { GatewayRoom } from '../support/gateway-room.ts';

const HOUR = 3_600_000;
const ROOMY = { count: 100, octets: 1e6 };
const INTERNET_ADDRESS = 'endpoint.example.com';

async function bodies({ backends }: GatewayRoom, prefix: string): Promise<(Buffer | undefined)[]> {
  const entries = await Array.fromAsync(backends.objects.list(prefix));
  return Promise.all(entries.map(async ({ key }) => (await backends.objects.get(key))?.body));
}

/** Two versions of a parcel to the sender's own endpoint, an hour apart. */
async function versions({ room }: CargoRoom, sender: CargoSender, recipient = { id: sender.endpoint.id }) {
  const now = room.clock.now();
  const fields = { messageId: randomUUID(), recipient };
  return {
    older: await sender.parcel({ ...fields, payload: Buffer.from('older'), creation: now - 2 * HOUR }),
    newer: await sender.parcel({ ...fields, payload: Buffer.from('newer'), creation: now - HOUR }),
  };
}

async function deliverByPoWeb({ room }: CargoRoom, sender: CargoSender, parcel: Buffer): Promise<void> {
  const countersignature = await writeParcelCountersignature(parcel, sender.node);
  await room.delivery.fromPrivateGateway(parcel, countersignature, { trace: 'test' });
}

describe('The older version of a parcel', () => {
  test('does not replace the newer one in a mailbox when a courier brings it', async () => {
    await using cargo = await openCargoRoom();
    const sender = await CargoSender.register(cargo.room);
    const { older, newer } = await versions(cargo, sender);
    await cargo.room.delivery.fromInternet(newer, { trace: 'test' });
    const { items } = await deliverAndOpen(cargo, await sender.cargo([older]));
    assert.deepEqual(
      items.map(({ result }) => result),
      ['taken'],
    );
    assert.deepEqual(await bodies(cargo.room, 'mailboxes/'), [newer]);
  });

  test('does not replace the newer one in a mailbox when an Internet node sends it once more', async () => {
    await using cargo = await openCargoRoom();
    const sender = await CargoSender.register(cargo.room);
    const { older, newer } = await versions(cargo, sender);
    for (const parcel of [older, newer, older]) {
      await cargo.room.delivery.fromInternet(parcel, { trace: 'test' });
    }
    assert.deepEqual(await bodies(cargo.room, 'mailboxes/'), [newer]);
  });

  test('does not replace the newer one in an outbox when a courier brings it', async () => {
    await using cargo = await openCargoRoom();
    const sender = await CargoSender.register(cargo.room);
    const away = { id: sender.endpoint.id, internetAddress: INTERNET_ADDRESS };
    const { older, newer } = await versions(cargo, sender, away);
    await deliverByPoWeb(cargo, sender, newer);
    await deliverAndOpen(cargo, await sender.cargo([older]));
    assert.deepEqual(await bodies(cargo.room, 'outbox/'), [newer]);
  });

  test('does not replace the newer one that is held when a courier brings it', async () => {
    await using cargo = await openCargoRoom({
      quotas: { mailboxQuota: { count: 0, octets: 1e6 }, outboxQuota: ROOMY },
    });
    const sender = await CargoSender.register(cargo.room);
    const { older, newer } = await versions(cargo, sender);
    await deliverByPoWeb(cargo, sender, newer);
    await deliverAndOpen(cargo, await sender.cargo([older]));
    assert.deepEqual(await bodies(cargo.room, 'held/'), [newer]);
  });

  test('does not replace the newer one when its cargo had to wait, and is opened again', async () => {
    await using cargo = await openCargoRoom({
      quotas: { mailboxQuota: { count: 3, octets: 1e6 }, outboxQuota: { count: 0, octets: 1e6 } },
    });
    const { room, processing } = cargo;
    const sender = await CargoSender.register(room);
    for (let count = 0; count < 3; count++) {
      await room.delivery.fromInternet(await sender.parcel(), { trace: 'test' });
    }
    const other = await CargoSender.register(room, {
      node: 'other-private-gateway',
      endpoint: 'other-endpoint',
      sender: 'other-sender',
    });
    // Of one date, so that only what was taken before tells them apart.
    const fields = { messageId: randomUUID(), creation: room.clock.now() - HOUR };
    const first = await other.parcel({ ...fields, payload: Buffer.from('first') });
    const second = await other.parcel({ ...fields, payload: Buffer.from('second') });
    await deliverAndOpen(cargo, await sender.cargo([first, await sender.parcel()]));
    await deliverAndOpen(cargo, await sender.cargo([second]));
    const [left, ...others] = await Array.fromAsync(room.backends.objects.list('cargo/'));
    assert.ok(left && others.length === 0);
    assert.equal((await processing.open(left.key, async () => undefined)).result, 'waiting');
    assert.deepEqual(await bodies(room, `mailboxes/${other.id}/`), [second]);
  });

  test('does not replace the newer one when it is moved up just as that one comes', async () => {
    await using cargo = await openCargoRoom({
      quotas: { mailboxQuota: { count: 1, octets: 1e6 }, outboxQuota: ROOMY },
    });
    const { room } = cargo;
    const sender = await CargoSender.register(room);
    const { older, newer } = await versions(cargo, sender);
    await room.delivery.fromInternet(await sender.parcel(), { trace: 'test' });
    await deliverByPoWeb(cargo, sender, older);
    const { mailboxes, held } = room.storage;
    const find = mailboxes.find.bind(mailboxes);
    mailboxes.find = async (...parameters) => {
      const found = await find(...parameters);
      mailboxes.find = find;
      await room.delivery.fromInternet(newer, { trace: 'test' });
      return found;
    };
    const [first] = await Array.fromAsync<ObjectEntry>(mailboxes.list(sender.id));
    assert.ok(first);
    await room.backends.objects.delete(first.key);
    await room.backends.meters.recount(`mailbox/${sender.id}`, { count: -1, octets: 0 });
    await held.move(sender.id);
    assert.deepEqual(await bodies(room, 'mailboxes/'), [newer]);
    assert.deepEqual(await bodies(room, 'held/'), []);
  });

  test('replaces nothing, and is replaced', async () => {
    await using cargo = await openCargoRoom();
    const sender = await CargoSender.register(cargo.room);
    const { older, newer } = await versions(cargo, sender);
    await cargo.room.delivery.fromInternet(older, { trace: 'test' });
    await deliverAndOpen(cargo, await sender.cargo([newer]));
    assert.deepEqual(await bodies(cargo.room, 'mailboxes/'), [newer]);
  });
});
