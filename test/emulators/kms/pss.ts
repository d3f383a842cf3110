/** EMSA-PSS (RFC 8017, section 9.1.1), since KMS signs digests, and Node only what it hashes itself. */
import { constants, createHash, type KeyObject, privateDecrypt, randomBytes } from 'node:crypto';

/** @param digest by `hash`; the salt is as long, MGF1 uses the same hash */
export function signDigest(digest: Buffer, privateKey: KeyObject, hash: 'sha256' | 'sha512'): Buffer {
  const octets = (privateKey.asymmetricKeyDetails?.modulusLength as number) / 8;
  const salt = randomBytes(digest.length);
  const h = hashOf(hash, Buffer.alloc(8), digest, salt);
  const block = Buffer.alloc(octets - digest.length - 1);
  block.writeUInt8(1, block.length - salt.length - 1);
  salt.copy(block, block.length - salt.length);
  const mask = mgf1(h, block.length, hash);
  const masked = Buffer.from(block.map((octet, index) => octet ^ (mask[index] as number)));
  // The encoded message has one bit less than the modulus.
  masked.writeUInt8(masked.readUInt8() & 0x7f);
  const encoded = Buffer.concat([masked, h, Buffer.of(0xbc)]);
  return privateDecrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, encoded);
}

/** RFC 8017, appendix B.2.1. */
function mgf1(seed: Buffer, length: number, hash: string): Buffer {
  const blocks: Buffer[] = [];
  for (let counter = 0; Buffer.concat(blocks).length < length; counter++) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(counter);
    blocks.push(hashOf(hash, seed, number));
  }
  return Buffer.concat(blocks).subarray(0, length);
}

function hashOf(name: string, ...parts: Buffer[]): Buffer {
  const hash = createHash(name);
  for (const part of parts) {
    hash.update(part);
  }
  return hash.digest();
}
