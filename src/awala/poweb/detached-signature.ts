/**
 * Signatures by which a private node says who it is in PoWeb (RS-016, protocol section 7): detached CMS SignedData over
 * `SEQUENCE { [0] OID of the purpose, [1] OCTET STRING content }`, with the signer's certificate inside.
 */
import { context, Tag } from '../asn1/tags.ts';
import { header } from '../asn1/writer.ts';
import { type Signer, signData } from '../cms/sign.ts';
import { readSignedData, verifySignedData } from '../cms/signed-data.ts';
import { AwalaError, type AwalaErrorCode } from '../errors.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { CertificateCache } from '../pki/certificate-cache.ts';
import { verifyPath } from '../pki/certification-path.ts';

/** The largest signature that is read; one with RSA 4096 keys takes about 2,500 octets. */
export const MAX_DETACHED_SIGNATURE_OCTETS = 16 * 1024;

/** What a signature is for: it never passes for one over the same content for another purpose. */
export interface SignaturePurpose {
  /** Its OID as it is signed: `[0] OBJECT IDENTIFIER`. */
  readonly identifier: Buffer;
  /** Names such a signature, to begin a refusal with. */
  readonly name: string;
  readonly malformed: AwalaErrorCode;
  readonly invalid: AwalaErrorCode;
}

/** Whose signatures are accepted, and when. */
export interface SignatureTrust {
  /** The signer's certificate must be issued by one of these. */
  readonly trusted: readonly Certificate[];
  readonly cache: CertificateCache;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** How far the signer's clock may be off, in milliseconds. */
  readonly drift: number;
}

/**
 * Signs `content` for a purpose; DER. The content is not copied.
 *
 * @throws AwalaError ALGORITHM_UNSUPPORTED
 */
export async function writeDetachedSignature(
  purpose: SignaturePurpose,
  content: Uint8Array,
  signer: Signer,
): Promise<Buffer> {
  return Buffer.concat(await signData(signedFields(purpose, content), signer, { isDetached: true }));
}

/**
 * Verifies a signature over `content`, which is not copied.
 *
 * The certificates that come along other than the signer's are no use: the trusted one must have issued it directly,
 * else an endpoint could pass for the private gateway that it is behind.
 *
 * @returns the signer's certificate
 * @throws AwalaError with the codes of the purpose
 */
export function verifyDetachedSignature(
  purpose: SignaturePurpose,
  signature: Buffer,
  content: Buffer,
  trust: SignatureTrust,
): Certificate {
  if (signature.length > MAX_DETACHED_SIGNATURE_OCTETS) {
    throw new AwalaError(purpose.malformed, `${purpose.name} is larger than ${MAX_DETACHED_SIGNATURE_OCTETS} octets`);
  }
  try {
    const signedData = readSignedData(signature, trust.cache);
    verifyPath(signedData.signer, { ...trust, intermediates: [] });
    return verifySignedData(signedData, signedFields(purpose, content));
  } catch (error) {
    if (!(error instanceof AwalaError)) {
      throw error;
    }
    const code = MALFORMED.has(error.code) ? purpose.malformed : purpose.invalid;
    throw new AwalaError(code, `${purpose.name} is refused: ${error.message}`, { cause: error });
  }
}

/** What tells a signature that cannot be read from one that is wrong. */
const MALFORMED: ReadonlySet<AwalaErrorCode> = new Set<AwalaErrorCode>([
  'ASN1_MALFORMED',
  'ASN1_TOO_COMPLEX',
  'SIGNED_DATA_MALFORMED',
  'CERTIFICATE_MALFORMED',
]);

/** What is signed, in pieces, of which the last is the content itself. */
function signedFields<Content extends Uint8Array>(purpose: SignaturePurpose, content: Content): (Buffer | Content)[] {
  const { identifier } = purpose;
  const contentHeader = header(context(1), content.length);
  const length = identifier.length + contentHeader.length + content.length;
  return [Buffer.concat([header(Tag.SEQUENCE, length), identifier, contentHeader]), content];
}
