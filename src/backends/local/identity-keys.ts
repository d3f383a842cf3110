/**
 * Identity keys on this machine: RSA key pairs, their private halves wrapped in the records.
 */

import { createPrivateKey, createPublicKey, webcrypto } from 'node:crypto';
import type { IdentityKey, IdentityKeys, KeyWrapping, Random } from '../../gateway/ports.ts';
import type { LocalRecords } from './records.ts';
import { PRIVATE_KEYS_KIND } from './schema.ts';

const ALGORITHM = { name: 'RSA-PSS', hash: 'SHA-256' };
const MODULUS_BITS = 2048;
const PUBLIC_EXPONENT = Uint8Array.of(1, 0, 1);
const REFERENCE_OCTETS = 16;

export class LocalIdentityKeys implements IdentityKeys {
  private readonly records: LocalRecords;
  private readonly wrapping: KeyWrapping;
  private readonly random: Random;

  constructor(parts: { records: LocalRecords; wrapping: KeyWrapping; random: Random }) {
    this.records = parts.records;
    this.wrapping = parts.wrapping;
    this.random = parts.random;
  }

  async create(): Promise<IdentityKey> {
    const pair = await webcrypto.subtle.generateKey(
      { ...ALGORITHM, modulusLength: MODULUS_BITS, publicExponent: PUBLIC_EXPONENT },
      true,
      ['sign', 'verify'],
    );
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', pair.privateKey));
    const reference = this.random(REFERENCE_OCTETS).toString('hex');
    const privateKey = await this.wrapping.wrap(pkcs8, wrappingContext(reference));
    await this.records.put(PRIVATE_KEYS_KIND, reference, { privateKey });
    const key = await importKey(reference, pkcs8);
    pkcs8.fill(0);
    return key;
  }

  /**
   * Puts a key back that was in a backup, durable when it resolves.
   *
   * @param wrapped its private half, wrapped under this master key
   * @throws Error when it is not
   */
  async restore(reference: string, wrapped: Buffer): Promise<void> {
    (await this.wrapping.unwrap(wrapped, wrappingContext(reference))).fill(0);
    await this.records.put(PRIVATE_KEYS_KIND, reference, { privateKey: wrapped });
  }

  /** @throws Error when there is no such key, or the master key is another */
  async open(reference: string): Promise<IdentityKey> {
    const record = await this.records.get(PRIVATE_KEYS_KIND, reference);
    if (!record) {
      throw new Error(`Identity key ${reference} is not in this data directory`);
    }
    const wrapped = record.fields['privateKey'] as Uint8Array;
    const pkcs8 = await this.wrapping.unwrap(wrapped, wrappingContext(reference));
    const key = await importKey(reference, pkcs8);
    pkcs8.fill(0);
    return key;
  }
}

/** The private half is imported such that it cannot be exported again. */
async function importKey(reference: string, pkcs8: Buffer): Promise<IdentityKey> {
  // Node exports RSA public keys as `rsaEncryption`, as RS-002 wants it, whatever the scheme they are used with.
  const privateHalf = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(privateHalf).export({ format: 'der', type: 'spki' });
  const [privateKey, publicKey] = await Promise.all([
    webcrypto.subtle.importKey('pkcs8', new Uint8Array(pkcs8), ALGORITHM, false, ['sign']),
    webcrypto.subtle.importKey('spki', new Uint8Array(spki), ALGORITHM, true, ['verify']),
  ]);
  return { reference, spki, privateKey, publicKey, crypto: webcrypto as Crypto };
}

/** What a wrapped identity key is tied to. */
export function wrappingContext(reference: string): string {
  return `identity-key/${reference}`;
}
