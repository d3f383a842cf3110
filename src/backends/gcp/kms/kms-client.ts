/**
 * What the gateway asks of Cloud KMS, over the vendor's client: each request and each answer with its CRC-32C, and each
 * answer for the very key that was asked.
 *
 * Source: https://cloud.google.com/kms/docs/data-integrity-guidelines
 */
import { KeyManagementServiceClient } from '@google-cloud/kms';
import { credentials } from '@grpc/grpc-js';
import { type CallBounds, LateError } from '../calls.ts';
import { CHANNEL } from '../channel.ts';
import { crc32c } from '../crc32c.ts';
import { type AttemptOptions, callKms, DEFAULT_BOUNDS } from './calls.ts';
import { KmsError } from './errors.ts';
import type { Labels } from './key-labels.ts';

export interface KmsClientOptions {
  /** URL of the service where it is not Google's: `http://` without TLS and credentials, for an emulator. */
  readonly endpoint?: string | undefined;
  readonly bounds?: CallBounds;
}

export interface KmsKey {
  /** E.g. `ASYMMETRIC_SIGN`. */
  readonly purpose: string;
  readonly labels: Labels;
}

/** A version of a key: `projects/…/cryptoKeys/…/cryptoKeyVersions/NUMBER`. */
export interface KeyVersion {
  readonly name: string;
  /** E.g. `ENABLED`, `PENDING_GENERATION`. */
  readonly state: string;
  /** E.g. `RSA_SIGN_PSS_2048_SHA256`. */
  readonly algorithm: string;
}

/** The public half of a key version. */
export interface KmsPublicKey {
  readonly pem: string;
  readonly algorithm: string;
}

/** Names of a hash as KMS takes them. */
export type KmsHash = 'sha256' | 'sha512';

type ClientSettings = NonNullable<ConstructorParameters<typeof KeyManagementServiceClient>[0]>;

const DEFAULT_PORT = 443;

export class KmsClient implements AsyncDisposable {
  private readonly settings: ClientSettings;
  private client: Promise<KeyManagementServiceClient> | undefined;
  private readonly bounds: CallBounds;

  constructor({ endpoint, bounds = DEFAULT_BOUNDS }: KmsClientOptions) {
    this.bounds = bounds;
    this.settings = { ...CHANNEL, ...(endpoint !== undefined && elsewhere(endpoint)) };
  }

  /** @throws KmsError, StoreError, as all others */
  async key(name: string): Promise<KmsKey> {
    return this.call(`look up ${name}`, async (client, options) => {
      const [answer] = await client.getCryptoKey({ name }, options);
      checkName(answer.name, name);
      return { purpose: String(answer.purpose), labels: answer.labels ?? {} };
    });
  }

  async version(name: string): Promise<KeyVersion> {
    return this.call(`look up ${name}`, async (client, options) => {
      const [answer] = await client.getCryptoKeyVersion({ name }, options);
      checkName(answer.name, name);
      return keyVersion(answer);
    });
  }

  /** All versions of a key, in no order. */
  async versions(key: string): Promise<KeyVersion[]> {
    return this.call(`list the versions of ${key}`, async (client, options) => {
      const [answers] = await client.listCryptoKeyVersions({ parent: key }, options);
      return answers.map(keyVersion);
    });
  }

  /** Makes a version of a key; it may take a while until it can be used. */
  async createVersion(key: string): Promise<KeyVersion> {
    return this.call(`make a version of ${key}`, async (client, options) => {
      const [answer] = await client.createCryptoKeyVersion({ parent: key, cryptoKeyVersion: {} }, options);
      if (!answer.name?.startsWith(`${key}/cryptoKeyVersions/`)) {
        throw corrupt(`it made ${answer.name} as a version of ${key}`);
      }
      return keyVersion(answer);
    });
  }

  async publicKey(version: string): Promise<KmsPublicKey> {
    return this.call(`give the public key of ${version}`, async (client, options) => {
      const [answer] = await client.getPublicKey({ name: version }, options);
      checkName(answer.name, version);
      const pem = answer.pem ?? '';
      checkOctets('public key', Buffer.from(pem), answer.pemCrc32c);
      return { pem, algorithm: String(answer.algorithm) };
    });
  }

  /** Signs the hash of something. */
  async sign(version: string, hash: KmsHash, digest: Uint8Array): Promise<Buffer> {
    return this.call(`sign with ${version}`, async (client, options) => {
      const request = { name: version, digest: { [hash]: digest }, digestCrc32c: checksum(digest) };
      const [answer] = await client.asymmetricSign(request, options);
      checkName(answer.name, version);
      checkReceived('digest', answer.verifiedDigestCrc32c);
      return checkOctets('signature', answer.signature, answer.signatureCrc32c);
    });
  }

  /** @param context additional authenticated data: `decrypt` must be given the same */
  async encrypt(key: string, plaintext: Uint8Array, context: Uint8Array): Promise<Buffer> {
    return this.call(`encrypt with ${key}`, async (client, options) => {
      const request = {
        name: key,
        plaintext,
        plaintextCrc32c: checksum(plaintext),
        additionalAuthenticatedData: context,
        additionalAuthenticatedDataCrc32c: checksum(context),
      };
      const [answer] = await client.encrypt(request, options);
      // It names the version that encrypted.
      if (!answer.name?.startsWith(`${key}/cryptoKeyVersions/`)) {
        throw corrupt(`it encrypted with ${answer.name} instead of ${key}`);
      }
      checkReceived('plaintext', answer.verifiedPlaintextCrc32c);
      checkReceived('context', answer.verifiedAdditionalAuthenticatedDataCrc32c);
      return checkOctets('ciphertext', answer.ciphertext, answer.ciphertextCrc32c);
    });
  }

  async decrypt(key: string, ciphertext: Uint8Array, context: Uint8Array): Promise<Buffer> {
    return this.call(`decrypt with ${key}`, async (client, options) => {
      const request = {
        name: key,
        ciphertext,
        ciphertextCrc32c: checksum(ciphertext),
        additionalAuthenticatedData: context,
        additionalAuthenticatedDataCrc32c: checksum(context),
      };
      const [answer] = await client.decrypt(request, options);
      return checkOctets('plaintext', answer.plaintext, answer.plaintextCrc32c);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.client?.catch(() => undefined))?.close();
  }

  private call<Answer>(
    what: string,
    attempt: (client: KeyManagementServiceClient, options: AttemptOptions) => Promise<Answer>,
  ): Promise<Answer> {
    return callKms(what, this.bounds, async (options) => {
      const end = performance.now() + options.timeout;
      const client = await this.connected();
      const timeout = end - performance.now();
      if (timeout <= 0) {
        // Nobody waits for it any more: what was given up must not be done later.
        throw new LateError(options.timeout);
      }
      return attempt(client, { ...options, timeout });
    });
  }

  /** One that failed to find its credentials would fail for ever, and reject where nobody listens: it is made anew. */
  private connected(): Promise<KeyManagementServiceClient> {
    if (!this.client) {
      const made = new KeyManagementServiceClient(this.settings);
      const client = made.initialize().then(() => made);
      this.client = client;
      client.catch(() => {
        this.client = undefined;
      });
    }
    return this.client;
  }
}

function elsewhere(endpoint: string): ClientSettings {
  const { protocol, hostname, port } = new URL(endpoint);
  const isPlain = protocol === 'http:';
  return {
    apiEndpoint: hostname,
    port: Number(port) || (isPlain ? 80 : DEFAULT_PORT),
    // Nothing is looked for then that Google would know us by.
    ...(isPlain && {
      sslCreds: credentials.createInsecure(),
      clientOptions: { universeDomain: 'googleapis.com' },
    }),
  };
}

function keyVersion({ name, state, algorithm }: { name?: unknown; state?: unknown; algorithm?: unknown }): KeyVersion {
  return { name: String(name), state: String(state), algorithm: String(algorithm) };
}

/** As the client takes a `google.protobuf.Int64Value`. */
function checksum(octets: Uint8Array): { value: number } {
  return { value: crc32c(octets) };
}

function checkName(answered: string | null | undefined, asked: string): void {
  if (answered !== asked) {
    throw corrupt(`it answered for ${answered} instead of ${asked}`);
  }
}

/** Whether KMS checked our checksum: it may have been lost on its way. */
function checkReceived(what: string, isVerified: boolean | null | undefined): void {
  if (!isVerified) {
    throw corrupt(`it did not get the checksum of the ${what}`);
  }
}

function checkOctets(
  what: string,
  octets: Uint8Array | string | null | undefined,
  expected: { value?: unknown } | null | undefined,
): Buffer {
  const buffer = Buffer.from((octets ?? '') as Uint8Array);
  if (Number(expected?.value ?? Number.NaN) !== crc32c(buffer)) {
    throw corrupt(`the checksum of the ${what} is wrong`);
  }
  return buffer;
}

function corrupt(reason: string): KmsError {
  return new KmsError('KMS_ANSWER_CORRUPT', `Answer of Cloud KMS is damaged: ${reason}`);
}
