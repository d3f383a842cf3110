/**
 * Encrypts small secrets at rest under the master key of the data directory: AES-256-GCM, tied to their context.
 */

import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { KeyWrapping, Random } from '../../gateway/ports.ts';

/** The first octet of what is wrapped, so that another way of wrapping can be told from this. */
const VERSION = 1;
const NONCE_OCTETS = 12;
const TAG_OCTETS = 16;
const CIPHER = 'aes-256-gcm';

export class LocalKeyWrapping implements KeyWrapping {
  private readonly masterKey: Buffer;
  private readonly random: Random;

  /** @param masterKey 32 octets */
  constructor(masterKey: Buffer, random: Random) {
    this.masterKey = masterKey;
    this.random = random;
  }

  /** `version (1) | nonce (12) | ciphertext | tag (16)` */
  async wrap(secret: Uint8Array, context: string): Promise<Buffer> {
    const nonce = this.random(NONCE_OCTETS);
    const cipher = createCipheriv(CIPHER, this.masterKey, nonce);
    cipher.setAAD(Buffer.from(context));
    const ciphertext = Buffer.concat([cipher.update(secret), cipher.final()]);
    return Buffer.concat([Buffer.of(VERSION), nonce, ciphertext, cipher.getAuthTag()]);
  }

  async unwrap(wrapped: Uint8Array, context: string): Promise<Buffer> {
    const octets = Buffer.from(wrapped.buffer, wrapped.byteOffset, wrapped.byteLength);
    if (octets.length < 1 + NONCE_OCTETS + TAG_OCTETS || octets[0] !== VERSION) {
      throw new Error('Not a wrapped secret');
    }
    const decipher = createDecipheriv(CIPHER, this.masterKey, octets.subarray(1, 1 + NONCE_OCTETS), {
      authTagLength: TAG_OCTETS,
    });
    decipher.setAAD(Buffer.from(context));
    decipher.setAuthTag(octets.subarray(-TAG_OCTETS));
    try {
      return Buffer.concat([decipher.update(octets.subarray(1 + NONCE_OCTETS, -TAG_OCTETS)), decipher.final()]);
    } catch (error) {
      throw new Error('Wrapped secret was changed, or belongs to another context or key', { cause: error });
    }
  }
}
