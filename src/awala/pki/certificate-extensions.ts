/**
 * The X.509 extensions of RS-002: Basic Constraints, key identifiers and PDA Rate Limiting.
 */
import { type BerCursor, type BerElement, readBer } from '../asn1/reader.ts';
import { context, Tag } from '../asn1/tags.ts';
import { AwalaError } from '../errors.ts';
import { Oid } from '../oids.ts';

/** The most extensions in one certificate; deployed clients write three or four. */
const MAX_EXTENSIONS = 16;

const MS_PER_SECOND = 1000;

/** How many parcels a delivery authorization (PDA) allows: `limit` in each period of `periodMs`. */
export interface PdaRateLimit {
  readonly limit: number;
  readonly periodMs: number;
}

export interface CertificateExtensions {
  readonly isCa: boolean;
  readonly pathLength?: number;
  readonly subjectKeyId?: Buffer;
  readonly authorityKeyId?: Buffer;
  readonly pdaRateLimit?: PdaRateLimit;
}

/**
 * Reads the Extensions of a certificate. Others than those above are skipped, unless they are critical.
 *
 * @throws AwalaError CERTIFICATE_MALFORMED, ASN1_MALFORMED
 */
export function readExtensions(list: BerElement): CertificateExtensions {
  const values = new Map<string, { readonly value: BerElement; readonly critical: boolean }>();
  for (const cursor = list.sequence(); !cursor.atEnd; ) {
    const fields = cursor.next(Tag.SEQUENCE).children();
    const oid = fields.next(Tag.OID).objectIdentifier();
    const critical = fields.optional(Tag.BOOLEAN)?.boolean() ?? false;
    const value = fields.next(Tag.OCTET_STRING);
    fields.finish();
    if (values.has(oid)) {
      throw malformed(`extension ${oid} is repeated`);
    }
    if (critical && !KNOWN.has(oid)) {
      throw malformed(`critical extension ${oid} is unknown`);
    }
    values.set(oid, { value, critical });
    if (values.size > MAX_EXTENSIONS) {
      throw malformed(`there are more than ${MAX_EXTENSIONS} extensions`);
    }
  }

  const constraints = values.get(Oid.BASIC_CONSTRAINTS);
  if (!constraints?.critical) {
    throw malformed('Basic Constraints are missing or not critical');
  }
  const read = <T>(oid: string, reader: (value: BerElement) => T): T | undefined => {
    const extension = values.get(oid);
    return extension && reader(readBer(extension.value.content));
  };
  const subjectKeyId = read(Oid.SUBJECT_KEY_IDENTIFIER, readSubjectKeyId);
  const authorityKeyId = read(Oid.AUTHORITY_KEY_IDENTIFIER, readAuthorityKeyId);
  const pdaRateLimit = read(Oid.PDA_RATE_LIMIT, readPdaRateLimit);
  return {
    ...readBasicConstraints(readBer(constraints.value.content)),
    ...(subjectKeyId && { subjectKeyId }),
    ...(authorityKeyId && { authorityKeyId }),
    ...(pdaRateLimit && { pdaRateLimit }),
  };
}

const KNOWN: ReadonlySet<string> = new Set([
  Oid.BASIC_CONSTRAINTS,
  Oid.SUBJECT_KEY_IDENTIFIER,
  Oid.AUTHORITY_KEY_IDENTIFIER,
  Oid.PDA_RATE_LIMIT,
]);

/** `SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }`; deployed clients also write the default. */
function readBasicConstraints(value: BerElement): { isCa: boolean; pathLength?: number } {
  const fields = value.sequence();
  const isCa = fields.optional(Tag.BOOLEAN)?.boolean() ?? false;
  const pathLength = fields.optional(Tag.INTEGER)?.unsigned();
  fields.finish();
  return pathLength === undefined ? { isCa } : { isCa, pathLength };
}

function readSubjectKeyId(value: BerElement): Buffer {
  if (value.tag !== Tag.OCTET_STRING) {
    throw malformed('Subject Key Identifier is not an OCTET STRING');
  }
  return value.content;
}

/** `SEQUENCE { [0] keyIdentifier, … }`; issuer and serial number may follow and are not used. */
function readAuthorityKeyId(value: BerElement): Buffer | undefined {
  return value.sequence().optional(context(0))?.content;
}

/** `SEQUENCE { limit INTEGER, period INTEGER }`, tagged or not (protocol section 6). */
function readPdaRateLimit(value: BerElement): PdaRateLimit {
  const fields = value.sequence();
  const limit = numberUnder(fields, 0);
  const periodMs = numberUnder(fields, 1) * MS_PER_SECOND;
  fields.finish();
  if (periodMs === 0 || !Number.isSafeInteger(periodMs)) {
    throw malformed('period of the PDA rate limit is zero or too long');
  }
  return { limit, periodMs };
}

function numberUnder(fields: BerCursor, tag: number): number {
  return (fields.optional(Tag.INTEGER) ?? fields.next(context(tag))).unsigned();
}

function malformed(reason: string): AwalaError {
  return new AwalaError('CERTIFICATE_MALFORMED', `Certificate: ${reason}`);
}
