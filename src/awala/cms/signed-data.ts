/**
 * CMS SignedData (RFC 5652) with one signer, as RAMF and the PoWeb signatures use it: read, and verified.
 *
 * BER is read, since Kotlin clients send it; what must be DER to be verified (certificates, signed attributes) is
 * verified as the bytes that came.
 */
import { createHash, hash as digestOf } from 'node:crypto';
import { type BerCursor, type BerElement, readBer } from '../asn1/reader.ts';
import { context, contextConstructed, Tag } from '../asn1/tags.ts';
import { oid } from '../asn1/writer.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { Oid } from '../oids.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { CertificateCache } from '../pki/certificate-cache.ts';
import { readCommonName } from '../pki/distinguished-name.ts';
import { type HashName, readHashAlgorithm, readSignatureAlgorithm } from '../pki/rsa-pss.ts';

/** The most certificates in one SignedData: a path of four, repeats and strangers. Bounds the work of path building. */
export const MAX_CERTIFICATES = 32;

/** The most signed attributes: contentType, messageDigest and signingTime are all that clients send. */
const MAX_ATTRIBUTES = 16;

const DATA = oid(Oid.DATA);
const SIGNED_DATA = oid(Oid.SIGNED_DATA);
const CONTENT_TYPE = oid(Oid.CONTENT_TYPE);
const MESSAGE_DIGEST = oid(Oid.MESSAGE_DIGEST);

/** SignedData that was read; its signature is not verified yet. */
export interface SignedData {
  /** The content inside, as the segments that it came in; absent when it is detached. */
  readonly content?: readonly Buffer[];
  /** Those that could be read, in the order that they came in; without repeats. */
  readonly certificates: readonly Certificate[];
  /** The signer's: one of `certificates`. */
  readonly signer: Certificate;
  /** Where the certificates were looked up. */
  readonly cache: CertificateCache;
  readonly signature: SignerSignature;
}

/** What the signer signed, and how. */
interface SignerSignature {
  readonly contentHash: HashName;
  readonly contentDigest: Buffer;
  /** Signed attributes, under the tag that they were signed with. */
  readonly signed: Buffer;
  readonly hash: HashName;
  readonly octets: Buffer;
}

/**
 * Reads a ContentInfo that holds SignedData.
 *
 * @param bytes kept, not copied
 * @throws AwalaError SIGNED_DATA_MALFORMED, ALGORITHM_UNSUPPORTED, ASN1_TOO_COMPLEX; or why the signer's certificate
 *   could not be read
 */
export function readSignedData(bytes: Buffer, cache: CertificateCache): SignedData {
  return refusingAs('SIGNED_DATA_MALFORMED', 'SignedData', () => {
    const contentInfo = readBer(bytes).sequence();
    if (!contentInfo.next(Tag.OID).equals(SIGNED_DATA)) {
      throw malformed('content type is another');
    }
    const fields = contentInfo.last(contextConstructed(0)).only().sequence();
    fields.next(Tag.INTEGER).unsigned();
    fields.next(Tag.SET);
    const content = readEncapsulatedContent(fields.next());
    const certificates = readCertificates(fields.optional(contextConstructed(0)), cache);
    // Revocation lists, which are not used (RS-002).
    fields.optional(contextConstructed(1));
    const signers = fields.last(Tag.SET).children();
    if (signers.atEnd) {
      throw malformed('there is no signer');
    }
    const { identifier, signature } = readSignerInfo(signers.last());
    const signer = findSigner(identifier, certificates);
    return { ...(content && { content }), certificates: certificates.read, signer, cache, signature };
  });
}

/**
 * Verifies the signature by the signer's certificate. Whether that certificate is to be trusted is another question:
 * see `certification-path.ts`.
 *
 * @param content what was signed, in segments; needed when it is detached
 * @returns the signer's certificate
 * @throws AwalaError SIGNATURE_INVALID; SIGNED_DATA_MALFORMED when the content is both inside and given, or neither
 */
export function verifySignedData(signedData: SignedData, content?: readonly Buffer[]): Certificate {
  const segments = content ?? signedData.content;
  if (!segments || (content && signedData.content)) {
    throw malformed(segments ? 'content is inside where it should be detached' : 'content is missing');
  }
  const { signer, signature } = signedData;
  if (!digest(signature.contentHash, segments).equals(signature.contentDigest)) {
    throw new AwalaError('SIGNATURE_INVALID', 'Content is not what was signed: its digest is another');
  }
  if (!signer.publicKey.verify(signature.hash, signature.signed, signature.octets)) {
    throw new AwalaError('SIGNATURE_INVALID', `Signature is not by the key of ${signer.subjectId}`);
  }
  return signer;
}

/** EncapsulatedContentInfo: `SEQUENCE { eContentType, [0] EXPLICIT OCTET STRING OPTIONAL }`. */
function readEncapsulatedContent(element: BerElement): Buffer[] | undefined {
  const fields = element.sequence();
  if (!fields.next(Tag.OID).equals(DATA)) {
    throw malformed('type of the content is not id-data');
  }
  if (fields.atEnd) {
    return undefined;
  }
  const explicit = fields.last(contextConstructed(0)).children();
  const segments = explicit.string(Tag.OCTET_STRING).segments();
  explicit.finish();
  return segments;
}

interface ReadCertificates {
  readonly read: readonly Certificate[];
  /** Why the first of those that could not be read was refused. */
  readonly refusal: AwalaError | undefined;
}

function readCertificates(set: BerElement | undefined, cache: CertificateCache): ReadCertificates {
  const read: Certificate[] = [];
  let refusal: AwalaError | undefined;
  let count = 0;
  for (const cursor = set?.children(); cursor && !cursor.atEnd; ) {
    const element = cursor.next();
    if (++count > MAX_CERTIFICATES) {
      throw malformed(`there are more than ${MAX_CERTIFICATES} certificates`);
    }
    const { raw } = element;
    if (read.some((known) => known.raw.equals(raw))) {
      continue;
    }
    try {
      read.push(cache.read(raw));
    } catch (error) {
      // A stranger's, perhaps: it matters only if it turns out to be the signer's.
      if (!(error instanceof AwalaError)) {
        throw error;
      }
      refusal ??= error;
    }
  }
  return { read, refusal };
}

/** Tells whether a certificate is the one that a SignerInfo names. */
type SignerIdentifier = (certificate: Certificate) => boolean;

function readSignerInfo(element: BerElement): { identifier: SignerIdentifier; signature: SignerSignature } {
  const fields = element.sequence();
  fields.next(Tag.INTEGER).unsigned();
  const identifier = readSignerIdentifier(fields);
  const contentHash = readHashAlgorithm(fields.next());
  const attributes = fields.optional(contextConstructed(0));
  if (!attributes) {
    // Without them, a signature over some content would also pass for one over attributes that look like that content.
    throw malformed('there are no signed attributes');
  }
  const contentDigest = readSignedAttributes(attributes);
  const hash = readSignatureAlgorithm(fields.next());
  const octets = fields.string(Tag.OCTET_STRING).octets();
  // Unsigned attributes.
  fields.optional(contextConstructed(1));
  fields.finish();
  return { identifier, signature: { contentHash, contentDigest, signed: asSet(attributes), hash, octets } };
}

/** IssuerAndSerialNumber, or `[0]` the subject's key identifier. */
function readSignerIdentifier(fields: BerCursor): SignerIdentifier {
  const keyId = fields.optional(context(0))?.content;
  if (keyId) {
    return (certificate) => certificate.publicKey.digest.equals(keyId);
  }
  const issuerAndSerial = fields.next().sequence();
  const issuer = issuerAndSerial.next();
  const serial = issuerAndSerial.last(Tag.INTEGER);
  let serialNumber: string | undefined;
  const hasSerial = (certificate: Certificate) => {
    if (serial.equals(certificate.serialNumberField)) {
      return true;
    }
    serialNumber ??= serial.integerOctets().toString('hex');
    return certificate.serialNumber === serialNumber;
  };
  return (certificate) =>
    hasSerial(certificate) &&
    // The same name may come in another string type.
    (issuer.equals(certificate.issuerName) || certificate.issuerId === readCommonName(issuer));
}

/** Reads the signed attributes (RFC 5652, section 11) and gives the content's digest. */
function readSignedAttributes(attributes: BerElement): Buffer {
  let contentType: BerElement | undefined;
  let messageDigest: BerElement | undefined;
  let count = 0;
  for (const cursor = attributes.children(); !cursor.atEnd; ) {
    const fields = cursor.next(Tag.SEQUENCE).children();
    const type = fields.next(Tag.OID);
    const values = fields.last(Tag.SET);
    const isContentType = type.equals(CONTENT_TYPE);
    const isMessageDigest = type.equals(MESSAGE_DIGEST);
    if ((isContentType && contentType) || (isMessageDigest && messageDigest) || ++count > MAX_ATTRIBUTES) {
      throw malformed('a signed attribute is repeated, or there are too many');
    }
    contentType = isContentType ? values.only(Tag.OID) : contentType;
    messageDigest = isMessageDigest ? values.only(Tag.OCTET_STRING) : messageDigest;
  }
  if (!contentType?.equals(DATA)) {
    throw malformed('signed content type is missing or not that of the content');
  }
  if (!messageDigest) {
    throw malformed('signed message digest is missing');
  }
  return messageDigest.content;
}

/** The attributes were signed as a SET OF, though they are sent under `[0]` (RFC 5652, section 5.4). */
function asSet(attributes: BerElement): Buffer {
  if (attributes.isIndefinite) {
    throw malformed('signed attributes are not DER');
  }
  const set = Buffer.from(attributes.raw);
  set[0] = Tag.SET;
  return set;
}

function findSigner(identifier: SignerIdentifier, certificates: ReadCertificates): Certificate {
  const signer = certificates.read.find(identifier);
  if (!signer) {
    throw certificates.refusal ?? malformed("signer's certificate is not inside");
  }
  return signer;
}

/** Octets up to which joining segments costs less than hashing them one by one. */
const JOINED_LENGTH = 16 * 1024;

function digest(hash: HashName, segments: readonly Buffer[]): Buffer {
  const [first] = segments;
  if (first && segments.length === 1) {
    return digestOf(hash, first, 'buffer');
  }
  if (segments.reduce((sum, segment) => sum + segment.length, 0) <= JOINED_LENGTH) {
    return digestOf(hash, Buffer.concat(segments), 'buffer');
  }
  const whole = createHash(hash);
  for (const segment of segments) {
    whole.update(segment);
  }
  return whole.digest();
}

function malformed(reason: string): AwalaError {
  return new AwalaError('SIGNED_DATA_MALFORMED', `SignedData: ${reason}`);
}
