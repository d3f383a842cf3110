/**
 * Certificates, SignedData and RAMF messages made octet by octet, so that each part can take any form that clients send
 * or that a forger might: the readers' tests and corpus are made of these.
 */
import { constants, createHash, createPrivateKey, type KeyObject, sign } from 'node:crypto';
import { CONSTRUCTED, context, contextConstructed, Tag } from '../../src/awala/asn1/tags.ts';
import {
  constructed,
  dateTime,
  integer,
  octetString,
  oid,
  primitive,
  sequence,
  visibleString,
} from '../../src/awala/asn1/writer.ts';
import { Oid } from '../../src/awala/oids.ts';
import type { HashName } from '../../src/awala/pki/rsa-pss.ts';
import type { RsaPublicKey } from '../../src/awala/pki/rsa-public-key.ts';
import { type TestKeyName, testIdentity } from './pki.ts';

const HASH_OID = { sha256: Oid.SHA256, sha384: Oid.SHA384, sha512: Oid.SHA512 };
const HASH_LENGTH = { sha256: 32, sha384: 48, sha512: 64 };

export const NULL = primitive(Tag.NULL, Buffer.alloc(0));
export const BOOLEAN = { true: Buffer.from('0101ff', 'hex'), false: Buffer.from('010100', 'hex') };

/** A key that signs at once. */
export interface HandmadeKey {
  readonly id: string;
  readonly publicKey: RsaPublicKey;
  readonly privateKey: KeyObject;
}

export async function handmadeKey(name: TestKeyName): Promise<HandmadeKey> {
  const { id, publicKey, privateKey } = await testIdentity(name);
  return { id, publicKey, privateKey: createPrivateKey({ key: privateKey, format: 'der', type: 'pkcs8' }) };
}

/** RSA-PSS, with a salt as long as the hash unless told otherwise. */
export function signWith(
  key: HandmadeKey,
  data: Buffer,
  hash: string = 'sha256',
  saltLength = hashLength(hash),
): Buffer {
  return sign(hash, data, { key: key.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });
}

function hashLength(hash: string): number {
  return HASH_LENGTH[hash as HashName] ?? 20;
}

/** AlgorithmIdentifier of RSA-PSS. */
export function pss(hash: HashName, changes: { mask?: HashName; salt?: number; trailer?: number } = {}): Buffer {
  const algorithm = (name: HashName) => sequence(oid(HASH_OID[name]), NULL);
  return sequence(
    oid(Oid.RSASSA_PSS),
    sequence(
      constructed(contextConstructed(0), algorithm(hash)),
      constructed(contextConstructed(1), sequence(oid(Oid.MGF1), algorithm(changes.mask ?? hash))),
      constructed(contextConstructed(2), integer(changes.salt ?? HASH_LENGTH[hash])),
      ...(changes.trailer === undefined ? [] : [constructed(contextConstructed(3), integer(changes.trailer))]),
    ),
  );
}

/** A Name with one Common Name, a BMPString unless told otherwise. */
export function commonName(id: string, tag: number = Tag.BMP_STRING): Buffer {
  return sequence(constructed(Tag.SET, sequence(oid(Oid.COMMON_NAME), primitive(tag, characters(id, tag)))));
}

function characters(text: string, tag: number): Buffer {
  const width = tag === Tag.BMP_STRING ? 2 : tag === Tag.UNIVERSAL_STRING ? 4 : 1;
  const octets = Buffer.alloc(text.length * width);
  for (const [i, octet] of Buffer.from(text, 'latin1').entries()) {
    octets[i * width + width - 1] = octet;
  }
  return octets;
}

export function utcTime(time: number): Buffer {
  const digits = dateTime(new Date(time), 0).subarray(2).toString();
  return primitive(Tag.UTC_TIME, Buffer.from(`${digits.slice(2)}Z`));
}

export function generalizedTime(time: number): Buffer {
  const digits = dateTime(new Date(time), 0).subarray(2).toString();
  return primitive(Tag.GENERALIZED_TIME, Buffer.from(`${digits}Z`));
}

export function extension(id: string, value: Buffer, isCritical = false): Buffer {
  return sequence(oid(id), ...(isCritical ? [BOOLEAN.true] : []), octetString(value));
}

export function basicConstraints(...fields: Buffer[]): Buffer {
  return extension(Oid.BASIC_CONSTRAINTS, sequence(...fields), true);
}

export function subjectKeyId(digest: Buffer): Buffer {
  return extension(Oid.SUBJECT_KEY_IDENTIFIER, octetString(digest));
}

export function authorityKeyId(digest: Buffer): Buffer {
  return extension(Oid.AUTHORITY_KEY_IDENTIFIER, sequence(primitive(context(0), digest)));
}

/** Everything in a certificate that a test may want otherwise; each Buffer is a whole element. */
export interface CertificateParts {
  readonly subject: HandmadeKey;
  readonly issuer: HandmadeKey;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly serialNumber?: Buffer;
  readonly version?: Buffer;
  readonly issuerName?: Buffer;
  readonly subjectName?: Buffer;
  readonly validity?: Buffer;
  readonly spki?: Buffer;
  /** In place of all; `constraints` and `more` change some. */
  readonly extensions?: readonly Buffer[];
  readonly constraints?: Buffer;
  readonly more?: readonly Buffer[];
  readonly innerAlgorithm?: Buffer;
  readonly algorithm?: Buffer;
  readonly hash?: HashName;
  readonly signature?: Buffer;
}

let serialNumbers = 1000;

export function handmadeCertificate(parts: CertificateParts): Buffer {
  const { subject, issuer, hash = 'sha256' } = parts;
  const algorithm = parts.algorithm ?? pss(hash);
  const extensions = parts.extensions ?? [
    parts.constraints ?? basicConstraints(BOOLEAN.true, integer(0)),
    authorityKeyId(issuer.publicKey.digest),
    subjectKeyId(subject.publicKey.digest),
    ...(parts.more ?? []),
  ];
  const signed = sequence(
    parts.version ?? constructed(contextConstructed(0), integer(2)),
    parts.serialNumber ?? integer(++serialNumbers),
    parts.innerAlgorithm ?? algorithm,
    parts.issuerName ?? commonName(issuer.id),
    parts.validity ?? sequence(utcTime(parts.notBefore), utcTime(parts.notAfter)),
    parts.subjectName ?? commonName(subject.id),
    parts.spki ?? subject.publicKey.spki,
    constructed(contextConstructed(3), sequence(...extensions)),
  );
  const signature = parts.signature ?? signWith(issuer, signed, hash);
  return sequence(signed, algorithm, primitive(Tag.BIT_STRING, Buffer.concat([Buffer.alloc(1), signature])));
}

/** Everything in SignedData that a test may want otherwise; each Buffer is a whole element. */
export interface SignedDataParts {
  readonly content: Buffer;
  readonly signer: HandmadeKey;
  readonly certificates: readonly Buffer[];
  /** IssuerAndSerialNumber or another identifier. */
  readonly identifier: Buffer;
  readonly isDetached?: boolean;
  /** Octets in each segment of the content; one primitive string when absent. */
  readonly segmentLength?: number;
  /** Indefinite lengths outside of what must be DER, as Bouncy Castle writes. */
  readonly isIndefinite?: boolean;
  readonly hash?: HashName;
  readonly digestAlgorithm?: Buffer;
  readonly signatureAlgorithm?: Buffer;
  readonly contentType?: Buffer;
  /** In place of all; `moreAttributes` come on top. */
  readonly attributes?: readonly Buffer[];
  readonly moreAttributes?: readonly Buffer[];
  /** The signed attributes as they are sent. */
  readonly sentAttributes?: Buffer;
  readonly signature?: Buffer;
  readonly signerInfos?: (signerInfo: Buffer) => Buffer[];
}

export function attribute(id: string, ...values: Buffer[]): Buffer {
  return sequence(oid(id), constructed(Tag.SET, ...values));
}

export function contentTypeAttribute(id: string = Oid.DATA): Buffer {
  return attribute(Oid.CONTENT_TYPE, oid(id));
}

export function messageDigestAttribute(content: Buffer, hash: string = 'sha256'): Buffer {
  return attribute(Oid.MESSAGE_DIGEST, octetString(createHash(hash).update(content).digest()));
}

/** RFC 5652, section 11.3: Kotlin clients send it. */
export function signingTimeAttribute(time: number): Buffer {
  return attribute('1.2.840.113549.1.9.5', utcTime(time));
}

export function issuerAndSerialNumber(issuerName: Buffer, serialNumber: Buffer): Buffer {
  return sequence(issuerName, serialNumber);
}

/** An element of indefinite length. */
export function indefinite(tag: number, ...elements: readonly Uint8Array[]): Buffer {
  return Buffer.concat([Buffer.from([tag | CONSTRUCTED, 0x80]), ...elements, Buffer.alloc(2)]);
}

export function handmadeSignedData(parts: SignedDataParts): Buffer {
  const { content, signer, hash = 'sha256' } = parts;
  const wrap = parts.isIndefinite ? indefinite : constructed;
  const attributes = parts.attributes ?? [
    contentTypeAttribute(),
    messageDigestAttribute(content, hash),
    ...(parts.moreAttributes ?? []),
  ];
  const sorted = attributes.toSorted(Buffer.compare);
  const signature = parts.signature ?? signWith(signer, constructed(Tag.SET, ...sorted), hash);
  const signerInfo = sequence(
    integer(1),
    parts.identifier,
    parts.digestAlgorithm ?? sequence(oid(HASH_OID[hash]), NULL),
    parts.sentAttributes ?? constructed(contextConstructed(0), ...sorted),
    parts.signatureAlgorithm ?? pss(hash),
    octetString(signature),
  );
  const encapsulated = parts.isDetached ? [] : [wrap(contextConstructed(0), contentString(parts, wrap))];
  const signedData = wrap(
    Tag.SEQUENCE,
    integer(1),
    constructed(Tag.SET, sequence(oid(HASH_OID[hash]), NULL)),
    wrap(Tag.SEQUENCE, parts.contentType ?? oid(Oid.DATA), ...encapsulated),
    wrap(contextConstructed(0), ...parts.certificates),
    constructed(Tag.SET, ...(parts.signerInfos?.(signerInfo) ?? [signerInfo])),
  );
  return wrap(Tag.SEQUENCE, oid(Oid.SIGNED_DATA), wrap(contextConstructed(0), signedData));
}

function contentString({ content, segmentLength }: SignedDataParts, wrap: typeof constructed): Buffer {
  if (segmentLength === undefined) {
    return octetString(content);
  }
  const segments: Buffer[] = [];
  for (let at = 0; at < content.length; at += segmentLength) {
    segments.push(octetString(content.subarray(at, at + segmentLength)));
  }
  return wrap(Tag.OCTET_STRING | CONSTRUCTED, ...segments);
}

/** Everything in a RAMF message's signed content that a test may want otherwise; each Buffer is a whole element. */
export interface RamfParts {
  readonly recipientId: string;
  readonly creation: number;
  readonly recipient?: Buffer;
  readonly messageId?: Buffer;
  readonly creationField?: Buffer;
  readonly ttl?: Buffer;
  readonly payload?: Buffer;
  readonly more?: readonly Buffer[];
}

const SECONDS_PER_DAY = 86_400;

export function handmadeRamfContent(parts: RamfParts): Buffer {
  return sequence(
    parts.recipient ?? recipientField(parts.recipientId),
    parts.messageId ?? visibleString('message', context(1)),
    parts.creationField ?? dateTime(new Date(parts.creation), context(2)),
    parts.ttl ?? integer(SECONDS_PER_DAY, context(3)),
    parts.payload ?? primitive(context(4), Buffer.from('payload')),
    ...(parts.more ?? []),
  );
}

export function recipientField(id: string, internetAddress?: string): Buffer {
  return constructed(
    contextConstructed(0),
    visibleString(id, context(0)),
    ...(internetAddress === undefined ? [] : [visibleString(internetAddress, context(1))]),
  );
}
