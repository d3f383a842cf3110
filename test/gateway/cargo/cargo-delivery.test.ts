import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CargoSender, deliverAndOpen, openCargoRoom } from '../../support/cargo-room.ts';
import { issued, selfIssued, testIdentity } from '../../support/pki.ts';

const SECOND = 1000;
const HOUR = 3600 * SECOND;

describe('Cargo at the door', () => {
  test('is stored under the private gateway that signed it, and queued', async () => {
    await using cargo = await openCargoRoom();
    const { room, delivery } = cargo;
    const sender = await CargoSender.register(room);
    const bytes = await sender.cargo([]);
    const ids = { trace: 'a' };
    await delivery.deliver(bytes, ids);
    assert.partialDeepStrictEqual(ids, { peer: sender.id });

    const [stored, ...others] = await Array.fromAsync(room.backends.objects.list('cargo/'));
    assert.deepEqual(others, []);
    assert.ok(stored);
    assert.ok(stored.key.startsWith(`cargo/${sender.id}/`));
    assert.deepEqual((await room.backends.objects.get(stored.key))?.body, bytes);
    const [item] = await Array.fromAsync(room.backends.work.list('cargo'));
    assert.partialDeepStrictEqual(item, { key: stored.key, group: sender.id, size: bytes.length });
  });

  test('is one cargo, however often it comes', async () => {
    await using cargo = await openCargoRoom();
    const sender = await CargoSender.register(cargo.room);
    const bytes = await sender.cargo([]);
    await cargo.delivery.deliver(bytes, { trace: 'a' });
    await cargo.delivery.deliver(bytes, { trace: 'b' });
    await cargo.delivery.deliver(await sender.cargo([]), { trace: 'c' });
    assert.equal((await Array.fromAsync(cargo.room.backends.objects.list('cargo/'))).length, 2);
  });

  test('is for any of our identity keys', async () => {
    await using cargo = await openCargoRoom();
    const sender = await CargoSender.register(cargo.room);
    const bytes = await sender.cargo([]);
    await cargo.room.identity.rotateKey();
    await cargo.delivery.deliver(bytes, { trace: 'a' });
  });

  test('is refused when it is not valid or not for us', async () => {
    await using cargo = await openCargoRoom();
    const { room, delivery } = cargo;
    const sender = await CargoSender.register(room);
    const now = room.clock.now();
    const refuse = async (code: string, bytes: Buffer) =>
      assert.rejects(delivery.deliver(bytes, { trace: 'a' }), { code });

    await refuse('RAMF_FORMAT_UNKNOWN', Buffer.from('rubbish'));
    await refuse('RAMF_FORMAT_UNKNOWN', await sender.parcel());
    const bytes = await sender.cargo([]);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    await refuse('SIGNATURE_INVALID', bytes);
    await refuse('WRONG_GATEWAY', await sender.cargo([], { fields: { recipient: { id: sender.id } } }));
    await refuse('MESSAGE_FROM_FUTURE', await sender.cargo([], { fields: { creation: now + 2 * HOUR + SECOND } }));
    await refuse('MESSAGE_EXPIRED', await sender.cargo([], { fields: { creation: now - 2.1 * HOUR, ttl: 1 } }));

    const stranger = await selfIssued(await testIdentity('stranger'));
    await refuse('CERTIFICATE_UNTRUSTED', await sender.cargo([], { signer: stranger }));
    await refuse('CERTIFICATE_UNTRUSTED', await sender.cargo([], { signer: sender.endpoint }));
    const notYet = await issued(sender.node, room.asNode(), { notBefore: now + 3 * HOUR });
    await refuse('CERTIFICATE_NOT_YET_VALID', await sender.cargo([], { signer: notYet }));
    assert.deepEqual(await Array.fromAsync(room.backends.objects.list('cargo/')), []);
  });

  test('may be dated and expire within two hours of clock drift, and is opened then', async () => {
    await using cargo = await openCargoRoom();
    const sender = await CargoSender.register(cargo.room);
    const now = cargo.room.clock.now();
    for (const fields of [{ creation: now + 2 * HOUR - SECOND }, { creation: now - 2.5 * HOUR, ttl: 3601 }]) {
      const { outcomes } = await deliverAndOpen(cargo, await sender.cargo([], { fields }));
      assert.deepEqual(outcomes, ['opened']);
    }
  });

  test('of one private gateway is bounded until it is opened, and that of others is not concerned', async () => {
    await using cargo = await openCargoRoom({ cargoQuota: { count: 2, octets: 1024 ** 2 } });
    const { room, delivery, processing } = cargo;
    const sender = await CargoSender.register(room);
    const other = await CargoSender.register(room, { node: 'other-private-gateway' });
    await delivery.deliver(await sender.cargo([]), { trace: 'a' });
    await delivery.deliver(await sender.cargo([]), { trace: 'b' });
    const third = await sender.cargo([]);
    await assert.rejects(delivery.deliver(third, { trace: 'c' }), { code: 'CARGO_FULL' });
    await delivery.deliver(await other.cargo([]), { trace: 'd' });

    const [oldest] = await Array.fromAsync(room.backends.objects.list(`cargo/${sender.id}/`));
    await processing.open(oldest?.key ?? '', async () => undefined);
    await delivery.deliver(third, { trace: 'e' });
  });

  test('is queued again where its queue has lost it', async () => {
    await using cargo = await openCargoRoom();
    const { room, delivery } = cargo;
    const sender = await CargoSender.register(room);
    await delivery.deliver(await sender.cargo([]), { trace: 'a' });
    const [item] = await Array.fromAsync(room.backends.work.list('cargo'));
    await room.backends.work.remove('cargo', item?.key ?? '');
    await cargo.cargo.requeue();
    await cargo.cargo.requeue();
    const queued = await Array.fromAsync(room.backends.work.list('cargo'));
    assert.deepEqual(
      queued.map(({ key }) => key),
      [item?.key],
    );
  });
});
