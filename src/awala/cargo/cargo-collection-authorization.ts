/**
 * Cargo collection authorizations (CCA; RS-000, protocol sections 2, 4 and 6): a private gateway lets whoever holds one
 * collect its cargo, and tells under which certificate (CDA) that cargo is to be signed.
 */
import { AwalaError } from '../errors.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { CertificateCache } from '../pki/certificate-cache.ts';
import { verifyPath } from '../pki/certification-path.ts';
import type { RsaPublicKey } from '../pki/rsa-public-key.ts';
import {
  checkMessageDates,
  type RamfMessage,
  RamfType,
  readRamfMessage,
  verifyRamfMessage,
} from '../ramf/ramf-message.ts';

/** The longest CCA, in octets: in base64 it fits gRPC metadata of 16 KiB, and those of clients take 4 to 7 KiB. */
export const MAX_CCA_OCTETS = 16_384;

/** A CCA that was read; its payload is encrypted. */
export type CargoCollectionAuthorization = RamfMessage<typeof RamfType.CARGO_COLLECTION_AUTHORIZATION>;

/**
 * Reads a CCA; nothing of it is verified yet.
 *
 * @param bytes kept, not copied
 * @throws AwalaError as `readRamfMessage`
 */
export function readCargoCollectionAuthorization(bytes: Buffer, cache: CertificateCache): CargoCollectionAuthorization {
  return readRamfMessage(RamfType.CARGO_COLLECTION_AUTHORIZATION, bytes, cache, MAX_CCA_OCTETS);
}

/**
 * Verifies the outside of a CCA: its signature and dates, and that one of our own certificates issued its signer's
 * directly, which makes the signer a private gateway of ours.
 *
 * @param trusted our own certificates
 * @param now ms since 1970
 * @param drift how far the clocks may differ, in ms
 * @throws AwalaError CERTIFICATE_UNTRUSTED, CERTIFICATE_SIGNATURE_INVALID, or as `verifyRamfMessage`
 */
export function verifyCargoCollectionAuthorization(
  cca: CargoCollectionAuthorization,
  trusted: readonly Certificate[],
  now: number,
  drift: number,
): void {
  checkMessageDates(cca, now, drift);
  verifyPath(cca.sender, { intermediates: [], trusted, now, drift, cache: cca.signedData.cache });
  verifyRamfMessage(cca, now, drift);
}

/**
 * Verifies the cargo delivery authorization (CDA) that a CCA brought. Its issuer's certificate does not come along and
 * may be self-issued, so it is verified with the CCA signer's key and id; whether it is an authority does not matter,
 * since deployed clients differ (protocol section 2).
 *
 * @param signer the key of the CCA's signer
 * @param now ms since 1970
 * @param drift how far the clocks may differ, in ms
 * @throws AwalaError CERTIFICATE_NOT_YET_VALID, CERTIFICATE_EXPIRED, CERTIFICATE_SIGNATURE_INVALID
 */
export function verifyCargoDeliveryAuthorization(
  authorization: Certificate,
  signer: RsaPublicKey,
  now: number,
  drift: number,
): void {
  authorization.checkDates(now, drift);
  if (!authorization.isSignedBy(signer)) {
    throw new AwalaError(
      'CERTIFICATE_SIGNATURE_INVALID',
      `Cargo delivery authorization is not signed by ${signer.nodeId}, who asks for the cargo`,
    );
  }
}
