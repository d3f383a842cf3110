/**
 * RSA-PSS as RS-018 allows it: SHA-256, SHA-384 or SHA-512, MGF1 with the same hash, a salt as long as the hash.
 */
import type { BerElement } from '../asn1/reader.ts';
import { contextConstructed, Tag } from '../asn1/tags.ts';
import { constructed, integer, oid, primitive, sequence } from '../asn1/writer.ts';
import { AwalaError } from '../errors.ts';
import { Oid } from '../oids.ts';

/** A hash function that RS-018 allows, as `node:crypto` names it. */
export type HashName = 'sha256' | 'sha384' | 'sha512';

/** Octets that each hash gives: also the length of an RSA-PSS salt. */
export const HASH_LENGTH: Readonly<Record<HashName, number>> = { sha256: 32, sha384: 48, sha512: 64 };

const HASH_BY_OID: ReadonlyMap<string, HashName> = new Map([
  [Oid.SHA256, 'sha256'],
  [Oid.SHA384, 'sha384'],
  [Oid.SHA512, 'sha512'],
]);

const NULL = primitive(Tag.NULL, Buffer.alloc(0));
const MGF1 = oid(Oid.MGF1);
const RSASSA_PSS = oid(Oid.RSASSA_PSS);

/** The AlgorithmIdentifiers of SHA-256 that arrive. */
const SHA256 = [sequence(oid(Oid.SHA256), NULL), sequence(oid(Oid.SHA256))] as const;

/** What every deployed client writes: known as a whole, it need not be taken apart. */
const PSS_SHA256 = sequence(
  RSASSA_PSS,
  sequence(
    constructed(contextConstructed(0), SHA256[0]),
    constructed(contextConstructed(1), sequence(MGF1, SHA256[0])),
    constructed(contextConstructed(2), integer(HASH_LENGTH.sha256)),
  ),
);

/**
 * Reads the AlgorithmIdentifier of a hash; its parameters are NULL or absent (RFC 5754, section 2).
 *
 * @throws AwalaError ALGORITHM_UNSUPPORTED, ASN1_MALFORMED
 */
export function readHashAlgorithm(algorithm: BerElement): HashName {
  if (SHA256.some((known) => algorithm.equals(known))) {
    return 'sha256';
  }
  const fields = algorithm.sequence();
  const dotted = fields.next(Tag.OID).objectIdentifier();
  fields.optional(Tag.NULL);
  fields.finish();
  const hash = HASH_BY_OID.get(dotted);
  if (!hash) {
    throw new AwalaError('ALGORITHM_UNSUPPORTED', `Hash ${dotted} is not allowed`);
  }
  return hash;
}

/**
 * Reads the AlgorithmIdentifier of a signature, with the parameters of RFC 4055, section 3.1. What is left out there
 * means SHA-1, which is refused.
 *
 * @returns the one hash that the whole signature uses
 * @throws AwalaError ALGORITHM_UNSUPPORTED, ASN1_MALFORMED
 */
export function readSignatureAlgorithm(algorithm: BerElement): HashName {
  if (algorithm.equals(PSS_SHA256)) {
    return 'sha256';
  }
  const fields = algorithm.sequence();
  const scheme = fields.next(Tag.OID);
  if (!scheme.equals(RSASSA_PSS)) {
    throw new AwalaError('ALGORITHM_UNSUPPORTED', `Signature algorithm ${scheme.objectIdentifier()} is not RSA-PSS`);
  }
  const parameters = fields.next(Tag.SEQUENCE).children();
  fields.finish();

  const hashField = parameters.optional(contextConstructed(0));
  const maskField = parameters.optional(contextConstructed(1));
  const saltField = parameters.optional(contextConstructed(2));
  const trailerField = parameters.optional(contextConstructed(3));
  parameters.finish();
  if (!hashField || !maskField || !saltField) {
    throw new AwalaError('ALGORITHM_UNSUPPORTED', 'RSA-PSS parameters are left out, which means SHA-1');
  }
  const hash = readHashAlgorithm(hashField.only());
  if (readMaskHash(maskField.only()) !== hash) {
    throw new AwalaError('ALGORITHM_UNSUPPORTED', 'RSA-PSS uses one hash for the message and another for its mask');
  }
  if (saltField.only(Tag.INTEGER).unsigned() !== HASH_LENGTH[hash]) {
    throw new AwalaError('ALGORITHM_UNSUPPORTED', 'RSA-PSS salt is not as long as the hash');
  }
  if (trailerField && trailerField.only(Tag.INTEGER).unsigned() !== 1) {
    throw new AwalaError('ALGORITHM_UNSUPPORTED', 'RSA-PSS trailer field is not 1');
  }
  return hash;
}

function readMaskHash(algorithm: BerElement): HashName {
  const fields = algorithm.sequence();
  const generation = fields.next(Tag.OID);
  if (!generation.equals(MGF1)) {
    throw new AwalaError(
      'ALGORITHM_UNSUPPORTED',
      `RSA-PSS mask generation function ${generation.objectIdentifier()} is not MGF1`,
    );
  }
  const hash = readHashAlgorithm(fields.next(Tag.SEQUENCE));
  fields.finish();
  return hash;
}
