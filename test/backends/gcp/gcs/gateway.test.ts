/** The whole program with OBJECT_STORE=gcs, by official clients; Cloud Storage goes and comes back. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, suite, test } from 'node:test';
import { StreamingMode } from '@relaycorp/relaynet-core';
import { type GcsEmulator, startGcsEmulator } from '../../../emulators/gcs/gcs-emulator.ts';
import { type SpawnedGateway, spawnGateway } from '../../../support/gateway.ts';
import {
  type OfficialEndpoint,
  OfficialPrivateGateway,
  type OfficialSender,
} from '../../../support/official-client.ts';

suite('A gateway with OBJECT_STORE=gcs', () => {
  let emulator: GcsEmulator;
  let gateway: SpawnedGateway;
  let sending: OfficialPrivateGateway;
  let receiving: OfficialPrivateGateway;
  let endpoint: OfficialEndpoint;
  let sender: OfficialSender;

  before(async () => {
    emulator = await startGcsEmulator({ bucket: 'messages' });
    gateway = await spawnGateway({
      environment: {
        OBJECT_STORE: 'gcs',
        GCS_BUCKET: 'messages',
        STORAGE_EMULATOR_HOST: emulator.url,
        HOUSEKEEPING_PERIOD: '1h',
      },
    });
    sending = await OfficialPrivateGateway.register(gateway.poweb);
    const other = await sending.newEndpoint();
    receiving = await OfficialPrivateGateway.register(gateway.poweb);
    endpoint = await receiving.newEndpoint();
    sender = await endpoint.authorize(other.identity);
  });

  after(async () => {
    await gateway?.[Symbol.asyncDispose]();
    await emulator?.[Symbol.asyncDispose]();
  });

  async function deliver(octets = 500): Promise<Buffer> {
    const parcel = await endpoint.writeParcel(sender, randomBytes(octets));
    await sending.deliver(parcel);
    return Buffer.from(parcel);
  }

  async function ping(): Promise<{ status: number; gcs: boolean | undefined }> {
    const response = await fetch(`${gateway.ops}/ping`);
    const checks = (await response.json()) as { name: string; ok: boolean }[];
    return { status: response.status, gcs: checks.find(({ name }) => name === 'gcs')?.ok };
  }

  test('keeps parcels in the bucket until they are collected', async () => {
    const bucket = emulator.bucket('messages');
    // The fleet's note.
    const others = bucket.size;
    assert.equal(others, 1);
    const small = await deliver();
    const large = await deliver(3 * 1024 * 1024);
    assert.equal(bucket.size, others + 2);
    const collected = await receiving.collectAll();
    assert.deepEqual(
      collected.map((parcel) => parcel.length),
      [small.length, large.length],
    );
    assert.ok(collected[0]?.equals(small) && collected[1]?.equals(large));
    while (bucket.size > others) {
      await emulator.answered('objects.delete');
    }
    assert.deepEqual(await ping(), { status: 200, gcs: true });
  });

  test('a parcel that is collected live costs a put and a delete', async () => {
    const { promise: connected, resolve } = Promise.withResolvers<void>();
    const live = receiving.collect(StreamingMode.KEEP_ALIVE, resolve);
    const one = async () => {
      const next = live.next();
      await connected;
      const parcel = await deliver();
      const { value } = await next;
      assert.ok(parcel.equals(Buffer.from(value.parcelSerialized)));
      const deleted = emulator.answered('objects.delete');
      await value.ack();
      await deleted;
    };
    await one();
    emulator.operations.length = 0;
    await one();
    await one();
    assert.deepEqual(emulator.operations, ['objects.insert', 'objects.delete', 'objects.insert', 'objects.delete']);
    await live.return(undefined);
  });

  test('takes no parcel that the bucket does not, and goes on when it is back', async () => {
    const operations = ['objects.insert', 'objects.list'] as const;
    emulator.faults.always(operations, { kind: 'status', status: 403, reason: 'forbidden' });
    await assert.rejects(deliver());
    assert.deepEqual(await ping(), { status: 503, gcs: false });
    emulator.faults.clear();
    assert.deepEqual(await ping(), { status: 200, gcs: true });
    const parcel = await deliver();
    assert.deepEqual(await receiving.collectAll(), [parcel]);
  });
});
