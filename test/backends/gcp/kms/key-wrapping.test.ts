/** Envelope encryption by Cloud KMS: what it costs, what data keys are tied to, and how long they are in memory. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { StoreError } from '../../../../src/gateway/ports.ts';
import { TestBounds } from '../../../support/call-bounds.ts';
import { openKmsRoom } from '../../../support/kms.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

const secret = Buffer.from('private key of a session');
const context = (peer: number) => `session-key/0${peer}/aabb`;

suite('Session keys wrapped by Cloud KMS', () => {
  test('cost one call a day and fleet to wrap, and one in five minutes and data key to unwrap', async () => {
    await using room = await openKmsRoom();
    const { emulator, keys, clock } = room;
    const { wrapping } = keys;
    const wrapped = await Promise.all(Array.from({ length: 200 }, (_, peer) => wrapping.wrap(secret, context(peer))));
    assert.deepEqual(emulator.operations, { Encrypt: 1 });
    const unwrapAll = () => Promise.all(wrapped.map((octets, peer) => wrapping.unwrap(octets, context(peer))));
    assert.ok((await unwrapAll()).every((octets) => octets.equals(secret)));
    assert.deepEqual(emulator.operations, { Encrypt: 1 });

    clock.advance(5 * MINUTE);
    await unwrapAll();
    await wrapping.wrap(secret, context(1));
    assert.deepEqual(emulator.operations, { Encrypt: 1, Decrypt: 1 });

    const replica = (await room.another()).wrapping;
    emulator.resetCounts();
    await replica.wrap(secret, context(1));
    await Promise.all(wrapped.map((octets, peer) => replica.unwrap(octets, context(peer))));
    assert.deepEqual(emulator.operations, { Decrypt: 1 }, 'the day has one data key for all replicas');

    clock.advance(DAY);
    emulator.resetCounts();
    const tomorrow = await wrapping.wrap(secret, context(1));
    assert.deepEqual(emulator.operations, { Encrypt: 1 });
    assert.deepEqual(await replica.unwrap(tomorrow, context(1)), secret);
  });

  test('share the data key also when replicas make it at the same time', async () => {
    await using room = await openKmsRoom();
    const replica = await room.another();
    let arrived = 0;
    const { promise: both, resolve } = Promise.withResolvers<void>();
    const until = both;
    room.emulator.fail('Encrypt', { until }, 2);
    const wrapping = Promise.all([room.keys, replica].map((keys) => keys.wrapping.wrap(secret, context(1))));
    while (arrived < 2) {
      await new Promise((resume) => setImmediate(resume));
      arrived = room.emulator.operations.Encrypt ?? 0;
    }
    resolve();
    const [first, second] = (await wrapping) as [Buffer, Buffer];
    const dataKey = (wrapped: Buffer) => wrapped.subarray(3, 3 + wrapped.readUInt16BE(1));
    assert.deepEqual(dataKey(first), dataKey(second));
    assert.deepEqual(await replica.wrapping.unwrap(first, context(1)), secret);
  });

  test('are tied to this gateway by the data key, and to their peers by what is encrypted under it', async () => {
    await using room = await openKmsRoom();
    const wrapped = await room.keys.wrapping.wrap(secret, context(1));
    const encryptions = room.emulator.requests.filter(({ method }) => method === 'Encrypt');
    const [{ additionalAuthenticatedData, plaintext } = {}] = encryptions.map(({ request }) => request);
    assert.equal(String(additionalAuthenticatedData), 'relay-gateway/data-key/gateway.test');
    assert.equal((plaintext as Buffer).length, 32, 'KMS never sees the secret');
    await assert.rejects(room.keys.wrapping.unwrap(wrapped, context(2)), /another context/);
    const other = await room.another({ owner: 'other.test' });
    await assert.rejects(other.wrapping.unwrap(wrapped, context(1)), { code: 'KMS_REQUEST_REFUSED' });
  });

  test('are out of reach while KMS is away, unless their data key is in memory', async () => {
    const bounds = new TestBounds();
    await using room = await openKmsRoom({ bounds });
    const { emulator, keys, clock } = room;
    const wrapped = await keys.wrapping.wrap(secret, context(1));
    emulator.failAlways('Decrypt', { code: status.UNAVAILABLE });
    assert.deepEqual(await keys.wrapping.unwrap(wrapped, context(1)), secret);
    clock.advance(5 * MINUTE);
    bounds.drawIn();
    await assert.rejects(
      keys.wrapping.unwrap(wrapped, context(1)),
      (error) => error instanceof StoreError && error.code === 'STORE_AWAY',
    );
    bounds.letOut();
    emulator.recover();
    assert.deepEqual(await keys.wrapping.unwrap(wrapped, context(1)), secret);
  });

  test('are not wrapped while KMS is away, and are once it is back', async () => {
    const bounds = new TestBounds();
    await using room = await openKmsRoom({ bounds });
    bounds.drawIn();
    room.emulator.failAlways('Encrypt', { code: status.RESOURCE_EXHAUSTED });
    await assert.rejects(room.keys.wrapping.wrap(secret, context(1)), StoreError);
    bounds.letOut();
    room.emulator.recover();
    await room.keys.wrapping.wrap(secret, context(1));
  });

  test('of a local gateway are told apart', async () => {
    await using room = await openKmsRoom();
    await assert.rejects(room.keys.wrapping.unwrap(Buffer.alloc(64, 1), context(1)), /made with other KEYS/);
  });
});
