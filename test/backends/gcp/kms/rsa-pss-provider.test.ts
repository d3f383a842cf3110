/** The WebCrypto provider over Cloud KMS: what its keys do, what they give away, and what they refuse. */
import assert from 'node:assert/strict';
import { constants, createHash, createPublicKey, generateKeyPairSync, verify, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { KmsError } from '../../../../src/backends/gcp/kms/errors.ts';
import { KmsIdentityKeys } from '../../../../src/backends/gcp/kms/identity-keys.ts';
import { KmsClient } from '../../../../src/backends/gcp/kms/kms-client.ts';
import type { IdentityKey } from '../../../../src/gateway/ports.ts';
import { KmsEmulator } from '../../../emulators/kms/kms-emulator.ts';
import { committedKeys, KEY_RING } from '../../../support/kms.ts';

const RSA_ENCRYPTION = Buffer.from('300d06092a864886f70d0101010500', 'hex');

const refusal = (code: string) => (error: unknown) =>
  error instanceof KmsError && error.code === code && error.message.length > 20;

suite('Keys of Cloud KMS in WebCrypto', () => {
  let emulator: KmsEmulator;
  let kms: KmsClient;

  before(async () => {
    emulator = await KmsEmulator.start({ supply: committedKeys() });
    kms = new KmsClient({ endpoint: emulator.endpoint });
  });

  after(async () => {
    await kms[Symbol.asyncDispose]();
    await emulator[Symbol.asyncDispose]();
  });

  /** The first version of a key with this algorithm. */
  async function keyOf(algorithm: string): Promise<IdentityKey> {
    const key = `${KEY_RING}/cryptoKeys/${algorithm}`;
    try {
      emulator.store.key(key);
    } catch {
      emulator.createKey(key, 'ASYMMETRIC_SIGN', algorithm);
    }
    return new KmsIdentityKeys({ kms, key }).open(`${key}/cryptoKeyVersions/1`);
  }

  for (const [algorithm, bits, hash, salt] of [
    ['RSA_SIGN_PSS_2048_SHA256', 2048, 'sha256', 32],
    ['RSA_SIGN_PSS_3072_SHA256', 3072, 'sha256', 32],
    ['RSA_SIGN_PSS_4096_SHA256', 4096, 'sha256', 32],
    ['RSA_SIGN_PSS_4096_SHA512', 4096, 'sha512', 64],
  ] as const) {
    test(`sign as ${algorithm} says`, async () => {
      const { privateKey, publicKey, crypto, spki, reference } = await keyOf(algorithm);
      assert.equal((privateKey.algorithm as webcrypto.RsaHashedKeyAlgorithm).modulusLength, bits);
      const data = Buffer.from('signed in the cloud');
      emulator.resetCounts();
      const signature = await crypto.subtle.sign({ name: 'RSA-PSS', saltLength: salt }, privateKey, data);
      assert.deepEqual(emulator.operations, { AsymmetricSign: 1 });

      const request = emulator.requests[0]?.request as { name: string; digest: Record<string, Buffer> };
      assert.equal(request.name, reference);
      assert.deepEqual(request.digest[hash], createHash(hash).update(data).digest(), 'only the digest leaves');
      const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
      const padding = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: salt };
      assert.ok(verify(hash, data, padding, Buffer.from(signature)));
      const scheme = { name: 'RSA-PSS', saltLength: salt };
      assert.ok(await crypto.subtle.verify(scheme, publicKey, signature, data));
      assert.ok(!(await crypto.subtle.verify(scheme, publicKey, signature, Buffer.from('something else'))));
      assert.deepEqual(emulator.operations, { AsymmetricSign: 1 }, 'verifying costs nothing');
    });
  }

  test('give their public half from both halves, as spki and jwk, under rsaEncryption', async () => {
    const { privateKey, publicKey, crypto, spki } = await keyOf('RSA_SIGN_PSS_2048_SHA256');
    const pem = readFileSync(new URL('../../../support/keys/internet-gateway.pem', import.meta.url));
    const expected = createPublicKey(pem);
    const expectedSpki = expected.export({ format: 'der', type: 'spki' });
    assert.ok(expectedSpki.includes(RSA_ENCRYPTION));
    assert.deepEqual(spki, expectedSpki);
    const { n, e } = expected.export({ format: 'jwk' });
    emulator.resetCounts();
    for (const half of [privateKey, publicKey, await crypto.subtle.getPublicKey(privateKey, ['verify'])]) {
      assert.deepEqual(Buffer.from(await crypto.subtle.exportKey('spki', half)), expectedSpki);
      const jwk = await crypto.subtle.exportKey('jwk', half);
      assert.deepEqual({ ...jwk }, { kty: 'RSA', n, e, alg: 'PS256', key_ops: ['verify'], ext: true });
    }
    assert.deepEqual(emulator.operations, {}, 'the public key is known since it was opened');
  });

  test('have the right node id also if KMS calls them RSASSA-PSS', async () => {
    const { privateKey } = generateKeyPairSync('rsa-pss', { modulusLength: 2048 });
    await using other = await KmsEmulator.start({ supply: async () => privateKey });
    await using client = new KmsClient({ endpoint: other.endpoint });
    const name = `${KEY_RING}/cryptoKeys/pss`;
    other.createKey(name, 'ASYMMETRIC_SIGN', 'RSA_SIGN_PSS_2048_SHA256');
    const pem = () => other.store.publicKey(`${name}/cryptoKeyVersions/1`);
    const { spki } = await new KmsIdentityKeys({ kms: client, key: name }).create();
    assert.equal(createPublicKey(pem()).asymmetricKeyType, 'rsa-pss');
    assert.ok(spki.includes(RSA_ENCRYPTION));
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
    assert.equal(key.asymmetricKeyType, 'rsa');
    assert.deepEqual(key.export({ format: 'der', type: 'spki' }), spki);
  });

  test('never leave KMS', async () => {
    const { privateKey, crypto } = await keyOf('RSA_SIGN_PSS_2048_SHA256');
    for (const format of ['pkcs8', 'raw'] as const) {
      await assert.rejects(crypto.subtle.exportKey(format, privateKey), refusal('PRIVATE_KEY_EXPORT_REFUSED'));
    }
  });

  test('are neither generated nor imported here', async () => {
    const { crypto } = await keyOf('RSA_SIGN_PSS_2048_SHA256');
    const scheme = { name: 'RSA-PSS', hash: 'SHA-256' };
    const generation = { ...scheme, modulusLength: 2048, publicExponent: Uint8Array.of(1, 0, 1) };
    await assert.rejects(
      crypto.subtle.generateKey(generation, true, ['sign', 'verify']),
      refusal('PRIVATE_KEY_GENERATION_REFUSED'),
    );
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const pkcs8 = new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' }));
    await assert.rejects(
      crypto.subtle.importKey('pkcs8', pkcs8, scheme, true, ['sign']),
      refusal('PRIVATE_KEY_IMPORT_REFUSED'),
    );
    const jwk = privateKey.export({ format: 'jwk' });
    await assert.rejects(
      crypto.subtle.importKey('jwk', jwk, scheme, true, ['sign']),
      refusal('PRIVATE_KEY_IMPORT_REFUSED'),
    );
  });

  test('have public halves of others beside them, imported as ever', async () => {
    const { crypto } = await keyOf('RSA_SIGN_PSS_2048_SHA256');
    const scheme = { name: 'RSA-PSS', hash: 'SHA-256' };
    const pair = await webcrypto.subtle.generateKey(
      { ...scheme, modulusLength: 2048, publicExponent: Uint8Array.of(1, 0, 1) },
      true,
      ['sign', 'verify'],
    );
    const data = Buffer.from('of another node');
    const signature = await webcrypto.subtle.sign({ name: 'RSA-PSS', saltLength: 32 }, pair.privateKey, data);
    const spki = await webcrypto.subtle.exportKey('spki', pair.publicKey);
    const key = await crypto.subtle.importKey('spki', spki, scheme, true, ['verify']);
    assert.ok(await crypto.subtle.verify({ name: 'RSA-PSS', saltLength: 32 }, key, signature, data));
  });

  test('sign with their own hash and salt only, and do nothing else', async () => {
    const { privateKey, crypto } = await keyOf('RSA_SIGN_PSS_2048_SHA256');
    const data = Buffer.from('data');
    emulator.resetCounts();
    for (const algorithm of [
      { name: 'RSA-PSS', saltLength: 20 },
      { name: 'RSA-PSS', saltLength: 32, hash: { name: 'SHA-512' } },
    ]) {
      await assert.rejects(crypto.subtle.sign(algorithm, privateKey, data), refusal('ALGORITHM_UNSUPPORTED'));
    }
    await assert.rejects(
      crypto.subtle.verify({ name: 'RSA-PSS', saltLength: 32 }, privateKey, data, data),
      refusal('KMS_KEY_UNSUPPORTED'),
    );
    await assert.rejects(crypto.subtle.decrypt({ name: 'RSA-OAEP' }, privateKey, data), refusal('KMS_KEY_UNSUPPORTED'));
    await assert.rejects(crypto.subtle.sign('RSASSA-PKCS1-v1_5', privateKey, data));
    assert.deepEqual(emulator.operations, {});
  });

  test('of other algorithms are refused, and so are those that are not what their algorithm says', async () => {
    await assert.rejects(keyOf('RSA_SIGN_PKCS1_2048_SHA256'), refusal('KMS_KEY_UNSUPPORTED'));
    const liar = `${KEY_RING}/cryptoKeys/liar`;
    emulator.createKey(liar, 'ASYMMETRIC_SIGN', 'RSA_SIGN_PSS_3072_SHA256');
    emulator.fail('GetPublicKey', {
      alter: (answer) => {
        answer['algorithm'] = 'RSA_SIGN_PSS_4096_SHA256';
      },
    });
    await assert.rejects(new KmsIdentityKeys({ kms, key: liar }).create(), refusal('KMS_KEY_UNSUPPORTED'));
  });
});
