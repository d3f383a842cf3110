/**
 * Issues X.509 certificates as RS-002 profiles them (protocol section 2).
 */
import type { webcrypto } from 'node:crypto';
import { BmpString, Integer, OctetString } from 'asn1js';
import {
  AttributeTypeAndValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate as CertificateBuilder,
  CryptoEngine,
  Extension,
  type ICryptoEngine,
  PublicKeyInfo,
  RelativeDistinguishedNames,
  Time,
} from 'pkijs';
import { integer, sequence } from '../asn1/writer.ts';
import { AwalaError } from '../errors.ts';
import { Oid } from '../oids.ts';
import type { SigningKey } from '../signing-key.ts';
import { type Certificate, type PdaRateLimit, readCertificate } from './certificate.ts';
import type { RsaPublicKey } from './rsa-public-key.ts';

/** Octets that a serial number may have: 20 with the sign (RFC 5280, section 4.1.2.2). */
const MAX_SERIAL_NUMBER_OCTETS = 19;

/** From this year on a date is a GeneralizedTime, and from the other a UTCTime (RFC 5280, section 4.1.2.5). */
const FIRST_GENERALIZED_YEAR = 2050;
const FIRST_YEAR = 1950;

const UTC_TIME = 0;
const GENERALIZED_TIME = 1;

const X509_V3 = 2;

/** Who issues: a key that signs itself, or one with a certificate of its own. */
export type CertificateIssuer =
  | { readonly selfSignedWith: SigningKey }
  | { readonly key: SigningKey; readonly certificate: Certificate };

export interface CertificateRequest {
  readonly subjectPublicKey: RsaPublicKey;
  readonly issuer: CertificateIssuer;
  /** Milliseconds since the epoch, as is `notAfter`; both are written in whole seconds, rounded down. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly isCa: boolean;
  /** 2 for a gateway's self-issued certificate, 1 for one issued to a gateway, else 0. */
  readonly pathLength: number;
  /** Up to 19 octets, taken as a number that is not negative; unique among those of this issuer. */
  readonly serialNumber: Uint8Array;
  /** On a delivery authorization (PDA): how many parcels it allows. */
  readonly pdaRateLimit?: PdaRateLimit;
}

/**
 * Issues a certificate. Whether the issuer may do so by its own path length is not checked here.
 *
 * @throws AwalaError CERTIFICATE_MALFORMED when the certificate would start before or end after its issuer's, end
 *   before it starts, or have a serial number that is zero or too long; ALGORITHM_UNSUPPORTED
 */
export async function issueCertificate(request: CertificateRequest): Promise<Certificate> {
  checkDates(request);
  const { subjectPublicKey, issuer } = request;
  const isSelfSigned = 'selfSignedWith' in issuer;
  const key = isSelfSigned ? issuer.selfSignedWith : issuer.key;
  const issuerPublicKey = isSelfSigned ? subjectPublicKey : issuer.certificate.publicKey;
  const subject = nameOf(subjectPublicKey);
  const builder = new CertificateBuilder({
    version: X509_V3,
    serialNumber: serialNumber(request.serialNumber),
    issuer: isSelfSigned ? subject : subjectOf(issuer.certificate),
    notBefore: timeOf(request.notBefore),
    notAfter: timeOf(request.notAfter),
    subject,
    subjectPublicKeyInfo: PublicKeyInfo.fromBER(subjectPublicKey.spki),
    extensions: extensions(request, issuerPublicKey),
  });
  // The class lacks the newest methods of the interface, which signing has no use for.
  const engine = new CryptoEngine({ crypto: key.crypto }) as unknown as ICryptoEngine;
  const { hash } = key.privateKey.algorithm as webcrypto.RsaHashedKeyAlgorithm;
  await builder.sign(key.privateKey, hash.name, engine);
  const certificate = readCertificate(Buffer.from(builder.toSchema(true).toBER()));
  if (!certificate.isSignedBy(issuerPublicKey)) {
    throw new AwalaError('CERTIFICATE_SIGNATURE_INVALID', "Key that signs is not that of the issuer's certificate");
  }
  return certificate;
}

function checkDates({ issuer, notBefore, notAfter }: CertificateRequest): void {
  if (!(notBefore <= notAfter)) {
    throw refused('it would end before it starts');
  }
  if ('certificate' in issuer && wholeSecond(notBefore) < issuer.certificate.notBefore) {
    throw refused("it would start before its issuer's");
  }
  if ('certificate' in issuer && wholeSecond(notAfter) > issuer.certificate.notAfter) {
    throw refused("it would end after its issuer's");
  }
}

function serialNumber(octets: Uint8Array): Integer {
  const digits = Buffer.from(octets)
    .toString('hex')
    .replace(/^(00)+/, '');
  const magnitude = Buffer.from(digits, 'hex');
  if (magnitude.length === 0 || magnitude.length > MAX_SERIAL_NUMBER_OCTETS) {
    throw refused(`its serial number would not be of 1 to ${MAX_SERIAL_NUMBER_OCTETS} octets`);
  }
  const isNegative = (magnitude[0] as number) >= 0x80;
  return new Integer({ valueHex: isNegative ? Buffer.concat([Buffer.alloc(1), magnitude]) : magnitude });
}

/** One Common Name, the node id. A BMPString: with any other type Android refuses its own cargo. */
function nameOf(key: RsaPublicKey): RelativeDistinguishedNames {
  const commonName = new AttributeTypeAndValue({
    type: Oid.COMMON_NAME,
    value: new BmpString({ value: key.nodeId }),
  });
  return new RelativeDistinguishedNames({ typesAndValues: [commonName] });
}

/** The subject of a certificate in its very octets: paths are built by comparing names. */
function subjectOf(certificate: Certificate): RelativeDistinguishedNames {
  return CertificateBuilder.fromBER(certificate.raw).subject;
}

function timeOf(instant: number): Time {
  const value = new Date(wholeSecond(instant));
  if (!(value.getUTCFullYear() >= FIRST_YEAR && value.getUTCFullYear() <= 9999)) {
    throw refused(`its dates would not be in the years ${FIRST_YEAR} to 9999`);
  }
  return new Time({ type: value.getUTCFullYear() < FIRST_GENERALIZED_YEAR ? UTC_TIME : GENERALIZED_TIME, value });
}

function wholeSecond(instant: number): number {
  return Math.floor(instant / 1000) * 1000;
}

function extensions(request: CertificateRequest, issuerPublicKey: RsaPublicKey): Extension[] {
  const { isCa, pathLength, pdaRateLimit, subjectPublicKey } = request;
  const constraints = new BasicConstraints({ cA: isCa, pathLenConstraint: pathLength });
  const authorityKeyId = new AuthorityKeyIdentifier({
    keyIdentifier: new OctetString({ valueHex: issuerPublicKey.digest }),
  });
  const subjectKeyId = new OctetString({ valueHex: subjectPublicKey.digest });
  return [
    new Extension({ extnID: Oid.BASIC_CONSTRAINTS, critical: true, extnValue: constraints.toSchema().toBER() }),
    new Extension({ extnID: Oid.AUTHORITY_KEY_IDENTIFIER, extnValue: authorityKeyId.toSchema().toBER() }),
    new Extension({ extnID: Oid.SUBJECT_KEY_IDENTIFIER, extnValue: subjectKeyId.toBER() }),
    ...(pdaRateLimit ? [rateLimitExtension(pdaRateLimit)] : []),
  ];
}

function rateLimitExtension({ limit, periodMs }: PdaRateLimit): Extension {
  const value = sequence(integer(limit), integer(Math.ceil(periodMs / 1000)));
  return new Extension({ extnID: Oid.PDA_RATE_LIMIT, extnValue: Uint8Array.from(value).buffer });
}

function refused(reason: string): AwalaError {
  return new AwalaError('CERTIFICATE_MALFORMED', `Certificate cannot be issued: ${reason}`);
}
