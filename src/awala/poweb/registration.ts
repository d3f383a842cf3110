/**
 * Private node registration (PNR; RS-000, protocol section 7): what a gateway gives a private node that registered.
 *
 * `SEQUENCE { [0] node's certificate, [1] gateway's certificate, [2] Internet address VisibleString,
 * [3] SEQUENCE { [0] session key id, [1] session key } }`, certificates and keys as OCTET STRINGs
 */
import { readBer } from '../asn1/reader.ts';
import { context, contextConstructed, Tag } from '../asn1/tags.ts';
import { readVisibleString } from '../asn1/values.ts';
import { primitive, sequence, visibleString } from '../asn1/writer.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { isInternetAddress, MAX_INTERNET_ADDRESS_LENGTH } from '../internet-address.ts';
import { type Certificate, readCertificate } from '../pki/certificate.ts';
import { type PublicSessionKey, readPublicSessionKey, writePublicSessionKey } from '../session-key.ts';

/** The largest registration that is read; ours take about 3,000 octets with RSA 4096 keys. */
export const MAX_REGISTRATION_OCTETS = 64 * 1024;

export interface Registration {
  /** Issued to the private node, by `gatewayCertificate`. */
  readonly nodeCertificate: Certificate;
  readonly gatewayCertificate: Certificate;
  /** Of the Internet gateway. */
  readonly internetAddress: string;
  /** For messages to the Internet gateway; private gateways give none to their endpoints. */
  readonly sessionKey?: PublicSessionKey;
}

/** Serializes a registration, DER. */
export function writeRegistration(registration: Registration): Buffer {
  const { nodeCertificate, gatewayCertificate, internetAddress, sessionKey } = registration;
  return sequence(
    primitive(context(0), nodeCertificate.raw),
    primitive(context(1), gatewayCertificate.raw),
    visibleString(internetAddress, context(2)),
    ...(sessionKey ? [writePublicSessionKey(sessionKey, 3)] : []),
  );
}

/**
 * Reads a registration. The certificates are read, and not verified: who registers with a gateway trusts it.
 *
 * @throws AwalaError REGISTRATION_MALFORMED, CERTIFICATE_MALFORMED, KEY_UNSUPPORTED, ALGORITHM_UNSUPPORTED,
 *   ASN1_TOO_COMPLEX
 */
export function readRegistration(bytes: Buffer): Registration {
  if (bytes.length > MAX_REGISTRATION_OCTETS) {
    throw new AwalaError('REGISTRATION_MALFORMED', `Registration is larger than ${MAX_REGISTRATION_OCTETS} octets`);
  }
  return refusingAs('REGISTRATION_MALFORMED', 'Registration', () => {
    const fields = readBer(bytes, Tag.SEQUENCE).children();
    const nodeCertificate = readCertificate(fields.string(context(0)).octets());
    const gatewayCertificate = readCertificate(fields.string(context(1)).octets());
    const internetAddress = readVisibleString(fields.string(context(2)), MAX_INTERNET_ADDRESS_LENGTH);
    if (!isInternetAddress(internetAddress)) {
      throw new AwalaError('REGISTRATION_MALFORMED', `"${internetAddress}" is not a domain name`);
    }
    const sessionKey = fields.optional(contextConstructed(3));
    return {
      nodeCertificate,
      gatewayCertificate,
      internetAddress,
      ...(sessionKey && { sessionKey: readPublicSessionKey(sessionKey) }),
    };
  });
}
