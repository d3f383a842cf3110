/**
 * Encrypts small secrets at rest by envelope encryption: AES-256-GCM under a data key, which goes along as Cloud KMS
 * wrapped it.
 *
 * Source: https://cloud.google.com/kms/docs/envelope-encryption
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { KeyWrapping, Random } from '../../../gateway/ports.ts';
import type { DataKeys } from './data-keys.ts';

/** The first octet of what is wrapped, so that another way of wrapping can be told from this. */
const VERSION = 2;
const LENGTH_OCTETS = 2;
const NONCE_OCTETS = 12;
const TAG_OCTETS = 16;
const CIPHER = 'aes-256-gcm';

/** KMS makes some 110 octets of a data key. */
const MAX_WRAPPED_KEY = 1024;

export class KmsKeyWrapping implements KeyWrapping {
  private readonly dataKeys: DataKeys;
  private readonly random: Random;

  constructor(dataKeys: DataKeys, random: Random) {
    this.dataKeys = dataKeys;
    this.random = random;
  }

  /** `version (1) | length (2) | wrapped data key | nonce (12) | ciphertext | tag (16)`. @throws KmsError, StoreError */
  async wrap(secret: Uint8Array, context: string): Promise<Buffer> {
    const { key, wrapped } = await this.dataKeys.current();
    const head = Buffer.alloc(1 + LENGTH_OCTETS);
    head.writeUInt8(VERSION);
    head.writeUInt16BE(wrapped.length, 1);
    const nonce = this.random(NONCE_OCTETS);
    const cipher = createCipheriv(CIPHER, key, nonce);
    cipher.setAAD(Buffer.from(context));
    const ciphertext = Buffer.concat([cipher.update(secret), cipher.final()]);
    return Buffer.concat([head, wrapped, nonce, ciphertext, cipher.getAuthTag()]);
  }

  async unwrap(octets: Uint8Array, context: string): Promise<Buffer> {
    const { wrapped, nonce, ciphertext, tag } = parse(Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength));
    const decipher = createDecipheriv(CIPHER, await this.dataKeys.unwrap(wrapped), nonce, {
      authTagLength: TAG_OCTETS,
    });
    decipher.setAAD(Buffer.from(context));
    decipher.setAuthTag(tag);
    try {
      return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
    } catch (error) {
      throw new Error('Wrapped secret was changed, or belongs to another context', { cause: error });
    }
  }
}

function parse(octets: Buffer): { wrapped: Buffer; nonce: Buffer; ciphertext: Buffer; tag: Buffer } {
  const start = 1 + LENGTH_OCTETS;
  if (octets.length < start || octets[0] !== VERSION) {
    throw new Error('Not a secret wrapped by Cloud KMS: was it made with other KEYS?');
  }
  const end = start + octets.readUInt16BE(1);
  if (end === start || end - start > MAX_WRAPPED_KEY || octets.length < end + NONCE_OCTETS + TAG_OCTETS) {
    throw new Error('Wrapped secret was cut short');
  }
  return {
    wrapped: octets.subarray(start, end),
    nonce: octets.subarray(end, end + NONCE_OCTETS),
    ciphertext: octets.subarray(end + NONCE_OCTETS, -TAG_OCTETS),
    tag: octets.subarray(-TAG_OCTETS),
  };
}
