/** The keys of the KMS emulator: real RSA and AES keys, their versions and states. */
import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { promisify } from 'node:util';
import { signDigest } from './pss.ts';

/** https://cloud.google.com/kms/docs/algorithms; the one without PSS is there to be refused by the gateway. */
const SIGNING: Readonly<Record<string, { bits: number; hash: 'sha256' | 'sha512'; isPss: boolean }>> = {
  RSA_SIGN_PSS_2048_SHA256: { bits: 2048, hash: 'sha256', isPss: true },
  RSA_SIGN_PSS_3072_SHA256: { bits: 3072, hash: 'sha256', isPss: true },
  RSA_SIGN_PSS_4096_SHA256: { bits: 4096, hash: 'sha256', isPss: true },
  RSA_SIGN_PSS_4096_SHA512: { bits: 4096, hash: 'sha512', isPss: true },
  RSA_SIGN_PKCS1_2048_SHA256: { bits: 2048, hash: 'sha256', isPss: false },
};

export const SYMMETRIC = 'GOOGLE_SYMMETRIC_ENCRYPTION';

const NONCE_OCTETS = 12;
const TAG_OCTETS = 16;
const NUMBER_OCTETS = 4;

/** Makes the private key of a version. */
export type KeySupply = (bits: number) => Promise<KeyObject>;

export const generateRsaKey: KeySupply = async (bits) =>
  (await promisify(generateKeyPair)('rsa', { modulusLength: bits, publicExponent: 0x10001 })).privateKey;

export interface EmulatedVersion {
  readonly name: string;
  readonly algorithm: string;
  state: string;
  /** Of a symmetric key. */
  readonly secret?: Buffer;
  /** Of an asymmetric key, once it has been generated. */
  privateKey?: KeyObject;
  /** Resolves when it is no longer pending. */
  generated: Promise<void>;
}

/** What a key is made with besides its purpose and algorithm. */
export interface KeyTraits {
  readonly protectionLevel?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly rotationPeriod?: unknown;
}

export interface EmulatedKey {
  readonly name: string;
  /** `ASYMMETRIC_SIGN` or `ENCRYPT_DECRYPT`. */
  readonly purpose: string;
  readonly algorithm: string;
  readonly versions: EmulatedVersion[];
  traits: KeyTraits;
  /** Name of the version that encrypts; the newest where it is not said. */
  primary?: string;
}

/** What a method cannot do, with the code of gRPC under which it says so. */
export class Refusal extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const FAILED_PRECONDITION = 9;
const UNIMPLEMENTED = 12;

export class KeyStore {
  private readonly keys = new Map<string, EmulatedKey>();
  private readonly supply: KeySupply;
  /** New versions stay in PENDING_GENERATION until this resolves. */
  generation: Promise<void> = Promise.resolve();

  constructor(supply: KeySupply) {
    this.supply = supply;
  }

  /** A key without versions. */
  createKey(name: string, purpose: string, algorithm: string, traits: KeyTraits = {}): EmulatedKey {
    if (purpose === 'ASYMMETRIC_SIGN' ? !SIGNING[algorithm] : algorithm !== SYMMETRIC) {
      throw new Refusal(INVALID_ARGUMENT, `${algorithm} is not an algorithm for ${purpose}.`);
    }
    const key: EmulatedKey = { name, purpose, algorithm, versions: [], traits };
    this.keys.set(name, key);
    return key;
  }

  /**
   * Numbers count up from 1. Symmetric versions are enabled at once, asymmetric ones once they have been generated:
   * https://cloud.google.com/kms/docs/key-states
   */
  createVersion(keyName: string): EmulatedVersion {
    const { algorithm, versions } = this.key(keyName);
    const name = `${keyName}/cryptoKeyVersions/${versions.length + 1}`;
    const signing = SIGNING[algorithm];
    const version: EmulatedVersion = signing
      ? { name, algorithm, state: 'PENDING_GENERATION', generated: Promise.resolve() }
      : { name, algorithm, state: 'ENABLED', secret: randomBytes(32), generated: Promise.resolve() };
    if (signing) {
      const held = this.generation;
      version.generated = this.supply(signing.bits).then(async (privateKey) => {
        await held;
        version.privateKey = privateKey;
        version.state = 'ENABLED';
      });
    }
    versions.push(version);
    return version;
  }

  has(name: string): boolean {
    return this.keys.has(name);
  }

  key(name: string): EmulatedKey {
    const key = this.keys.get(name);
    if (!key) {
      throw new Refusal(NOT_FOUND, `CryptoKey ${name} not found.`);
    }
    return key;
  }

  version(name: string): EmulatedVersion {
    const version = this.keys
      .get(name.split('/cryptoKeyVersions/')[0] ?? '')
      ?.versions.find((one) => one.name === name);
    if (!version) {
      throw new Refusal(NOT_FOUND, `CryptoKeyVersion ${name} not found.`);
    }
    return version;
  }

  /** Only enabled versions do anything: https://cloud.google.com/kms/docs/key-states */
  enabled(name: string): EmulatedVersion {
    const version = this.version(name);
    if (version.state !== 'ENABLED') {
      throw new Refusal(FAILED_PRECONDITION, `${name} is not enabled, current state is: ${version.state}.`);
    }
    return version;
  }

  /** PEM of the public half: https://cloud.google.com/kms/docs/retrieve-public-key */
  publicKey(name: string): string {
    return createPublicKey(this.signing(name).privateKey).export({ format: 'pem', type: 'spki' }).toString();
  }

  /**
   * Signs a digest; with PSS the salt is as long as the digest: https://cloud.google.com/kms/docs/algorithms#rsa_signing_algorithms
   *
   * @param digest by the name of its hash, as in `google.cloud.kms.v1.Digest`
   */
  sign(name: string, digest: Readonly<Record<string, Buffer | undefined>>): Buffer {
    const { privateKey, hash, isPss } = this.signing(name);
    const octets = digest[hash];
    if (octets?.length !== (hash === 'sha256' ? 32 : 64)) {
      throw new Refusal(INVALID_ARGUMENT, `The digest must be the ${hash} of the data.`);
    }
    if (!isPss) {
      throw new Refusal(UNIMPLEMENTED, 'This emulator signs with PSS only.');
    }
    return signDigest(octets, privateKey, hash);
  }

  /** The version that encrypts. */
  primary({ primary, versions }: EmulatedKey): EmulatedVersion | undefined {
    return primary === undefined ? versions.at(-1) : versions.find(({ name }) => name === primary);
  }

  /** With the primary version. The answer names it. */
  encrypt(keyName: string, plaintext: Buffer, context: Buffer): { name: string; ciphertext: Buffer } {
    const key = this.symmetric(keyName);
    const { versions } = key;
    const { name, secret } = this.enabled(this.primary(key)?.name ?? '');
    const nonce = randomBytes(NONCE_OCTETS);
    const cipher = createCipheriv('aes-256-gcm', secret as Buffer, nonce).setAAD(context);
    const number = Buffer.alloc(NUMBER_OCTETS);
    number.writeUInt32BE(versions.findIndex((version) => version.name === name) + 1);
    return {
      name,
      ciphertext: Buffer.concat([number, nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]),
    };
  }

  /** By whichever version encrypted: https://cloud.google.com/kms/docs/encrypt-decrypt */
  decrypt(keyName: string, ciphertext: Buffer, context: Buffer): Buffer {
    const { versions } = this.symmetric(keyName);
    const head = NUMBER_OCTETS + NONCE_OCTETS;
    const version = ciphertext.length < head + TAG_OCTETS ? undefined : versions[ciphertext.readUInt32BE() - 1];
    try {
      const { secret } = this.enabled(version?.name ?? '');
      const nonce = ciphertext.subarray(NUMBER_OCTETS, head);
      const decipher = createDecipheriv('aes-256-gcm', secret as Buffer, nonce, { authTagLength: TAG_OCTETS });
      decipher.setAAD(context).setAuthTag(ciphertext.subarray(-TAG_OCTETS));
      return Buffer.concat([decipher.update(ciphertext.subarray(head, -TAG_OCTETS)), decipher.final()]);
    } catch {
      throw new Refusal(INVALID_ARGUMENT, 'Decryption failed: the ciphertext is invalid.');
    }
  }

  private symmetric(name: string): EmulatedKey {
    const key = this.key(name);
    if (key.purpose !== 'ENCRYPT_DECRYPT') {
      throw new Refusal(FAILED_PRECONDITION, `${name} is not for encryption.`);
    }
    return key;
  }

  private signing(name: string) {
    const { algorithm, privateKey } = this.enabled(name);
    const scheme = SIGNING[algorithm];
    if (!scheme || !privateKey) {
      throw new Refusal(FAILED_PRECONDITION, `${name} is not for signing.`);
    }
    return { ...scheme, privateKey };
  }
}
