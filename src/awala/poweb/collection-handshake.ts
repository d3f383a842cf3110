/**
 * The handshake that opens a parcel collection (RS-000, RS-016, protocol section 7): the server sends a challenge, the
 * client signs its nonce with the key of each private node that it collects for.
 *
 * Challenge: `SEQUENCE { [0] nonce OCTET STRING }`; response: `SEQUENCE { [0] SEQUENCE OF OCTET STRING }`.
 */
import { readBer } from '../asn1/reader.ts';
import { context, contextConstructed, Tag } from '../asn1/tags.ts';
import { constructed, octetString, oid, primitive, sequence } from '../asn1/writer.ts';
import type { Signer } from '../cms/sign.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { Oid } from '../oids.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { CertificateCache } from '../pki/certificate-cache.ts';
import { type SignaturePurpose, verifyDetachedSignature, writeDetachedSignature } from './detached-signature.ts';

/** The longest nonce that is read; ours have 16 octets. */
const MAX_NONCE_OCTETS = 256;

const MAX_CHALLENGE_OCTETS = 1024;

/** The most nonce signatures in one response; deployed clients send one. Each costs two signature checks. */
export const MAX_NONCE_SIGNATURES = 16;

/** The largest response that is read. */
export const MAX_HANDSHAKE_RESPONSE_OCTETS = 64 * 1024;

const NONCE_SIGNATURE: SignaturePurpose = {
  identifier: oid(Oid.NONCE_SIGNATURE, context(0)),
  name: 'Nonce signature',
  malformed: 'HANDSHAKE_MALFORMED',
  invalid: 'HANDSHAKE_INVALID',
};

/** Serializes a challenge, DER. */
export function writeHandshakeChallenge(nonce: Uint8Array): Buffer {
  return sequence(primitive(context(0), nonce));
}

/**
 * Reads a challenge.
 *
 * @returns the nonce
 * @throws AwalaError HANDSHAKE_MALFORMED, ASN1_TOO_COMPLEX
 */
export function readHandshakeChallenge(bytes: Buffer): Buffer {
  requireAtMost(MAX_CHALLENGE_OCTETS, bytes, 'Handshake challenge');
  return refusing('Handshake challenge', () => {
    const nonce = readBer(bytes, Tag.SEQUENCE).children().string(context(0)).octets();
    if (nonce.length === 0 || nonce.length > MAX_NONCE_OCTETS) {
      throw new AwalaError('HANDSHAKE_MALFORMED', `Nonce has ${nonce.length} octets`);
    }
    return nonce;
  });
}

/** Serializes a response, DER. @param signatures serialized nonce signatures, one for each private node */
export function writeHandshakeResponse(signatures: readonly Uint8Array[]): Buffer {
  return sequence(constructed(contextConstructed(0), ...signatures.map(octetString)));
}

/**
 * Reads a response.
 *
 * @returns the serialized nonce signatures, of which there are 1 to `MAX_NONCE_SIGNATURES`; not verified
 * @throws AwalaError HANDSHAKE_MALFORMED, ASN1_TOO_COMPLEX
 */
export function readHandshakeResponse(bytes: Buffer): Buffer[] {
  requireAtMost(MAX_HANDSHAKE_RESPONSE_OCTETS, bytes, 'Handshake response');
  return refusing('Handshake response', () => {
    const signatures: Buffer[] = [];
    const list = readBer(bytes, Tag.SEQUENCE).children().next(contextConstructed(0)).children();
    while (!list.atEnd) {
      if (signatures.length === MAX_NONCE_SIGNATURES) {
        throw new AwalaError('HANDSHAKE_MALFORMED', `There are more than ${MAX_NONCE_SIGNATURES} nonce signatures`);
      }
      signatures.push(list.string(Tag.OCTET_STRING).octets());
    }
    if (signatures.length === 0) {
      throw new AwalaError('HANDSHAKE_MALFORMED', 'There is no nonce signature');
    }
    return signatures;
  });
}

/**
 * Signs a nonce; DER.
 *
 * @param signer the private node, with its certificate from the gateway that it collects from
 */
export function writeNonceSignature(nonce: Uint8Array, signer: Signer): Promise<Buffer> {
  return writeDetachedSignature(NONCE_SIGNATURE, nonce, signer);
}

/**
 * Verifies one nonce signature of a response.
 *
 * @param trusted our own certificates, one of which must have issued the signer's
 * @param now milliseconds since the epoch
 * @param drift how far the signer's clock may be off, in milliseconds
 * @returns the signer's certificate
 * @throws AwalaError HANDSHAKE_MALFORMED, HANDSHAKE_INVALID
 */
export function verifyNonceSignature(
  signature: Buffer,
  nonce: Buffer,
  trusted: readonly Certificate[],
  cache: CertificateCache,
  now: number,
  drift: number,
): Certificate {
  return verifyDetachedSignature(NONCE_SIGNATURE, signature, nonce, { trusted, cache, now, drift });
}

function requireAtMost(limit: number, bytes: Buffer, what: string): void {
  if (bytes.length > limit) {
    throw new AwalaError('HANDSHAKE_MALFORMED', `${what} is larger than ${limit} octets`);
  }
}

function refusing<Value>(what: string, read: () => Value): Value {
  return refusingAs('HANDSHAKE_MALFORMED', what, read);
}
