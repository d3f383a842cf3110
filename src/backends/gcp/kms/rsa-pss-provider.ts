/**
 * RSA-PSS by keys in Cloud KMS, as a provider of `webcrypto-core`: signs by KMS, verifies here, gives the public half
 * away from either half, and refuses whatever would have a private key outside KMS.
 */
import { createHash, webcrypto } from 'node:crypto';
import * as core from 'webcrypto-core';
import { KmsError } from './errors.ts';
import type { KmsClient } from './kms-client.ts';
import type { KmsPrivateKey } from './rsa-pss-key.ts';

type KeyData = webcrypto.JsonWebKey | ArrayBuffer;

/** Where PSS keys differ from others of RSA: the salt, and perhaps a hash, which PKI.js passes along. */
interface PssParameters {
  readonly name: string;
  readonly saltLength?: number;
  readonly hash?: { readonly name: string };
}

const { subtle } = webcrypto;

/** What the library does for keys of RSA-PSS. */
export interface RsaPss extends Pick<webcrypto.SubtleCrypto, 'generateKey' | 'importKey'> {
  sign(algorithm: webcrypto.AlgorithmIdentifier, key: KmsPrivateKey, data: ArrayBuffer): Promise<ArrayBuffer>;
  exportKey(format: webcrypto.KeyFormat, key: KmsPrivateKey): Promise<KeyData>;
}

/** RSA-PSS of the library, over the keys that `kms` keeps. */
export function rsaPssOver(kms: KmsClient): RsaPss {
  const provider = new KmsRsaPssProvider(kms);
  const library = new core.SubtleCrypto();
  library.providers.set(provider);
  const subtle = library as unknown as webcrypto.SubtleCrypto;
  return {
    generateKey: subtle.generateKey.bind(subtle),
    importKey: subtle.importKey.bind(subtle),
    sign: (algorithm, key, data) => subtle.sign(algorithm, new RegisteredKey(key) as CryptoKey, data),
    // Straight to the provider: the library has it that nothing public can be had of a private key.
    exportKey: (format, key) => provider.onExportKey(format, new RegisteredKey(key)),
  };
}

/** A key of KMS in the library's own class: it takes no other. */
class RegisteredKey extends core.CryptoKey {
  readonly key: KmsPrivateKey;

  constructor(key: KmsPrivateKey) {
    super();
    this.key = key;
    this.algorithm = key.algorithm;
    this.type = key.type;
    this.extractable = key.extractable;
    this.usages = key.usages;
  }
}

class KmsRsaPssProvider extends core.RsaPssProvider {
  private readonly kms: KmsClient;

  constructor(kms: KmsClient) {
    super();
    this.kms = kms;
  }

  /** @throws KmsError ALGORITHM_UNSUPPORTED when salt or hash are not the key version's; StoreError */
  async onSign(algorithm: PssParameters, key: CryptoKey, data: ArrayBuffer): Promise<ArrayBuffer> {
    const { reference, scheme } = kmsKey(key);
    const hash = algorithm.hash?.name ?? scheme.hash;
    if (hash.toUpperCase() !== scheme.hash || algorithm.saltLength !== scheme.saltOctets) {
      throw new KmsError(
        'ALGORITHM_UNSUPPORTED',
        `${reference} signs with ${scheme.hash} and a salt of ${scheme.saltOctets} octets only, ` +
          `not with ${hash} and ${algorithm.saltLength}`,
      );
    }
    const digest = createHash(scheme.kmsHash).update(Buffer.from(data)).digest();
    return Uint8Array.from(await this.kms.sign(reference, scheme.kmsHash, digest)).buffer;
  }

  async onVerify(
    algorithm: PssParameters,
    key: CryptoKey,
    signature: ArrayBuffer,
    data: ArrayBuffer,
  ): Promise<boolean> {
    return subtle.verify({ name: this.name, saltLength: algorithm.saltLength ?? 0 }, key, signature, data);
  }

  /** @throws KmsError PRIVATE_KEY_GENERATION_REFUSED, always */
  async onGenerateKey(): Promise<webcrypto.CryptoKeyPair> {
    throw new KmsError(
      'PRIVATE_KEY_GENERATION_REFUSED',
      'RSA-PSS keys are generated in Cloud KMS, as key versions, never here',
    );
  }

  /** Takes public halves. @throws KmsError PRIVATE_KEY_IMPORT_REFUSED for a private one */
  async onImportKey(
    format: webcrypto.KeyFormat,
    keyData: KeyData,
    algorithm: webcrypto.RsaHashedImportParams,
    extractable: boolean,
    keyUsages: webcrypto.KeyUsage[],
  ): Promise<core.CryptoKey> {
    if (format === 'pkcs8' || (format === 'jwk' && 'd' in keyData)) {
      throw new KmsError(
        'PRIVATE_KEY_IMPORT_REFUSED',
        `RSA-PSS private keys come into Cloud KMS by its import jobs, never from here (format: ${format})`,
      );
    }
    const key = await subtle.importKey(format as 'spki', keyData as ArrayBuffer, algorithm, extractable, keyUsages);
    return key as core.CryptoKey;
  }

  /**
   * The public half, from either half, as `spki` (under `rsaEncryption`) or `jwk`.
   *
   * @throws KmsError PRIVATE_KEY_EXPORT_REFUSED for `pkcs8` and `raw` of a private one
   */
  async onExportKey(format: webcrypto.KeyFormat, key: core.CryptoKey): Promise<KeyData> {
    if (!(key instanceof RegisteredKey)) {
      return subtle.exportKey(format, key as CryptoKey);
    }
    if (format !== 'spki' && format !== 'jwk') {
      throw new KmsError(
        'PRIVATE_KEY_EXPORT_REFUSED',
        `${key.key.reference} never leaves Cloud KMS: of a private key, spki and jwk give the public half (format: ${format})`,
      );
    }
    return subtle.exportKey(format, key.key.publicKey);
  }
}

function kmsKey(key: CryptoKey): KmsPrivateKey {
  if (!(key instanceof RegisteredKey)) {
    throw new KmsError('KMS_KEY_UNSUPPORTED', 'Key is not one of Cloud KMS');
  }
  return key.key;
}
