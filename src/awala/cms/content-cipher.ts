/**
 * The ciphers of a session's content: AES-CBC, which deployed clients send, and AES-GCM, which RS-018 wants.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { BerElement } from '../asn1/reader.ts';
import { Tag } from '../asn1/tags.ts';
import { integer, octetString, oid, sequence } from '../asn1/writer.ts';
import { AwalaError } from '../errors.ts';
import { findAlgorithm } from './algorithm-table.ts';

/** By the names that Node has for them. */
export const CONTENT_CIPHERS = {
  'aes-128-cbc': { oid: '2.16.840.1.101.3.4.1.2', keyOctets: 16, mode: 'cbc' },
  'aes-192-cbc': { oid: '2.16.840.1.101.3.4.1.22', keyOctets: 24, mode: 'cbc' },
  'aes-256-cbc': { oid: '2.16.840.1.101.3.4.1.42', keyOctets: 32, mode: 'cbc' },
  'aes-128-gcm': { oid: '2.16.840.1.101.3.4.1.6', keyOctets: 16, mode: 'gcm' },
  'aes-192-gcm': { oid: '2.16.840.1.101.3.4.1.26', keyOctets: 24, mode: 'gcm' },
  'aes-256-gcm': { oid: '2.16.840.1.101.3.4.1.46', keyOctets: 32, mode: 'gcm' },
} as const;

export type ContentCipher = keyof typeof CONTENT_CIPHERS;

/** Octets of an AES block, and of a CBC initialization vector. */
const BLOCK = 16;

/** Octets of a GCM nonce that we make (RS-018: at random, NIST SP 800-38D, section 8.2.2). */
const GCM_NONCE = 12;

/** Octets of a GCM tag (RFC 5084, section 3.2): ours, and when the parameters do not say. */
const GCM_TAG = 16;
const GCM_TAG_DEFAULT = 12;

/** Up to how many octets of short pieces are encrypted at a time. */
const PART = 64 * 1024;

const EMPTY = Buffer.alloc(0);

/** A cipher with what its AlgorithmIdentifier says beside its name. */
export interface ContentEncryption {
  readonly cipher: ContentCipher;
  /** CBC's initialization vector or GCM's nonce. */
  readonly iv: Buffer;
  /** Octets of the authentication tag; 0 for CBC. */
  readonly tagOctets: number;
}

/**
 * Reads a content-encryption AlgorithmIdentifier (RFC 3565, RFC 5084).
 *
 * @throws AwalaError ASN1_*, ALGORITHM_UNSUPPORTED
 */
export function readContentEncryption(element: BerElement): ContentEncryption {
  const fields = element.sequence();
  const cipher = findAlgorithm(CONTENT_CIPHERS, 'Content cipher', fields.next(Tag.OID).objectIdentifier());
  if (CONTENT_CIPHERS[cipher].mode === 'cbc') {
    const iv = fields.last(Tag.OCTET_STRING).octets();
    if (iv.length !== BLOCK) {
      throw new AwalaError('ASN1_MALFORMED', `AES-CBC initialization vector has ${iv.length} octets`);
    }
    return { cipher, iv, tagOctets: 0 };
  }
  const params = fields.last(Tag.SEQUENCE).children();
  const iv = params.next(Tag.OCTET_STRING).octets();
  const tagOctets = params.optional(Tag.INTEGER)?.unsigned() ?? GCM_TAG_DEFAULT;
  params.finish();
  if (iv.length < GCM_NONCE || iv.length > BLOCK || tagOctets < GCM_TAG_DEFAULT || tagOctets > GCM_TAG) {
    throw new AwalaError('ASN1_MALFORMED', `AES-GCM nonce has ${iv.length} octets and tag ${tagOctets}`);
  }
  return { cipher, iv, tagOctets };
}

/** A content-encryption AlgorithmIdentifier, DER. */
export function writeContentEncryption({ cipher, iv, tagOctets }: ContentEncryption): Buffer {
  const { oid: identifier, mode } = CONTENT_CIPHERS[cipher];
  const params = mode === 'cbc' ? octetString(iv) : sequence(octetString(iv), integer(tagOctets));
  return sequence(oid(identifier), params);
}

/** What is needed to encrypt with `cipher`, with fresh octets from `random`. */
export function newContentEncryption(cipher: ContentCipher, random: (octets: number) => Buffer): ContentEncryption {
  return CONTENT_CIPHERS[cipher].mode === 'cbc'
    ? { cipher, iv: random(BLOCK), tagOctets: 0 }
    : { cipher, iv: random(GCM_NONCE), tagOctets: GCM_TAG };
}

/** How many octets the ciphertext of a plaintext has, with GCM's tag. */
export function ciphertextOctets({ cipher, tagOctets }: ContentEncryption, plaintextOctets: number): number {
  return isGcm(cipher) ? plaintextOctets + tagOctets : plaintextOctets + BLOCK - (plaintextOctets % BLOCK);
}

/**
 * Encrypts.
 *
 * @param plaintext in pieces
 * @returns the ciphertext in pieces, GCM's tag at its end; as long as `ciphertextOctets` says
 */
export function encryptContent(encryption: ContentEncryption, key: Buffer, plaintext: readonly Buffer[]): Buffer[] {
  const { cipher: name, iv, tagOctets } = encryption;
  const gcm = isGcm(name) ? createCipheriv(name, key, iv, { authTagLength: tagOctets }) : undefined;
  const cipher = gcm ?? createCipheriv(name, key, iv);
  const ciphertext: Buffer[] = [];
  for (const part of parts(plaintext)) {
    ciphertext.push(cipher.update(part));
  }
  ciphertext.push(cipher.final(), gcm?.getAuthTag() ?? EMPTY);
  return ciphertext;
}

/**
 * The pieces, short ones joined: each call into OpenSSL costs more than the copy.
 *
 * @returns each to be used before the next is asked for, which takes its memory
 */
function* parts(pieces: readonly Buffer[]): Generator<Buffer> {
  let joined: Buffer | undefined;
  let octets = 0;
  for (const piece of pieces) {
    if (joined && octets > 0 && octets + piece.length > PART) {
      yield joined.subarray(0, octets);
      octets = 0;
    }
    if (piece.length > PART) {
      yield piece;
    } else {
      joined ??= Buffer.allocUnsafeSlow(PART);
      joined.set(piece, octets);
      octets += piece.length;
    }
  }
  if (joined && octets > 0) {
    yield joined.subarray(0, octets);
  }
}

/**
 * Whether a ciphertext of so many octets can come from this cipher.
 *
 * @param octets without GCM's tag
 */
export function isPossibleLength({ cipher }: ContentEncryption, octets: number): boolean {
  return isGcm(cipher) ? octets >= 0 : octets > 0 && octets % BLOCK === 0;
}

/**
 * Decrypts.
 *
 * @param ciphertext without GCM's tag
 * @param tag GCM's
 * @param associated what GCM authenticates besides the content
 * @returns undefined, in CBC, when the padding is wrong
 * @throws Error when OpenSSL refuses: in GCM, when anything was changed
 */
export function decryptContent(
  { cipher: name, iv, tagOctets }: ContentEncryption,
  key: Buffer,
  ciphertext: Buffer,
  tag: Buffer,
  associated: Buffer | undefined,
): Buffer | undefined {
  if (isGcm(name)) {
    const decipher = createDecipheriv(name, key, iv, { authTagLength: tagOctets });
    decipher.setAuthTag(tag);
    if (associated) {
      decipher.setAAD(associated);
    }
    const plaintext = decipher.update(ciphertext);
    decipher.final();
    return plaintext;
  }
  // Node would hold back the last block and give it apart, and joining the two would copy the whole.
  const decipher = createDecipheriv(name, key, iv).setAutoPadding(false);
  const padded = decipher.update(ciphertext);
  decipher.final();
  return withoutPadding(padded);
}

function isGcm(cipher: ContentCipher): cipher is 'aes-128-gcm' | 'aes-192-gcm' | 'aes-256-gcm' {
  return CONTENT_CIPHERS[cipher].mode === 'gcm';
}

/**
 * Takes off the padding of RFC 5652, section 6.3: n octets of value n, 1 to 16. All of the last block is looked at
 * whatever it holds, so that time tells little about it.
 */
function withoutPadding(padded: Buffer): Buffer | undefined {
  const count = padded[padded.length - 1] as number;
  let wrong = count === 0 || count > BLOCK ? 1 : 0;
  for (let back = 1; back <= BLOCK; back++) {
    const isPadding = (back - count - 1) >> 31;
    wrong |= isPadding & ((padded[padded.length - back] as number) ^ count);
  }
  return wrong === 0 ? padded.subarray(0, padded.length - count) : undefined;
}
