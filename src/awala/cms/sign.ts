/**
 * Signs CMS SignedData (RFC 5652) as RS-001 has it: one signer, RSA-PSS, in DER with primitive strings.
 *
 * Written octet by octet rather than by a library, so that embedded certificates stay exactly as they were issued,
 * and that a long content is hashed and joined without copies of it in between.
 */
import { createHash, type webcrypto } from 'node:crypto';
import { contextConstructed, Tag } from '../asn1/tags.ts';
import { constructed, header, integer, octetString, oid, primitive, sequence } from '../asn1/writer.ts';
import { AwalaError } from '../errors.ts';
import { Oid } from '../oids.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { SigningKey } from '../signing-key.ts';

/** What signs in a node's name: its key, and a certificate of that key. */
export interface Signer {
  readonly key: SigningKey;
  readonly certificate: Certificate;
}

export interface SignedDataOptions {
  /** Certificates to send along, beside the signer's: the rest of its chain. */
  readonly certificates?: readonly Certificate[];
  /** Leave the content out: the recipient has it already. */
  readonly isDetached?: boolean;
}

const NULL = primitive(Tag.NULL, Buffer.alloc(0));

/** All that goes by the hash that a key signs with. */
interface SignatureScheme {
  /** As Node names it. */
  readonly hash: (typeof PLAIN_HASHES)[number];
  readonly saltOctets: number;
  /** AlgorithmIdentifiers. */
  readonly digestAlgorithm: Buffer;
  readonly signatureAlgorithm: Buffer;
}

/** What plain signatures of ours may be by: they do not say it themselves. */
export const PLAIN_HASHES = ['sha256', 'sha512'] as const;

/** By the names that WebCrypto has for hashes. */
const SCHEMES: Readonly<Record<string, SignatureScheme>> = {
  'SHA-256': signatureScheme('sha256', Oid.SHA256, 32),
  'SHA-512': signatureScheme('sha512', Oid.SHA512, 64),
};

function signatureScheme(hash: SignatureScheme['hash'], hashOid: string, saltOctets: number): SignatureScheme {
  // Among a CMS message's own algorithms a hash has no parameters (RFC 5754, section 2); in those of RSA-PSS they are
  // NULL (RFC 4055, section 2.1).
  const inPss = sequence(oid(hashOid), NULL);
  const signatureAlgorithm = sequence(
    oid(Oid.RSASSA_PSS),
    sequence(
      constructed(contextConstructed(0), inPss),
      constructed(contextConstructed(1), sequence(oid(Oid.MGF1), inPss)),
      constructed(contextConstructed(2), integer(saltOctets)),
    ),
  );
  return { hash, saltOctets, digestAlgorithm: sequence(oid(hashOid)), signatureAlgorithm };
}

function schemeOf({ privateKey }: SigningKey): SignatureScheme {
  const { name, hash } = privateKey.algorithm as webcrypto.RsaHashedKeyAlgorithm;
  const scheme = SCHEMES[hash?.name];
  if (name !== 'RSA-PSS' || !scheme) {
    throw new AwalaError('ALGORITHM_UNSUPPORTED', `Key is not for RSA-PSS with ${Object.keys(SCHEMES).join(' or ')}`);
  }
  return scheme;
}

/**
 * Makes the plain RSA-PSS signature of `data`: SHA-256, or SHA-512 where the key is for that; MGF1 with the same, a salt
 * as long as the hash (RS-018).
 *
 * @throws AwalaError ALGORITHM_UNSUPPORTED when the key is for anything else
 */
export async function signPlainly(data: Uint8Array, key: SigningKey): Promise<Buffer> {
  const { saltOctets } = schemeOf(key);
  const algorithm = { name: 'RSA-PSS', saltLength: saltOctets };
  // WebCrypto's types, and they alone, mind that the octets could be in shared memory.
  return Buffer.from(await key.crypto.subtle.sign(algorithm, key.privateKey, data as Uint8Array<ArrayBuffer>));
}

/**
 * Signs `content`.
 *
 * @param content the octets to sign, in pieces
 * @returns the ContentInfo, DER, in pieces of which some are those of `content`: to be joined by whoever sends it
 * @throws AwalaError ALGORITHM_UNSUPPORTED
 */
export async function signData(
  content: readonly Uint8Array[],
  signer: Signer,
  options: SignedDataOptions = {},
): Promise<Uint8Array[]> {
  const version = integer(1);
  const digestAlgorithms = constructed(Tag.SET, schemeOf(signer.key).digestAlgorithm);
  const encapsulated = options.isDetached ? [sequence(oid(Oid.DATA))] : encapsulatedContent(content);
  const certificates = setOf(contextConstructed(0), [
    signer.certificate.raw,
    ...(options.certificates ?? []).map(({ raw }) => raw),
  ]);
  const signerInfos = constructed(Tag.SET, await signerInfo(content, signer));
  const signedData = wrap(Tag.SEQUENCE, [version, digestAlgorithms, ...encapsulated, certificates, signerInfos]);
  return wrap(Tag.SEQUENCE, [oid(Oid.SIGNED_DATA), ...wrap(contextConstructed(0), signedData)]);
}

/** As `signData`, joined. */
export async function writeSignedData(
  content: Uint8Array,
  signer: Signer,
  options: SignedDataOptions = {},
): Promise<Buffer> {
  return Buffer.concat(await signData([content], signer, options));
}

function encapsulatedContent(content: readonly Uint8Array[]): Uint8Array[] {
  const octets = wrap(Tag.OCTET_STRING, content);
  return wrap(Tag.SEQUENCE, [oid(Oid.DATA), ...wrap(contextConstructed(0), octets)]);
}

async function signerInfo(content: readonly Uint8Array[], { key, certificate }: Signer): Promise<Buffer> {
  const scheme = schemeOf(key);
  const hash = createHash(scheme.hash);
  for (const piece of content) {
    hash.update(piece);
  }
  const attributes = [
    sequence(oid(Oid.CONTENT_TYPE), constructed(Tag.SET, oid(Oid.DATA))),
    sequence(oid(Oid.MESSAGE_DIGEST), constructed(Tag.SET, octetString(hash.digest()))),
  ];
  // The signature is over the attributes as a SET, though they are sent under another tag (RFC 5652, section 5.4).
  const signature = await signPlainly(setOf(Tag.SET, attributes), key);
  return sequence(
    integer(1),
    sequence(certificate.issuerName, certificate.serialNumberField),
    scheme.digestAlgorithm,
    setOf(contextConstructed(0), attributes),
    scheme.signatureAlgorithm,
    octetString(signature),
  );
}

/** A constructed element around finished ones, without joining them. */
function wrap(tag: number, pieces: readonly Uint8Array[]): Uint8Array[] {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  return [header(tag, length), ...pieces];
}

/** A SET OF: DER has its elements in ascending order (X.690, 11.6), and sets have nothing twice. */
function setOf(tag: number, elements: readonly Buffer[]): Buffer {
  const sorted = elements.toSorted(Buffer.compare);
  return constructed(
    tag,
    ...sorted.filter((element, index) => index === 0 || !element.equals(sorted[index - 1] as Buffer)),
  );
}
