/**
 * AES Key Wrap (RFC 3394): encrypts one key under another, and tells when either was not the right one.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';

/** The algorithms that RS-018 allows, by the names that Node has for them. */
export const KEY_WRAPS = {
  'aes128-wrap': { oid: '2.16.840.1.101.3.4.1.5', keyOctets: 16 },
  'aes192-wrap': { oid: '2.16.840.1.101.3.4.1.25', keyOctets: 24 },
  'aes256-wrap': { oid: '2.16.840.1.101.3.4.1.45', keyOctets: 32 },
} as const;

export type KeyWrap = keyof typeof KEY_WRAPS;

/** How much longer a wrapped key is than the key, in octets. */
export const WRAP_OVERHEAD = 8;

/** The initial value of RFC 3394, section 2.2.3.1, by which a wrong key is known. */
const INITIAL_VALUE = Buffer.alloc(8, 0xa6);

/**
 * Wraps a key of 16, 24 or 32 octets.
 *
 * @param keyEncryptionKey as many octets as `wrap` says
 * @returns 8 octets more than `key`
 */
export function wrapKey(wrap: KeyWrap, keyEncryptionKey: Buffer, key: Buffer): Buffer {
  const cipher = createCipheriv(`id-${wrap}`, keyEncryptionKey, INITIAL_VALUE);
  return Buffer.concat([cipher.update(key), cipher.final()]);
}

/** Undoes `wrapKey`; undefined when the key-encryption key is another or the octets were changed. */
export function unwrapKey(wrap: KeyWrap, keyEncryptionKey: Buffer, wrapped: Buffer): Buffer | undefined {
  try {
    const decipher = createDecipheriv(`id-${wrap}`, keyEncryptionKey, INITIAL_VALUE);
    return Buffer.concat([decipher.update(wrapped), decipher.final()]);
  } catch {
    return undefined;
  }
}
