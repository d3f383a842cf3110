/**
 * RSA-PSS by keys in Cloud KMS, as a provider of `webcrypto-core`: signs by KMS, verifies here, gives the public half
 * away from either half, and refuses whatever would have a private key outside KMS.
 */
import { createHash, webcrypto } from 'node:crypto';
import * as core from 'webcrypto-core';
import { KmsError } from './errors.ts';
import type { KmsClient } from './kms-client.ts';
import { KmsPrivateKey } from './rsa-pss-key.ts';

type KeyData = webcrypto.JsonWebKey | ArrayBuffer;

/** Where PSS keys differ from others of RSA: the salt, and perhaps a hash, which PKI.js passes along. */
interface PssParameters {
  readonly name: string;
  readonly saltLength?: number;
  readonly hash?: { readonly name: string };
}

const { subtle } = webcrypto;

export class KmsRsaPssProvider extends core.RsaPssProvider {
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
    if (!(key instanceof KmsPrivateKey)) {
      return subtle.exportKey(format, key as CryptoKey);
    }
    if (format !== 'spki' && format !== 'jwk') {
      throw new KmsError(
        'PRIVATE_KEY_EXPORT_REFUSED',
        `${key.reference} never leaves Cloud KMS: of a private key, spki and jwk give the public half (format: ${format})`,
      );
    }
    return subtle.exportKey(format, key.publicKey);
  }
}

function kmsKey(key: CryptoKey): KmsPrivateKey {
  if (!(key instanceof KmsPrivateKey)) {
    throw new KmsError('KMS_KEY_UNSUPPORTED', 'Key is not one of Cloud KMS');
  }
  return key;
}
