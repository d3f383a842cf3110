/**
 * Key agreement for CMS (RFC 5753): from two session keys to the key that wraps the content's key.
 */
import { createHash, diffieHellman, type KeyObject } from 'node:crypto';
import { contextConstructed, Tag } from '../asn1/tags.ts';
import { constructed, octetString, oid, primitive, sequence } from '../asn1/writer.ts';
import { KEY_WRAPS, type KeyWrap } from './key-wrap.ts';

/**
 * The hashes of the X9.63 key derivation function that RS-018 allows, each with the scheme (RFC 5753, section 7.1.4)
 * that joins it with ephemeral-static ECDH.
 */
export const KEY_DERIVATIONS = {
  sha256: { oid: '1.3.132.1.11.1' },
  sha384: { oid: '1.3.132.1.11.2' },
  sha512: { oid: '1.3.132.1.11.3' },
} as const;

export type KeyDerivation = keyof typeof KEY_DERIVATIONS;

/** What both sides must agree on, besides the keys, to derive the same key. */
export interface KeyAgreementParams {
  readonly keyDerivation: KeyDerivation;
  readonly keyWrap: KeyWrap;
  /** User keying material: the sender's random octets, if any. */
  readonly ukm: Buffer | undefined;
}

/**
 * The octets that two keys on one curve have in common: the x coordinate, as long as the field.
 *
 * @throws Error when one key is no key for this, or they are on different curves
 */
export function agree(privateKey: KeyObject, publicKey: KeyObject): Buffer {
  return diffieHellman({ privateKey, publicKey });
}

/**
 * Derives the key-encryption key by the X9.63 function (SEC 1, section 3.6.1).
 *
 * One turn of the function is all that is ever needed: each hash gives as many octets as the longest AES key has.
 *
 * @param shared what `agree` gave
 * @param nullParameters whether the wrap algorithm stands in ECC-CMS-SharedInfo with NULL parameters; RFC 5753 says
 *   absent, and some implementations wrote NULL
 */
export function deriveKeyEncryptionKey(shared: Buffer, params: KeyAgreementParams, nullParameters = false): Buffer {
  const counter = Buffer.from([0, 0, 0, 1]);
  const octets = createHash(params.keyDerivation)
    .update(shared)
    .update(counter)
    .update(sharedInfo(params, nullParameters))
    .digest();
  return octets.subarray(0, KEY_WRAPS[params.keyWrap].keyOctets);
}

/**
 * ECC-CMS-SharedInfo (RFC 5753, section 7.2):
 * `SEQUENCE { keyInfo AlgorithmIdentifier, [0] entityUInfo OCTET STRING OPTIONAL, [2] suppPubInfo OCTET STRING }`.
 */
function sharedInfo({ keyWrap, ukm }: KeyAgreementParams, nullParameters: boolean): Buffer {
  const { oid: wrapOid, keyOctets } = KEY_WRAPS[keyWrap];
  const keyInfo = nullParameters
    ? sequence(oid(wrapOid), primitive(Tag.NULL, Buffer.alloc(0)))
    : sequence(oid(wrapOid));
  const keyBits = Buffer.alloc(4);
  keyBits.writeUInt32BE(keyOctets * 8);
  return sequence(
    keyInfo,
    ...(ukm ? [constructed(contextConstructed(0), octetString(ukm))] : []),
    constructed(contextConstructed(2), octetString(keyBits)),
  );
}
