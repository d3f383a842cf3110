/**
 * Distinguished names: in this PKI, one Common Name that holds a node id (RS-002).
 */
import type { BerElement } from '../asn1/reader.ts';
import { Tag } from '../asn1/tags.ts';
import { oid } from '../asn1/writer.ts';
import { AwalaError } from '../errors.ts';
import { Oid } from '../oids.ts';

const COMMON_NAME = oid(Oid.COMMON_NAME);

/** The longest Common Name, in octets: a node id of 65 characters takes 260 as a UniversalString. */
const MAX_LENGTH = 260;

/**
 * Reads the Common Name of a Name that has nothing else, in any type of DirectoryString (RFC 5280, section 4.1.2.4).
 *
 * @throws AwalaError CERTIFICATE_MALFORMED, ASN1_MALFORMED
 */
export function readCommonName(name: BerElement): string {
  const attribute = name.sequence().last(Tag.SET).only(Tag.SEQUENCE).children();
  if (!attribute.next(Tag.OID).equals(COMMON_NAME)) {
    throw malformed('it is not a Common Name');
  }
  const value = attribute.next();
  attribute.finish();
  const { content } = value;
  if (content.length > MAX_LENGTH) {
    throw malformed('it is too long for a node id');
  }
  switch (value.tag) {
    case Tag.BMP_STRING:
      return wide(content, 2);
    case Tag.UNIVERSAL_STRING:
      return wide(content, 4);
    case Tag.UTF8_STRING:
    case Tag.PRINTABLE_STRING:
    case Tag.TELETEX_STRING:
      return content.toString('latin1');
    default:
      throw malformed('its type is not a directory string');
  }
}

/** Text in characters of `width` octets each, big-endian. Node ids are ASCII, so that only the last octet counts. */
function wide(content: Buffer, width: number): string {
  if (content.length % width !== 0) {
    throw malformed('it has half a character');
  }
  const text = Buffer.allocUnsafe(content.length / width);
  let high = 0;
  for (let at = 0, i = 0; at < content.length; at++, i++) {
    for (const last = at + width - 1; at < last; at++) {
      high |= content[at] as number;
    }
    text[i] = content[at] as number;
  }
  if (high !== 0) {
    throw malformed('it is not a node id');
  }
  return text.toString('latin1');
}

function malformed(reason: string): AwalaError {
  return new AwalaError('CERTIFICATE_MALFORMED', `Distinguished name: ${reason}`);
}
