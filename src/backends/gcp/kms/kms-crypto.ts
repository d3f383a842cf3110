/**
 * WebCrypto with the keys of Cloud KMS in it: RSA-PSS goes to its provider, all else to Node's own, so that a library
 * like PKI.js finds digests, ciphers and other keys where it looks for them. The provider's library is loaded when it is first
 * needed, since a start needs nothing of it.
 */
import { webcrypto } from 'node:crypto';
import { KmsError } from './errors.ts';
import type { KmsClient } from './kms-client.ts';
import { KmsPrivateKey } from './rsa-pss-key.ts';
import type { RsaPss } from './rsa-pss-provider.ts';

type Subtle = webcrypto.SubtleCrypto;

const RSA_PSS = 'RSA-PSS';

/** What Node does by itself, as long as no key of KMS is among the arguments. */
const NATIVE = [
  'digest',
  'encrypt',
  'decrypt',
  'verify',
  'deriveBits',
  'deriveKey',
  'wrapKey',
  'unwrapKey',
] as const satisfies readonly (keyof Subtle)[];

/** @returns WebCrypto for the keys that `kms` keeps, and for all others */
export function kmsCrypto(kms: KmsClient): Crypto {
  const crypto: webcrypto.Crypto = {
    subtle: subtleOver(kms),
    getRandomValues: (array) => webcrypto.getRandomValues(array),
    randomUUID: () => webcrypto.randomUUID(),
  };
  return crypto as Crypto;
}

function subtleOver(kms: KmsClient): Subtle {
  let loaded: Promise<RsaPss> | undefined;
  const rsaPss = () => {
    loaded ??= import('./rsa-pss-provider.ts').then(({ rsaPssOver }) => rsaPssOver(kms));
    return loaded;
  };
  const native = webcrypto.subtle;
  const pick = async (algorithm: unknown) => (isRsaPss(algorithm) ? rsaPss() : native);
  const own: Partial<Record<keyof Subtle, unknown>> = {
    sign: async (algorithm: webcrypto.AlgorithmIdentifier, key: CryptoKey, data: ArrayBuffer) =>
      key instanceof KmsPrivateKey ? (await rsaPss()).sign(algorithm, key, data) : native.sign(algorithm, key, data),
    generateKey: async (algorithm: unknown, ...rest: [boolean, webcrypto.KeyUsage[]]) =>
      (await pick(algorithm)).generateKey(algorithm as webcrypto.RsaHashedKeyGenParams, ...rest),
    importKey: async (
      format: 'spki',
      data: ArrayBuffer,
      algorithm: unknown,
      ...rest: [boolean, webcrypto.KeyUsage[]]
    ) => (await pick(algorithm)).importKey(format, data, algorithm as webcrypto.RsaHashedImportParams, ...rest),
    exportKey: async (format: webcrypto.KeyFormat, key: CryptoKey) =>
      key instanceof KmsPrivateKey ? (await rsaPss()).exportKey(format, key) : native.exportKey(format, key),
    getPublicKey: async (key: CryptoKey, usages: webcrypto.KeyUsage[]) =>
      key instanceof KmsPrivateKey
        ? native.importKey('spki', new Uint8Array(key.spki), { name: RSA_PSS, hash: key.scheme.hash }, true, usages)
        : native.getPublicKey(key, usages),
  };
  for (const name of NATIVE) {
    own[name] = async (...values: unknown[]) => {
      if (values.some((value) => value instanceof KmsPrivateKey)) {
        throw new KmsError('KMS_KEY_UNSUPPORTED', `Keys of Cloud KMS only sign: no ${name}`);
      }
      return (native[name] as (...values: unknown[]) => unknown).apply(native, values);
    };
  }
  return own as unknown as Subtle;
}

function isRsaPss(algorithm: unknown): boolean {
  const name = typeof algorithm === 'string' ? algorithm : (algorithm as { name?: unknown } | undefined)?.name;
  return String(name).toUpperCase() === RSA_PSS;
}
