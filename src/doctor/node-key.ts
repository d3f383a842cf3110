/**
 * The identity key of one of the doctor's own nodes: made for one examination and never stored.
 */
import { webcrypto } from 'node:crypto';
import { type RsaPublicKey, readRsaPublicKey } from '../awala/pki/rsa-public-key.ts';
import type { SigningKey } from '../awala/signing-key.ts';

export interface NodeKey {
  readonly signing: SigningKey;
  readonly publicKey: RsaPublicKey;
}

/** Makes an RSA-2048 key (RS-018). */
export async function newNodeKey(): Promise<NodeKey> {
  const crypto = webcrypto as Crypto;
  const pair = await crypto.subtle.generateKey(
    { name: 'RSA-PSS', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
    true,
    ['sign', 'verify'],
  );
  const spki = Buffer.from(await crypto.subtle.exportKey('spki', pair.publicKey));
  return { signing: { ...pair, crypto }, publicKey: readRsaPublicKey(spki) };
}
