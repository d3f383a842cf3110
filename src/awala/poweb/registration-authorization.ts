/**
 * Private node registration authorization (PNRA; RS-000, protocol section 7): allows one registration, for seconds.
 *
 * `SEQUENCE { [0] expiry DATE-TIME, [1] gatewayData OCTET STRING, [2] signature OCTET STRING }`
 *
 * Only the gateway that wrote one reads it; to the private gateway it is opaque.
 */
import { readBer } from '../asn1/reader.ts';
import { context, Tag } from '../asn1/tags.ts';
import { readDateTime } from '../asn1/time.ts';
import { dateTime, oid, primitive, sequence } from '../asn1/writer.ts';
import { PLAIN_HASHES, signPlainly } from '../cms/sign.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { Oid } from '../oids.ts';
import type { RsaPublicKey } from '../pki/rsa-public-key.ts';
import type { SigningKey } from '../signing-key.ts';

/** The largest authorization that is read: ours take about 600 octets with an RSA 4096 key. */
export const MAX_REGISTRATION_AUTHORIZATION_OCTETS = 4096;

export interface RegistrationAuthorization {
  /** Milliseconds since the epoch; written in whole seconds, rounded down. */
  readonly expiry: number;
  /** Whose registration is authorized, and a nonce; up to the gateway. */
  readonly gatewayData: Buffer;
}

/** Serializes an authorization, signed with the gateway's identity key; DER. */
export async function writeRegistrationAuthorization(
  authorization: RegistrationAuthorization,
  key: SigningKey,
): Promise<Buffer> {
  const { expiry, gatewayData } = authorization;
  const date = new Date(expiry);
  const signature = await signPlainly(signedFields(dateTime(date, context(1)), gatewayData), key);
  return sequence(dateTime(date, context(0)), primitive(context(1), gatewayData), primitive(context(2), signature));
}

/**
 * Reads and verifies an authorization.
 *
 * @param keys the gateway's own identity keys, any of which may have signed it
 * @param now milliseconds since the epoch
 * @throws AwalaError REGISTRATION_MALFORMED, REGISTRATION_UNAUTHORIZED when no such key signed it, REGISTRATION_EXPIRED,
 *   ASN1_TOO_COMPLEX
 */
export function readRegistrationAuthorization(
  bytes: Buffer,
  keys: readonly RsaPublicKey[],
  now: number,
): RegistrationAuthorization {
  if (bytes.length > MAX_REGISTRATION_AUTHORIZATION_OCTETS) {
    throw new AwalaError(
      'REGISTRATION_MALFORMED',
      `Registration authorization is larger than ${MAX_REGISTRATION_AUTHORIZATION_OCTETS} octets`,
    );
  }
  const { expiry, gatewayData, signature } = refusingAs('REGISTRATION_MALFORMED', 'Registration authorization', () => {
    const fields = readBer(bytes, Tag.SEQUENCE).children();
    return {
      expiry: readDateTime(fields.string(context(0))),
      gatewayData: fields.string(context(1)).octets(),
      signature: fields.string(context(2)).octets(),
    };
  });
  const plaintext = signedFields(dateTime(new Date(expiry), context(1)), gatewayData);
  if (!keys.some((key) => PLAIN_HASHES.some((hash) => key.verify(hash, plaintext, signature)))) {
    throw new AwalaError('REGISTRATION_UNAUTHORIZED', 'Registration authorization was not signed by this gateway');
  }
  if (expiry <= now) {
    throw new AwalaError('REGISTRATION_EXPIRED', 'Registration authorization has expired');
  }
  return { expiry, gatewayData };
}

/** What is signed: the fields after an OID that keeps the signature from passing for one over anything else. */
function signedFields(expiry: Buffer, gatewayData: Buffer): Buffer {
  return sequence(oid(Oid.REGISTRATION_AUTHORIZATION, context(0)), expiry, primitive(context(2), gatewayData));
}
