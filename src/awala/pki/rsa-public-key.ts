/**
 * The public half of a node's identity key: an RSA key, which the node id is made of (RS-002, RS-018).
 */
import { constants, createPublicKey, hash as digestOf, type KeyObject, verify } from 'node:crypto';
import { type BerCursor, type BerElement, readBer } from '../asn1/reader.ts';
import { Tag } from '../asn1/tags.ts';
import { oid, primitive, sequence } from '../asn1/writer.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { Oid } from '../oids.ts';
import { HASH_LENGTH, type HashName } from './rsa-pss.ts';

/** Bits that a modulus may have (RS-018). */
const ALLOWED_BITS: readonly number[] = [2048, 3072, 4096];

/** Longest public exponent, in octets: a longer one would only make each verification cost more. */
const MAX_EXPONENT_LENGTH = 4;

const RSA_ALGORITHM = sequence(oid(Oid.RSA_ENCRYPTION), primitive(Tag.NULL, Buffer.alloc(0)));

export class RsaPublicKey {
  /** DER of the SubjectPublicKeyInfo. */
  readonly spki: Buffer;
  /** SHA-256 of `spki`, 32 octets: the key identifier in certificates. */
  readonly digest: Buffer;
  /** `0` and the digest in lower-case hexadecimal (RS-000). */
  readonly nodeId: string;
  /** 2048, 3072 or 4096. */
  readonly bits: number;
  private readonly modulus: Buffer;
  private readonly exponent: Buffer;
  private imported: KeyObject | undefined;

  constructor(spki: Buffer, modulus: Buffer, exponent: Buffer) {
    this.spki = spki;
    this.digest = digestOf('sha256', spki, 'buffer');
    this.nodeId = `0${this.digest.toString('hex')}`;
    this.bits = modulus.length * 8;
    this.modulus = modulus;
    this.exponent = exponent;
  }

  /** The key for `node:crypto`, imported when first used. */
  get keyObject(): KeyObject {
    // A JWK, because importing one takes half the time that DER takes.
    this.imported ??= createPublicKey({
      format: 'jwk',
      key: { kty: 'RSA', n: this.modulus.toString('base64url'), e: this.exponent.toString('base64url') },
    });
    return this.imported;
  }

  /** Whether `signature` is this key's RSA-PSS signature over `data`. */
  verify(hash: HashName, data: Buffer, signature: Buffer): boolean {
    return verify(
      hash,
      data,
      { key: this.keyObject, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: HASH_LENGTH[hash] },
      signature,
    );
  }

  /** Whether the two are the same key. */
  equals(other: RsaPublicKey): boolean {
    return this === other || this.nodeId === other.nodeId;
  }
}

/**
 * Reads a public key from its DER SubjectPublicKeyInfo.
 *
 * The algorithm must be rsaEncryption. The same key under id-RSASSA-PSS, or in BER that is not DER, would have another
 * node id, so that one key could pass for two nodes; no deployed client writes either, and both are refused.
 *
 * @param spki kept, not copied
 * @throws AwalaError KEY_UNSUPPORTED, ASN1_TOO_COMPLEX
 */
export function readRsaPublicKey(spki: Buffer): RsaPublicKey {
  return refusingAs('KEY_UNSUPPORTED', 'Public key', () => publicKeyFrom(readBer(spki)));
}

/** As `readRsaPublicKey`, of an element of a larger document. */
export function publicKeyFrom(element: BerElement): RsaPublicKey {
  const fields = element.sequence();
  const algorithm = fields.next(Tag.SEQUENCE);
  const bits = fields.next(Tag.BIT_STRING);
  fields.finish();
  if (!algorithm.equals(RSA_ALGORITHM)) {
    throw new AwalaError('KEY_UNSUPPORTED', 'Public key is not marked as rsaEncryption');
  }
  const numbers = readBer(bits.bitString(), Tag.SEQUENCE);
  const [modulus, exponent] = readNumbers(numbers.children());
  if (![element, bits, numbers].every(({ hasDerHeader }) => hasDerHeader)) {
    throw notDer();
  }
  checkNumbers(modulus, exponent);
  return new RsaPublicKey(element.raw, modulus, exponent);
}

/** Modulus and public exponent. */
function readNumbers(fields: BerCursor): [Buffer, Buffer] {
  const modulus = fields.next(Tag.INTEGER);
  const exponent = fields.last(Tag.INTEGER);
  for (const number of [modulus, exponent]) {
    if (!number.hasDerHeader || number.contentLength !== number.integerOctets().length) {
      throw notDer();
    }
  }
  return [modulus.unsignedOctets(), exponent.unsignedOctets()];
}

function checkNumbers(modulus: Buffer, exponent: Buffer): void {
  const [highest = 0] = modulus;
  const bits = modulus.length * 8;
  if (!ALLOWED_BITS.includes(bits) || highest < 0x80) {
    const actual = bits - (Math.clz32(highest) - 24);
    throw new AwalaError('KEY_UNSUPPORTED', `RSA key has ${actual} bits instead of ${ALLOWED_BITS.join(', ')}`);
  }
  if (exponent.length > MAX_EXPONENT_LENGTH) {
    throw new AwalaError('KEY_UNSUPPORTED', `RSA public exponent is longer than ${MAX_EXPONENT_LENGTH} octets`);
  }
  const isOdd = ((modulus.at(-1) as number) & (exponent.at(-1) ?? 0) & 1) === 1;
  if (!isOdd || (exponent.length === 1 && exponent[0] === 1)) {
    throw new AwalaError('KEY_UNSUPPORTED', 'RSA modulus and public exponent must be odd, and the exponent over 1');
  }
}

function notDer(): AwalaError {
  return new AwalaError('KEY_UNSUPPORTED', 'Public key is not DER');
}
