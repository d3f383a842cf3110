/**
 * X.509 certificates as RS-002 profiles them: read once, kept with the bytes that were signed.
 */
import { type BerCursor, type BerElement, readBer } from '../asn1/reader.ts';
import { context, contextConstructed, Tag } from '../asn1/tags.ts';
import { readTime } from '../asn1/time.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { type CertificateExtensions, type PdaRateLimit, readExtensions } from './certificate-extensions.ts';
import { readCommonName } from './distinguished-name.ts';
import { type HashName, readSignatureAlgorithm } from './rsa-pss.ts';
import { publicKeyFrom, type RsaPublicKey } from './rsa-public-key.ts';

export type { PdaRateLimit } from './certificate-extensions.ts';

/** The longest certificate, in octets; one with a key of 4096 bits takes about 1,500. */
const MAX_CERTIFICATE_LENGTH = 16_384;

/** The longest serial number, in octets (RFC 5280, section 4.1.2.2, allows 20). */
const MAX_SERIAL_NUMBER_LENGTH = 32;

const VERSION_3 = 2;

/** What a certificate's bytes say. */
interface CertificateFields extends CertificateExtensions {
  readonly serialNumberField: Buffer;
  readonly issuerName: Buffer;
  readonly serialNumber: string;
  readonly subjectId: string;
  readonly issuerId: string;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: RsaPublicKey;
}

/** What the issuer signed, and how. */
interface IssuerSignature {
  readonly hash: HashName;
  readonly signed: Buffer;
  readonly signature: Buffer;
}

export class Certificate {
  /** The exact bytes that were read. */
  readonly raw: Buffer;
  /** Lower-case hexadecimal of the INTEGER's octets in their shortest form; unique to an issuer. */
  readonly serialNumber: string;
  /** The serial number's whole INTEGER, as it came. */
  readonly serialNumberField: Buffer;
  /** The issuer's whole Name, as it came. */
  readonly issuerName: Buffer;
  /** Node id of the subject; always the one that `publicKey` gives. */
  readonly subjectId: string;
  /** Node id of the issuer, as the certificate tells it. */
  readonly issuerId: string;
  /** First instant of validity, in ms since 1970. */
  readonly notBefore: number;
  /** Last instant of validity, in ms since 1970. */
  readonly notAfter: number;
  /** The subject's. */
  readonly publicKey: RsaPublicKey;
  /** Whether the subject may issue certificates. */
  readonly isCa: boolean;
  /** How many certificates may stand between one that the subject issues and the leaf; unbounded when absent. */
  readonly pathLength?: number;
  /** On a delivery authorization (PDA): how many parcels it allows. */
  readonly pdaRateLimit?: PdaRateLimit;
  /** What the issuer signed, and how. */
  readonly issuerSignature: IssuerSignature;
  /** The node id whose key the signature was checked with, and the result: neither can change any more. */
  private checked: { readonly issuerId: string; readonly valid: boolean } | undefined;

  constructor(raw: Buffer, fields: CertificateFields, issuerSignature: IssuerSignature) {
    this.raw = raw;
    this.serialNumber = fields.serialNumber;
    this.serialNumberField = fields.serialNumberField;
    this.issuerName = fields.issuerName;
    this.subjectId = fields.subjectId;
    this.issuerId = fields.issuerId;
    this.notBefore = fields.notBefore;
    this.notAfter = fields.notAfter;
    this.publicKey = fields.publicKey;
    this.isCa = fields.isCa;
    if (fields.pathLength !== undefined) {
      this.pathLength = fields.pathLength;
    }
    if (fields.pdaRateLimit) {
      this.pdaRateLimit = fields.pdaRateLimit;
    }
    this.issuerSignature = issuerSignature;
  }

  get isSelfIssued(): boolean {
    return this.subjectId === this.issuerId;
  }

  /** Whether this certificate names the holder of `key` as its issuer and carries that key's signature. Checked once. */
  isSignedBy(key: RsaPublicKey): boolean {
    if (this.issuerId !== key.nodeId) {
      return false;
    }
    // A node id stands for one key only, so that the result holds for whichever certificate brought the key.
    if (this.checked?.issuerId !== key.nodeId) {
      const { hash, signed, signature } = this.issuerSignature;
      this.checked = { issuerId: key.nodeId, valid: key.verify(hash, signed, signature) };
    }
    return this.checked.valid;
  }

  /**
   * Checks the dates.
   *
   * @param drift how far the clocks may differ, in ms
   * @throws AwalaError CERTIFICATE_NOT_YET_VALID, CERTIFICATE_EXPIRED
   */
  checkDates(now: number, drift: number): void {
    if (now + drift < this.notBefore) {
      throw new AwalaError(
        'CERTIFICATE_NOT_YET_VALID',
        `Certificate of ${this.subjectId} is valid only from ${new Date(this.notBefore).toISOString()}`,
      );
    }
    if (this.notAfter < now - drift) {
      throw new AwalaError(
        'CERTIFICATE_EXPIRED',
        `Certificate of ${this.subjectId} expired on ${new Date(this.notAfter).toISOString()}`,
      );
    }
  }
}

/**
 * Reads a certificate; its signature and dates are not checked yet.
 *
 * @param bytes DER; kept, not copied
 * @throws AwalaError CERTIFICATE_MALFORMED, KEY_UNSUPPORTED, ALGORITHM_UNSUPPORTED, ASN1_TOO_COMPLEX
 */
export function readCertificate(bytes: Buffer): Certificate {
  if (bytes.length > MAX_CERTIFICATE_LENGTH) {
    throw malformed(`it is longer than ${MAX_CERTIFICATE_LENGTH} octets`);
  }
  return refusingAs('CERTIFICATE_MALFORMED', 'Certificate', () => {
    const outer = readBer(bytes).sequence();
    const signedPart = outer.next(Tag.SEQUENCE);
    const algorithm = outer.next(Tag.SEQUENCE);
    const signature = outer.next(Tag.BIT_STRING).bitString();
    outer.finish();
    const fields = readFields(signedPart.children(), algorithm);
    return new Certificate(bytes, fields, {
      hash: readSignatureAlgorithm(algorithm),
      signed: signedPart.raw,
      signature,
    });
  });
}

/** TBSCertificate (RFC 5280, section 4.1). */
function readFields(fields: BerCursor, algorithm: BerElement): CertificateFields {
  const version = fields.optional(contextConstructed(0))?.only(Tag.INTEGER).unsigned() ?? 0;
  if (version !== VERSION_3) {
    throw malformed('it is not X.509 version 3');
  }
  const serialNumberField = fields.next(Tag.INTEGER);
  const serialNumber = serialNumberField.integerOctets();
  if (serialNumber.length > MAX_SERIAL_NUMBER_LENGTH) {
    throw malformed(`its serial number is longer than ${MAX_SERIAL_NUMBER_LENGTH} octets`);
  }
  if (!fields.next(Tag.SEQUENCE).equals(algorithm.raw)) {
    throw malformed('its two signature algorithms differ');
  }
  const issuerName = fields.next();
  const issuerId = readCommonName(issuerName);
  const validity = fields.next().sequence();
  const notBefore = readTime(validity.next());
  const notAfter = readTime(validity.next());
  validity.finish();
  if (notAfter < notBefore) {
    throw malformed('it ends before it starts');
  }
  const subjectId = readCommonName(fields.next());
  const publicKey = publicKeyFrom(fields.next());
  // Unique identifiers, which nobody uses and which say nothing here.
  fields.optional(context(1));
  fields.optional(context(2));
  const extensions = readExtensions(fields.next(contextConstructed(3)).only());
  fields.finish();

  checkIds(issuerId, subjectId, publicKey, extensions);
  return {
    ...extensions,
    serialNumber: serialNumber.toString('hex'),
    serialNumberField: serialNumberField.raw,
    issuerName: issuerName.raw,
    subjectId,
    issuerId,
    notBefore,
    notAfter,
    publicKey,
  };
}

/** Names and key identifiers must be those of the keys: paths are built by them (RS-002). */
function checkIds(issuerId: string, subjectId: string, key: RsaPublicKey, extensions: CertificateExtensions): void {
  if (subjectId !== key.nodeId) {
    throw malformed('its subject is not the node id of its key');
  }
  if (!extensions.subjectKeyId?.equals(key.digest)) {
    throw malformed('its Subject Key Identifier is missing or not the digest of its key');
  }
  const { authorityKeyId } = extensions;
  if (authorityKeyId ? issuerId !== `0${authorityKeyId.toString('hex')}` : issuerId !== subjectId) {
    throw malformed('its Authority Key Identifier is missing or not that of its issuer');
  }
}

function malformed(reason: string): AwalaError {
  return new AwalaError('CERTIFICATE_MALFORMED', `Certificate: ${reason}`);
}
