/**
 * OriginatorPublicKey (RFC 5652, section 6.2.2): the sender's session key inside an EnvelopedData.
 *
 * `SEQUENCE { algorithm AlgorithmIdentifier, publicKey BIT STRING }`, which is a SubjectPublicKeyInfo under another name.
 */
import type { BerElement } from '../asn1/reader.ts';
import { CONSTRUCTED, Tag } from '../asn1/tags.ts';
import { octetAligned, oid, primitive, sequence } from '../asn1/writer.ts';
import { AwalaError } from '../errors.ts';
import { readSessionPublicKey, type SessionPublicKey } from '../session-key.ts';

const EC_PUBLIC_KEY = '1.2.840.10045.2.1';

/** The curves by the octets of an uncompressed point: when a key does not name its curve, its length does. */
const CURVE_BY_POINT_OCTETS: ReadonlyMap<number, string> = new Map([
  [65, '1.2.840.10045.3.1.7'],
  [97, '1.3.132.0.34'],
  [133, '1.3.132.0.35'],
]);

/**
 * Reads the key. Its parameters name the curve, or are absent or NULL (RFC 5753, section 3.1.1, and OpenSSL).
 *
 * @param element of type OriginatorPublicKey, whatever its tag
 * @throws AwalaError ASN1_*, KEY_UNSUPPORTED
 */
export function readOriginatorKey(element: BerElement): SessionPublicKey {
  const fields = element.children();
  const algorithm = fields.next(Tag.SEQUENCE).children();
  const point = fields.last(Tag.BIT_STRING).bitString();
  const identifier = algorithm.next(Tag.OID).objectIdentifier();
  if (identifier !== EC_PUBLIC_KEY) {
    throw new AwalaError('KEY_UNSUPPORTED', `Sender's key has algorithm ${identifier}, not an elliptic curve's`);
  }
  const params = algorithm.atEnd ? undefined : algorithm.last();
  const curve =
    params === undefined || params.tag === Tag.NULL
      ? CURVE_BY_POINT_OCTETS.get(point.length)
      : params.tag === Tag.OID
        ? params.objectIdentifier()
        : undefined;
  if (curve === undefined) {
    throw new AwalaError('KEY_UNSUPPORTED', "Sender's key is not on a named curve");
  }
  return readSessionPublicKey(
    sequence(sequence(oid(EC_PUBLIC_KEY), oid(curve)), primitive(Tag.BIT_STRING, octetAligned(point))),
  );
}

/**
 * Writes the key under an implicit tag.
 *
 * @param spki SubjectPublicKeyInfo, DER
 * @param tag with its constructed bit
 */
export function writeOriginatorKey(spki: Buffer, tag: number): Buffer {
  const element = Buffer.from(spki);
  element[0] = tag | CONSTRUCTED;
  return element;
}
