/**
 * What the gateway asks of Cloud KMS: each request and each answer with its CRC-32C, and each answer for the very key that
 * was asked.
 *
 * Source: https://cloud.google.com/kms/docs/data-integrity-guidelines and
 * https://cloud.google.com/kms/docs/reference/rpc/google.cloud.kms.v1
 */
import protos from '@google-cloud/kms/build/protos/protos.js';
import type { CallBounds } from '../calls.ts';
import { crc32c } from '../crc32c.ts';
import { type CallOptions, GrpcService, method } from '../grpc-service.ts';
import { callKms, DEFAULT_BOUNDS } from './calls.ts';
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

const { v1 } = protos.google.cloud.kms;

const SERVICE = '/google.cloud.kms.v1.KeyManagementService';
const KEY = method(`${SERVICE}/GetCryptoKey`, v1.GetCryptoKeyRequest, v1.CryptoKey);
const VERSION = method(`${SERVICE}/GetCryptoKeyVersion`, v1.GetCryptoKeyVersionRequest, v1.CryptoKeyVersion);
const VERSIONS = method(
  `${SERVICE}/ListCryptoKeyVersions`,
  v1.ListCryptoKeyVersionsRequest,
  v1.ListCryptoKeyVersionsResponse,
);
const NEW_VERSION = method(`${SERVICE}/CreateCryptoKeyVersion`, v1.CreateCryptoKeyVersionRequest, v1.CryptoKeyVersion);
const PUBLIC_KEY = method(`${SERVICE}/GetPublicKey`, v1.GetPublicKeyRequest, v1.PublicKey);
const SIGN = method(`${SERVICE}/AsymmetricSign`, v1.AsymmetricSignRequest, v1.AsymmetricSignResponse);
const ENCRYPT = method(`${SERVICE}/Encrypt`, v1.EncryptRequest, v1.EncryptResponse);
const DECRYPT = method(`${SERVICE}/Decrypt`, v1.DecryptRequest, v1.DecryptResponse);

const GOOGLES = 'https://cloudkms.googleapis.com';

export class KmsClient implements AsyncDisposable {
  private readonly service: GrpcService;
  private readonly bounds: CallBounds;

  constructor({ endpoint = GOOGLES, bounds = DEFAULT_BOUNDS }: KmsClientOptions) {
    this.bounds = bounds;
    this.service = new GrpcService(endpoint);
  }

  /** @throws KmsError, StoreError, as all others */
  async key(name: string): Promise<KmsKey> {
    return this.call(`look up ${name}`, { name }, async (options) => {
      const answer = await this.service.ask(KEY, { name }, options);
      checkName(answer.name, name);
      return { purpose: String(answer.purpose), labels: answer.labels ?? {} };
    });
  }

  async version(name: string): Promise<KeyVersion> {
    return this.call(`look up ${name}`, { name }, async (options) => {
      const answer = await this.service.ask(VERSION, { name }, options);
      checkName(answer.name, name);
      return keyVersion(answer);
    });
  }

  /** All versions of a key, in no order. */
  async versions(key: string): Promise<KeyVersion[]> {
    const versions: KeyVersion[] = [];
    for (let pageToken = ''; ; ) {
      const request = { parent: key, pageToken };
      const page = await this.call(`list the versions of ${key}`, { parent: key }, (options) =>
        this.service.ask(VERSIONS, request, options),
      );
      versions.push(...(page.cryptoKeyVersions ?? []).map(keyVersion));
      pageToken = page.nextPageToken ?? '';
      if (!pageToken) {
        return versions;
      }
    }
  }

  /** Makes a version of a key; it may take a while until it can be used. */
  async createVersion(key: string): Promise<KeyVersion> {
    return this.call(`make a version of ${key}`, { parent: key }, async (options) => {
      const answer = await this.service.ask(NEW_VERSION, { parent: key, cryptoKeyVersion: {} }, options);
      if (!answer.name?.startsWith(`${key}/cryptoKeyVersions/`)) {
        throw corrupt(`it made ${answer.name} as a version of ${key}`);
      }
      return keyVersion(answer);
    });
  }

  async publicKey(version: string): Promise<KmsPublicKey> {
    return this.call(`give the public key of ${version}`, { name: version }, async (options) => {
      const answer = await this.service.ask(PUBLIC_KEY, { name: version }, options);
      checkName(answer.name, version);
      const pem = answer.pem ?? '';
      checkOctets('public key', Buffer.from(pem), answer.pemCrc32c);
      return { pem, algorithm: String(answer.algorithm) };
    });
  }

  /** Signs the hash of something. */
  async sign(version: string, hash: KmsHash, digest: Uint8Array): Promise<Buffer> {
    return this.call(`sign with ${version}`, { name: version }, async (options) => {
      const request = { name: version, digest: { [hash]: digest }, digestCrc32c: checksum(digest) };
      const answer = await this.service.ask(SIGN, request, options);
      checkName(answer.name, version);
      checkReceived('digest', answer.verifiedDigestCrc32c);
      return checkOctets('signature', answer.signature, answer.signatureCrc32c);
    });
  }

  /** @param context additional authenticated data: `decrypt` must be given the same */
  async encrypt(key: string, plaintext: Uint8Array, context: Uint8Array): Promise<Buffer> {
    return this.call(`encrypt with ${key}`, { name: key }, async (options) => {
      const request = {
        name: key,
        plaintext,
        plaintextCrc32c: checksum(plaintext),
        additionalAuthenticatedData: context,
        additionalAuthenticatedDataCrc32c: checksum(context),
      };
      const answer = await this.service.ask(ENCRYPT, request, options);
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
    return this.call(`decrypt with ${key}`, { name: key }, async (options) => {
      const request = {
        name: key,
        ciphertext,
        ciphertextCrc32c: checksum(ciphertext),
        additionalAuthenticatedData: context,
        additionalAuthenticatedDataCrc32c: checksum(context),
      };
      const answer = await this.service.ask(DECRYPT, request, options);
      return checkOctets('plaintext', answer.plaintext, answer.plaintextCrc32c);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service[Symbol.asyncDispose]();
  }

  private call<Answer>(
    what: string,
    routing: CallOptions['routing'],
    attempt: (options: CallOptions) => Promise<Answer>,
  ): Promise<Answer> {
    return callKms(what, this.bounds, (timeout) => attempt({ timeout, routing }));
  }
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
