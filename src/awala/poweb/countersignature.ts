/**
 * Countersignature of a parcel: how a private node that delivers one says who it is (RS-016, protocol section 7).
 */

import { context } from '../asn1/tags.ts';
import { oid } from '../asn1/writer.ts';
import type { Signer } from '../cms/sign.ts';
import { Oid } from '../oids.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { CertificateCache } from '../pki/certificate-cache.ts';
import { type SignaturePurpose, verifyDetachedSignature, writeDetachedSignature } from './detached-signature.ts';

const PARCEL_COUNTERSIGNATURE: SignaturePurpose = {
  identifier: oid(Oid.PARCEL_COUNTERSIGNATURE, context(0)),
  name: 'Parcel countersignature',
  malformed: 'COUNTERSIGNATURE_MALFORMED',
  invalid: 'COUNTERSIGNATURE_INVALID',
};

/**
 * Countersigns a serialized parcel; DER.
 *
 * @param signer the private node, with its certificate from the gateway that the parcel is delivered to
 */
export function writeParcelCountersignature(parcel: Uint8Array, signer: Signer): Promise<Buffer> {
  return writeDetachedSignature(PARCEL_COUNTERSIGNATURE, parcel, signer);
}

/**
 * Verifies the countersignature of a serialized parcel, which itself is not looked into.
 *
 * @param trusted our own certificates, one of which must have issued the signer's
 * @param now milliseconds since the epoch
 * @param drift how far the signer's clock may be off, in milliseconds
 * @returns the signer's certificate
 * @throws AwalaError COUNTERSIGNATURE_MALFORMED, COUNTERSIGNATURE_INVALID
 */
export function verifyParcelCountersignature(
  countersignature: Buffer,
  parcel: Buffer,
  trusted: readonly Certificate[],
  cache: CertificateCache,
  now: number,
  drift: number,
): Certificate {
  return verifyDetachedSignature(PARCEL_COUNTERSIGNATURE, countersignature, parcel, { trusted, cache, now, drift });
}
