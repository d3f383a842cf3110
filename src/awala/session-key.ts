/**
 * Session keys (RS-003): elliptic-curve keys, each named by an id, with which messages are encrypted.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { type BerElement, readBer } from './asn1/reader.ts';
import { context, contextConstructed, Tag } from './asn1/tags.ts';
import { constructed, oid, primitive } from './asn1/writer.ts';
import { AwalaError } from './errors.ts';

/** The longest key id that is accepted; ours and those of deployed clients have 8 octets. */
export const MAX_KEY_ID_OCTETS = 64;

const EC_PUBLIC_KEY = oid('1.2.840.10045.2.1');

/** The curves that RS-018 allows, with the octets of an uncompressed point on each. */
const CURVES = [
  { name: 'P-256', oid: oid('1.2.840.10045.3.1.7'), pointOctets: 65 },
  { name: 'P-384', oid: oid('1.3.132.0.34'), pointOctets: 97 },
  { name: 'P-521', oid: oid('1.3.132.0.35'), pointOctets: 133 },
] as const;

const UNCOMPRESSED = 0x04;

export type SessionKeyCurve = (typeof CURVES)[number]['name'];

/** A key of our own. Those that we make are on P-256 (protocol section 1). */
export interface SessionKeyPair {
  /** 8 random octets. */
  readonly keyId: Buffer;
  /** PKCS#8, DER. */
  readonly privateKey: Buffer;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
}

/** What a peer is given: the public half and its id. */
export type PublicSessionKey = Omit<SessionKeyPair, 'privateKey'>;

/** The public half of a session key, checked: a point on a named curve. */
export interface SessionPublicKey {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer;
  readonly curve: SessionKeyCurve;
  readonly keyObject: KeyObject;
}

/** What stands before and after the private octets of a P-256 key, as OpenSSL writes it (RFC 5915 in PKCS#8). */
const P256_PKCS8_START = Buffer.from('308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420', 'hex');
const P256_PKCS8_MIDDLE = Buffer.from('a144034200', 'hex');
const P256_SPKI_START = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex');
const P256_PRIVATE_OCTETS = 32;

/**
 * The halves of a P-256 key in DER. Writing them takes OpenSSL three times as long as making the key.
 *
 * @param privateOctets big-endian, 32 octets at most
 * @param point uncompressed
 */
export function writeP256KeyPair(
  privateOctets: Buffer,
  point: Buffer,
): Pick<SessionKeyPair, 'privateKey' | 'publicKey'> {
  const leadingZeros = Buffer.alloc(P256_PRIVATE_OCTETS - privateOctets.length);
  return {
    privateKey: Buffer.concat([P256_PKCS8_START, leadingZeros, privateOctets, P256_PKCS8_MIDDLE, point]),
    publicKey: Buffer.concat([P256_SPKI_START, point]),
  };
}

/**
 * Reads a session key's public half.
 *
 * @param spki SubjectPublicKeyInfo of an EC key on P-256, P-384 or P-521, named by OID (RFC 5480), point uncompressed
 * @throws AwalaError KEY_UNSUPPORTED
 */
export function readSessionPublicKey(spki: Buffer): SessionPublicKey {
  try {
    const fields = readBer(spki, Tag.SEQUENCE).children();
    const algorithm = fields.next(Tag.SEQUENCE).children();
    const isElliptic = algorithm.next(Tag.OID).raw.equals(EC_PUBLIC_KEY);
    const named = algorithm.next(Tag.OID).raw;
    algorithm.finish();
    const [unusedBits, form, ...point] = fields.next(Tag.BIT_STRING).content;
    fields.finish();
    const curve = CURVES.find((known) => known.oid.equals(named));
    if (!isElliptic || !curve || unusedBits !== 0 || form !== UNCOMPRESSED || point.length + 1 !== curve.pointOctets) {
      throw new AwalaError('KEY_UNSUPPORTED', 'Session key is not a point on P-256, P-384 or P-521');
    }
    // OpenSSL refuses a point that is not on its curve.
    return { spki, curve: curve.name, keyObject: createPublicKey({ key: spki, format: 'der', type: 'spki' }) };
  } catch (error) {
    if (error instanceof AwalaError && error.code === 'KEY_UNSUPPORTED') {
      throw error;
    }
    throw new AwalaError('KEY_UNSUPPORTED', 'Session key is not an elliptic-curve public key', { cause: error });
  }
}

/** `SEQUENCE { [0] keyId, [1] SubjectPublicKeyInfo }`, both OCTET STRINGs, under context tag `number`. */
export function writePublicSessionKey(key: PublicSessionKey, number: number): Buffer {
  return constructed(
    contextConstructed(number),
    primitive(context(0), key.keyId),
    primitive(context(1), key.publicKey),
  );
}

/**
 * Reads what `writePublicSessionKey` wrote; further fields are passed over.
 *
 * @throws AwalaError ASN1_*, KEY_UNSUPPORTED
 */
export function readPublicSessionKey(element: BerElement): PublicSessionKey {
  const fields = element.children();
  const keyId = fields.string(context(0)).octets();
  if (keyId.length === 0 || keyId.length > MAX_KEY_ID_OCTETS) {
    throw new AwalaError('ASN1_MALFORMED', `Session key id has ${keyId.length} octets`);
  }
  const { spki } = readSessionPublicKey(fields.string(context(1)).octets());
  return { keyId, publicKey: spki };
}
