/** Which key versions become identity keys, and how long they are waited for. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { KmsError } from '../../../../src/backends/gcp/kms/errors.ts';
import { KmsIdentityKeys } from '../../../../src/backends/gcp/kms/identity-keys.ts';
import { KmsClient } from '../../../../src/backends/gcp/kms/kms-client.ts';
import { IDENTITY_KEY, KEY_RING, openKmsRoom, startKms, WRAPPING_KEY } from '../../../support/kms.ts';

const versionName = (number: number) => `${IDENTITY_KEY}/cryptoKeyVersions/${number}`;

const refusal =
  (code: string, message = /./) =>
  (error: unknown) =>
    error instanceof KmsError && error.code === code && message.test(error.message);

async function keysOf(kms: ReturnType<typeof startKms>, generationBound = 60_000) {
  const emulator = await kms;
  const client = new KmsClient({ endpoint: emulator.endpoint });
  return {
    emulator,
    newKeeper: () => new KmsIdentityKeys({ kms: client, key: IDENTITY_KEY, generationBound }),
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await emulator[Symbol.asyncDispose]();
    },
  };
}

suite('Identity keys in Cloud KMS', () => {
  test('are first the version that the deployment made, for every replica', async () => {
    await using room = await openKmsRoom();
    const replica = await room.another();
    const keys = await Promise.all([room.keys, replica].map(({ identityKeys }) => identityKeys.create()));
    assert.deepEqual(
      keys.map(({ reference }) => reference),
      [versionName(1), versionName(1)],
    );
    assert.equal(room.emulator.operations.CreateCryptoKeyVersion, undefined);
  });

  test('are made where the deployment made none, and where all that there are were opened', async () => {
    await using kms = await keysOf(startKms('RSA_SIGN_PSS_2048_SHA256', false));
    const keeper = kms.newKeeper();
    assert.equal((await keeper.create()).reference, versionName(1));
    const [second, third] = await Promise.all([keeper.create(), keeper.create()]);
    assert.deepEqual([second?.reference, third?.reference].sort(), [versionName(2), versionName(3)]);
    assert.equal(kms.emulator.operations.CreateCryptoKeyVersion, 3);
  });

  test('are the newest version of several pages, if it is newer than those in use', async () => {
    await using kms = await keysOf(startKms());
    const keeper = kms.newKeeper();
    await keeper.open(versionName(1));
    for (let count = 0; count < 2; count++) {
      await kms.emulator.store.createVersion(IDENTITY_KEY).generated;
    }
    assert.equal((await keeper.create()).reference, versionName(3));
    assert.equal((await keeper.create()).reference, versionName(4));
  });

  test('are waited for while they are being generated', async () => {
    await using kms = await keysOf(startKms('RSA_SIGN_PSS_2048_SHA256', false));
    const { promise: generation, resolve: generate } = Promise.withResolvers<void>();
    kms.emulator.store.generation = generation;
    const creation = kms.newKeeper().create();
    while ((kms.emulator.operations.GetCryptoKeyVersion ?? 0) < 2) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(kms.emulator.store.version(versionName(1)).state, 'PENDING_GENERATION');
    assert.equal(kms.emulator.operations.GetPublicKey, undefined, 'nothing can be asked of it yet');
    generate();
    assert.equal((await creation).reference, versionName(1));
  });

  test('are not waited for without end', async () => {
    await using kms = await keysOf(startKms('RSA_SIGN_PSS_2048_SHA256', false), 150);
    kms.emulator.store.generation = new Promise(() => undefined);
    const keeper = kms.newKeeper();
    await assert.rejects(keeper.create(), refusal('KMS_KEY_PENDING', /still PENDING_GENERATION/));
  });

  test('that are disabled are told so, and work again when they are enabled', async () => {
    await using kms = await keysOf(startKms());
    const version = kms.emulator.store.version(versionName(1));
    await version.generated;
    version.state = 'DISABLED';
    const keeper = kms.newKeeper();
    await assert.rejects(keeper.open(version.name), refusal('KMS_KEY_UNUSABLE', /is DISABLED/));
    version.state = 'ENABLED';
    const { crypto, privateKey } = await keeper.open(version.name);
    version.state = 'DISABLED';
    await assert.rejects(
      crypto.subtle.sign({ name: 'RSA-PSS', saltLength: 32 }, privateKey, Buffer.from('data')),
      refusal('KMS_KEY_UNUSABLE', /current state is: DISABLED/),
    );
  });

  test('that another keeper made are told apart', async () => {
    await using kms = await keysOf(startKms());
    await assert.rejects(kms.newKeeper().open('0badc0ffee'), refusal('KMS_KEY_NOT_FOUND', /other KEYS/));
    await assert.rejects(kms.newKeeper().open(versionName(9)), refusal('KMS_KEY_NOT_FOUND', /Versions\/9 not found/));
  });

  test('are asked for their public half once', async () => {
    await using kms = await keysOf(startKms());
    const keeper = kms.newKeeper();
    await Promise.all([keeper.open(versionName(1)), keeper.open(versionName(1)), keeper.open(versionName(1))]);
    await keeper.open(versionName(1));
    assert.equal(kms.emulator.operations.GetPublicKey, 1);
  });

  test('that are missing or of another purpose are told at the start, by the setting that names them', async () => {
    await using room = await openKmsRoom();
    await assert.rejects(
      room.another({ identityKey: 'no' }),
      refusal('KMS_KEY_NOT_FOUND', /^KMS_IDENTITY_KEY: .*\/no /),
    );
    await assert.rejects(room.another({ wrappingKey: 'no' }), refusal('KMS_KEY_NOT_FOUND', /^KMS_WRAPPING_KEY: /));
    await assert.rejects(
      room.another({ identityKey: WRAPPING_KEY.slice(`${KEY_RING}/cryptoKeys/`.length) }),
      refusal('KMS_KEY_UNSUPPORTED', /^KMS_IDENTITY_KEY: .* is for ENCRYPT_DECRYPT, and must be for ASYMMETRIC_SIGN/),
    );
  });
});
