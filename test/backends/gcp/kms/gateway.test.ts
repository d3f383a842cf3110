/** A whole gateway whose keys are in Cloud KMS, with all else local, and official clients. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { readRsaPublicKey } from '../../../../src/awala/pki/rsa-public-key.ts';
import type { KmsEmulator } from '../../../emulators/kms/kms-emulator.ts';
import { type InProcessGateway, spawnGateway, startGateway, temporaryDirectory } from '../../../support/gateway.ts';
import { IDENTITY_KEY, KEY_RING, startKms } from '../../../support/kms.ts';
import { OfficialChannel } from '../../../support/official-channel.ts';
import { newOfficialIdentity } from '../../../support/official-client.ts';
import { officialCourier } from '../../../support/official-courier.ts';

/** Has a courier fetch all cargo. */
async function cargoOf({ cogrpc }: InProcessGateway, channel: OfficialChannel): Promise<Buffer[]> {
  const courier = await officialCourier(cogrpc);
  try {
    return await Array.fromAsync(courier.collectCargo(await channel.newCca()));
  } finally {
    courier.close();
  }
}

/** What the private gateway finds in cargo. */
async function itemsOf(channel: OfficialChannel, cargoes: readonly Buffer[]): Promise<Buffer[]> {
  const items = await Promise.all(cargoes.map((cargo) => channel.open(cargo)));
  return items.flat().map(({ bytes }) => bytes);
}

suite('A gateway with its keys in Cloud KMS', () => {
  const directory = temporaryDirectory();
  let emulator: KmsEmulator;
  let gateway: InProcessGateway;
  let channel: OfficialChannel;

  const start = () =>
    startGateway({
      directory,
      environment: { KEYS: 'gcp-kms', KMS_KEY_RING: KEY_RING, KMS_ENDPOINT: emulator.endpoint },
    });

  const operations = () => emulator.operations;

  before(async () => {
    emulator = await startKms();
    gateway = await start();
  });

  after(async () => {
    await gateway[Symbol.asyncDispose]();
    await emulator[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  test('has the node id of the key version that the deployment made', async () => {
    const pem = emulator.store.publicKey(`${IDENTITY_KEY}/cryptoKeyVersions/1`);
    const spki = Buffer.from(pem.replace(/-----.*-----|\s/g, ''), 'base64');
    assert.equal(gateway.nodeId, readRsaPublicKey(spki).nodeId);
    assert.equal(emulator.store.key(IDENTITY_KEY).versions.length, 1);
  });

  test('registers a private gateway for two signatures, and a data key a day', async () => {
    emulator.resetCounts();
    channel = await OfficialChannel.register(gateway.poweb);
    assert.deepEqual(operations(), { AsymmetricSign: 2, Encrypt: 1 });

    emulator.resetCounts();
    await OfficialChannel.register(gateway.poweb);
    assert.deepEqual(operations(), { AsymmetricSign: 2 });
  });

  test('delivers and collects parcels without KMS', async () => {
    const endpoint = await channel.privateGateway.newEndpoint();
    const sender = await endpoint.authorize(await newOfficialIdentity());
    const parcel = Buffer.from(await endpoint.writeParcel(sender, randomBytes(512)));
    emulator.resetCounts();
    await channel.privateGateway.deliver(Uint8Array.from(parcel).buffer);
    assert.deepEqual(await channel.privateGateway.collectAll(), [parcel]);
    assert.deepEqual(operations(), {});
  });

  test('signs cargo, which a courier brings to the private gateway', async () => {
    const endpoint = await channel.privateGateway.newEndpoint();
    const sender = await endpoint.authorize(await newOfficialIdentity());
    const parcel = Buffer.from(await endpoint.writeParcel(sender, randomBytes(512)));
    await channel.privateGateway.deliver(Uint8Array.from(parcel).buffer);
    emulator.resetCounts();
    const cargoes = await cargoOf(gateway, channel);
    assert.deepEqual(await itemsOf(channel, cargoes), [parcel]);
    assert.deepEqual(operations(), { AsymmetricSign: cargoes.length });
  });

  test('refuses registrations with 503 while KMS is away, and takes them again afterwards', async () => {
    emulator.failAlways('AsymmetricSign', { code: status.UNAVAILABLE });
    const digest = '0'.repeat(64);
    const preregister = () =>
      fetch(`${gateway.poweb}/v1/pre-registrations`, {
        method: 'POST',
        body: digest,
        headers: { 'content-type': 'text/plain' },
      });
    assert.equal((await preregister()).status, 503);
    emulator.recover();
    assert.equal((await preregister()).status, 200);
  });

  test('is the same after a restart, and asks for its public key once', async () => {
    const { nodeId } = gateway;
    await gateway[Symbol.asyncDispose]();
    emulator.resetCounts();
    gateway = await start();
    assert.equal(gateway.nodeId, nodeId);
    assert.deepEqual(operations(), { GetCryptoKey: 2, GetCryptoKeyVersion: 1, GetPublicKey: 1 });
    assert.equal((await fetch(`${gateway.ops}/ping`)).status, 200);
  });
});

test('A gateway whose key signs with SHA-512 registers official private gateways and brings them cargo', async () => {
  await using emulator = await startKms('RSA_SIGN_PSS_4096_SHA512');
  await using gateway = await startGateway({
    environment: { KEYS: 'gcp-kms', KMS_KEY_RING: KEY_RING, KMS_ENDPOINT: emulator.endpoint },
  });
  const channel = await OfficialChannel.register(gateway.poweb);
  const endpoint = await channel.privateGateway.newEndpoint();
  const sender = await endpoint.authorize(await newOfficialIdentity());
  const parcel = Buffer.from(await endpoint.writeParcel(sender, randomBytes(512)));
  await channel.privateGateway.deliver(Uint8Array.from(parcel).buffer);
  const cargoes = await cargoOf(gateway, channel);
  assert.deepEqual(await itemsOf(channel, cargoes), [parcel]);
});

test('A gateway that finds no credentials for Cloud KMS ends with one line', async () => {
  const environment = { KEYS: 'gcp-kms', KMS_KEY_RING: KEY_RING, GOOGLE_APPLICATION_CREDENTIALS: '/no/such/file' };
  await assert.rejects(spawnGateway({ environment }), ({ message }: Error) => {
    assert.match(
      message,
      /ended with 1 before it was ready:\nrelay-gateway: KMS_IDENTITY_KEY: .*\/no\/such\/file.*\n$/,
    );
    return true;
  });
});
