/** Calls of Cloud KMS that go wrong: what is tried again, for how long, and what is never believed. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, suite, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import type { CallBounds } from '../../../../src/backends/gcp/calls.ts';
import { crc32c } from '../../../../src/backends/gcp/crc32c.ts';
import { KmsError } from '../../../../src/backends/gcp/kms/errors.ts';
import { KmsClient } from '../../../../src/backends/gcp/kms/kms-client.ts';
import { StoreError } from '../../../../src/gateway/ports.ts';
import type { KmsEmulator, KmsFault, KmsMethod } from '../../../emulators/kms/kms-emulator.ts';
import { TestBounds } from '../../../support/call-bounds.ts';
import { IDENTITY_KEY, openKmsRoom, startKms, WRAPPING_KEY } from '../../../support/kms.ts';

const FOREVER = new Promise<never>(() => undefined);

/** Long enough for all attempts on a busy machine. */
const BOUNDS: CallBounds = { attempt: 5000, total: 20_000 };

const away = (code: string) => (error: unknown) =>
  error instanceof StoreError &&
  error.code === 'STORE_AWAY' &&
  error.cause instanceof KmsError &&
  error.cause.code === code;

const flip = (octets: unknown) => {
  const buffer = octets as Buffer;
  buffer.writeUInt8(buffer.readUInt8() ^ 1);
};

/** Changes a field of a message. */
const setting = (field: string, value: unknown) => (message: Record<string, unknown>) => {
  message[field] = value;
};

/** Damage on the way, by the call that it is done to. */
const DAMAGE: readonly [what: string, method: KmsMethod, fault: KmsFault][] = [
  ['a signature', 'AsymmetricSign', { alter: ({ signature }) => flip(signature) }],
  ['the checksum of a signature', 'AsymmetricSign', { alter: setting('signatureCrc32c', null) }],
  ['the name of the key that signed', 'AsymmetricSign', { alter: setting('name', 'another') }],
  ['a digest', 'AsymmetricSign', { alterRequest: ({ digest }) => flip((digest as { sha256: Buffer }).sha256) }],
  ['the checksum of a digest', 'AsymmetricSign', { alterRequest: setting('digestCrc32c', null) }],
  ['a ciphertext', 'Encrypt', { alter: ({ ciphertext }) => flip(ciphertext) }],
  ['the name of the key that encrypted', 'Encrypt', { alter: setting('name', 'another') }],
  ['a plaintext', 'Encrypt', { alterRequest: ({ plaintext }) => flip(plaintext) }],
  ['the checksum of a plaintext', 'Encrypt', { alterRequest: setting('plaintextCrc32c', null) }],
  ['a context', 'Encrypt', { alterRequest: (request) => flip(request['additionalAuthenticatedData']) }],
  ['the checksum of a context', 'Encrypt', { alterRequest: setting('additionalAuthenticatedDataCrc32c', null) }],
  ['a plaintext that comes back', 'Decrypt', { alter: ({ plaintext }) => flip(plaintext) }],
  ['a ciphertext to decrypt', 'Decrypt', { alterRequest: ({ ciphertext }) => flip(ciphertext) }],
  ['a public key', 'GetPublicKey', { alter: setting('pem', '-----BEGIN PUBLIC KEY-----') }],
  ['the name of a public key', 'GetPublicKey', { alter: setting('name', 'another') }],
];

suite('Calls of Cloud KMS', () => {
  let emulator: KmsEmulator;
  let kms: KmsClient;

  before(async () => {
    emulator = await startKms();
    kms = new KmsClient({ endpoint: emulator.endpoint, bounds: BOUNDS });
  });

  afterEach(() => emulator.recover());

  after(async () => {
    await kms[Symbol.asyncDispose]();
    await emulator[Symbol.asyncDispose]();
  });

  /** What does that the method is for; counted from now on. */
  async function prepared(method: KmsMethod): Promise<(client: KmsClient) => Promise<unknown>> {
    const version = `${IDENTITY_KEY}/cryptoKeyVersions/1`;
    const [digest, secret, context] = [randomBytes(32), randomBytes(32), Buffer.from('context')];
    const ciphertext = await kms.encrypt(WRAPPING_KEY, secret, context);
    assert.deepEqual(await kms.decrypt(WRAPPING_KEY, ciphertext, context), secret);
    emulator.resetCounts();
    switch (method) {
      case 'Encrypt':
        return (client) => client.encrypt(WRAPPING_KEY, Buffer.from(secret), context);
      case 'Decrypt':
        return (client) => client.decrypt(WRAPPING_KEY, ciphertext, context);
      case 'GetPublicKey':
        return (client) => client.publicKey(version);
      default:
        return (client) => client.sign(version, 'sha256', digest);
    }
  }

  test('have the checksum that RFC 3720 and Google know as CRC-32C', () => {
    assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
    assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
    assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43);
    assert.equal(crc32c(Buffer.alloc(0)), 0);
  });

  for (const [what, method, fault] of DAMAGE) {
    test(`notice that ${what} was damaged (${method}), and are made again, three times at most`, async () => {
      const use = await prepared(method);
      emulator.fail(method, fault, 2);
      await use(kms);
      assert.equal(emulator.operations[method], 3);

      emulator.resetCounts();
      emulator.failAlways(method, fault);
      await assert.rejects(use(kms), away('KMS_ANSWER_CORRUPT'));
      assert.equal(emulator.operations[method], 3);
    });
  }

  for (const name of ['UNAVAILABLE', 'RESOURCE_EXHAUSTED', 'INTERNAL', 'ABORTED', 'DEADLINE_EXCEEDED'] as const) {
    test(`are made again after ${name}`, async () => {
      const use = await prepared('AsymmetricSign');
      emulator.fail('AsymmetricSign', { code: status[name] }, 2);
      await use(kms);
      assert.equal(emulator.operations.AsymmetricSign, 3);
    });
  }

  for (const [name, code] of [
    ['PERMISSION_DENIED', 'KMS_DENIED'],
    ['UNAUTHENTICATED', 'KMS_DENIED'],
    ['NOT_FOUND', 'KMS_KEY_NOT_FOUND'],
    ['INVALID_ARGUMENT', 'KMS_REQUEST_REFUSED'],
  ] as const) {
    test(`are not made again after ${name}`, async () => {
      const use = await prepared('AsymmetricSign');
      emulator.failAlways('AsymmetricSign', { code: status[name] });
      await assert.rejects(use(kms), (error) => error instanceof KmsError && error.code === code);
      assert.equal(emulator.operations.AsymmetricSign, 1);
    });
  }

  test('that get no answer are made again, within a bound on the whole', async () => {
    const use = await prepared('AsymmetricSign');
    await using hasty = new KmsClient({ endpoint: emulator.endpoint, bounds: { attempt: 200, total: 1000 } });
    emulator.failAlways('AsymmetricSign', { until: FOREVER });
    // It would never end without its bound.
    await assert.rejects(use(hasty), away('KMS_AWAY'));
    assert.ok((emulator.operations.AsymmetricSign ?? 0) > 1);
    emulator.recover();
    await use(kms);
  });

  test('wait at the start for a KMS that is away, say so, and go on once it is there', async () => {
    const denying = await startKms();
    denying.fail('GetCryptoKey', { code: status.PERMISSION_DENIED });
    await assert.rejects(openKmsRoom({}, Promise.resolve(denying)), /KMS_IDENTITY_KEY: /);

    const again = await startKms();
    const warnings: string[] = [];
    again.failAlways('GetCryptoKey', { code: status.UNAVAILABLE });
    const bounds = new TestBounds();
    bounds.drawIn();
    const log = {
      warn: (_fields: object, message: string) => {
        warnings.push(message);
        again.recover();
        bounds.letOut();
      },
    };
    await using room = await openKmsRoom({ bounds, log }, Promise.resolve(again));
    assert.deepEqual(warnings, ['Waiting for Cloud KMS']);
    await room.keys.check();

    const dead = await startKms();
    dead.failAlways('GetCryptoKey', { code: status.UNAVAILABLE });
    const impatient = openKmsRoom({ bounds: { attempt: 50, total: 100 }, patience: 0 }, Promise.resolve(dead));
    await assert.rejects(impatient, away('KMS_AWAY'));
  });
});
