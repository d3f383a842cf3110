/**
 * Private node registration request (PNRR; RS-000, protocol section 7): a private node's public key, with proof that
 * it holds the private half.
 *
 * `SEQUENCE { [0] SubjectPublicKeyInfo, [1] authorization (PNRA), [2] signature }`, all OCTET STRINGs
 */
import { readBer } from '../asn1/reader.ts';
import { context, Tag } from '../asn1/tags.ts';
import { oid, primitive, sequence } from '../asn1/writer.ts';
import { signPlainly } from '../cms/sign.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { Oid } from '../oids.ts';
import { type RsaPublicKey, readRsaPublicKey } from '../pki/rsa-public-key.ts';
import type { SigningKey } from '../signing-key.ts';

/** The largest request that is read; RS-016 tells servers to refuse those over 1 MiB. */
export const MAX_REGISTRATION_REQUEST_OCTETS = 1024 * 1024;

export interface RegistrationRequest {
  readonly publicKey: RsaPublicKey;
  /** The serialized authorization (PNRA). */
  readonly authorization: Buffer;
}

/** Serializes a request, signed with the private node's key; DER. */
export async function writeRegistrationRequest(request: RegistrationRequest, key: SigningKey): Promise<Buffer> {
  const { publicKey, authorization } = request;
  const signature = await signPlainly(signedFields(authorization), key);
  return sequence(
    primitive(context(0), publicKey.spki),
    primitive(context(1), authorization),
    primitive(context(2), signature),
  );
}

/**
 * Reads a request and verifies that the holder of its key signed it.
 *
 * @throws AwalaError REGISTRATION_MALFORMED, also when the signature is wrong (RS-016), KEY_UNSUPPORTED,
 *   ASN1_TOO_COMPLEX
 */
export function readRegistrationRequest(bytes: Buffer): RegistrationRequest {
  if (bytes.length > MAX_REGISTRATION_REQUEST_OCTETS) {
    throw new AwalaError(
      'REGISTRATION_MALFORMED',
      `Registration request is larger than ${MAX_REGISTRATION_REQUEST_OCTETS} octets`,
    );
  }
  const { publicKey, authorization, signature } = refusingAs('REGISTRATION_MALFORMED', 'Registration request', () => {
    const fields = readBer(bytes, Tag.SEQUENCE).children();
    return {
      publicKey: readRsaPublicKey(fields.string(context(0)).octets()),
      authorization: fields.string(context(1)).octets(),
      signature: fields.string(context(2)).octets(),
    };
  });
  if (!publicKey.verify('sha256', signedFields(authorization), signature)) {
    throw new AwalaError('REGISTRATION_MALFORMED', "Registration request was not signed with the node's key");
  }
  return { publicKey, authorization };
}

/** What is signed: the authorization after an OID that keeps the signature from passing for one over anything else. */
function signedFields(authorization: Buffer): Buffer {
  return sequence(oid(Oid.REGISTRATION_REQUEST, context(0)), primitive(context(1), authorization));
}
