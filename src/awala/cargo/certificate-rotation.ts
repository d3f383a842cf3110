/**
 * Certificate rotation (RS-002, protocol sections 1 and 6): brings a private gateway its next certificate.
 *
 * The prefix of type `10`, then `SEQUENCE { [0] leaf, [1] CAs }`, in one of two forms of which each deployed stack reads
 * its own only and skips the other.
 */
import { type BerElement, readBer } from '../asn1/reader.ts';
import { CONSTRUCTED, context, contextConstructed, Tag } from '../asn1/tags.ts';
import { constructed, octetString, primitive, sequence } from '../asn1/writer.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { ControlType, MESSAGE_PREFIX_OCTETS, messagePrefix, messageType } from '../message-prefix.ts';
import { type Certificate, readCertificate } from '../pki/certificate.ts';

const PREFIX = messagePrefix(ControlType.CERTIFICATE_ROTATION);

/** The most CAs in one that is read. */
const MAX_AUTHORITIES = 16;

/** How certificates are put into the message. */
export type CertificateRotationForm =
  /** As OCTET STRINGs: the specification and the JavaScript stack. */
  | 'octet-strings'
  /** As themselves, the leaf under an implicit tag: the Kotlin stack. */
  | 'certificates';

export interface CertificateRotation {
  /** The new certificate. */
  readonly leaf: Certificate;
  /** The rest of its path, its issuer first. */
  readonly authorities: readonly Certificate[];
}

/** Serializes a rotation: the prefix and DER. A peer whose stack is not known is sent both forms. */
export function writeCertificateRotation(rotation: CertificateRotation, form: CertificateRotationForm): Buffer {
  const leaf = rotation.leaf.raw;
  const authorities = rotation.authorities.map(({ raw }) => raw);
  const path =
    form === 'octet-strings'
      ? sequence(primitive(context(0), leaf), constructed(contextConstructed(1), ...authorities.map(octetString)))
      : sequence(retagged(leaf, contextConstructed(0)), constructed(contextConstructed(1), ...authorities));
  return Buffer.concat([PREFIX, path]);
}

/**
 * Reads a rotation in either form; nothing in it is verified yet.
 *
 * @throws AwalaError CERTIFICATE_ROTATION_MALFORMED, ASN1_TOO_COMPLEX, or as `readCertificate`
 */
export function readCertificateRotation(bytes: Buffer): CertificateRotation {
  if (messageType(bytes) !== ControlType.CERTIFICATE_ROTATION) {
    throw new AwalaError('CERTIFICATE_ROTATION_MALFORMED', 'Message is not a certificate rotation');
  }
  const [leaf, ...authorities] = refusingAs('CERTIFICATE_ROTATION_MALFORMED', 'Certificate rotation', () => {
    const fields = readBer(bytes.subarray(MESSAGE_PREFIX_OCTETS), Tag.SEQUENCE).children();
    const certificates = [leafOctets(fields.string(context(0)))];
    const rest = fields.next(contextConstructed(1)).children();
    while (!rest.atEnd) {
      if (certificates.length > MAX_AUTHORITIES) {
        throw new AwalaError('CERTIFICATE_ROTATION_MALFORMED', `Certificate rotation has over ${MAX_AUTHORITIES} CAs`);
      }
      certificates.push(rest.tag === Tag.SEQUENCE ? rest.next().raw : rest.string(Tag.OCTET_STRING).octets());
    }
    return certificates as [Buffer, ...Buffer[]];
  });
  return { leaf: readCertificate(leaf), authorities: authorities.map((certificate) => readCertificate(certificate)) };
}

/**
 * The leaf in either form. A constructed `[0]` is a certificate under an implicit tag, or an OCTET STRING in segments:
 * the one starts with a SEQUENCE, the other with an OCTET STRING.
 */
function leafOctets(element: BerElement): Buffer {
  return element.isConstructed && element.children().tag === Tag.SEQUENCE
    ? retagged(element.raw, Tag.SEQUENCE)
    : element.octets();
}

/** A copy of a constructed element under another implicit tag. */
function retagged(element: Buffer, tag: number): Buffer {
  const copy = Buffer.from(element);
  copy[0] = tag | CONSTRUCTED;
  return copy;
}
