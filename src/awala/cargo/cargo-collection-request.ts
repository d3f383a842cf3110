/**
 * Cargo collection requests (CCR; RS-000, protocol section 6): the plaintext of a cargo collection authorization (CCA).
 *
 * `SEQUENCE { [0] OCTET STRING }`: the cargo delivery authorization (CDA), the certificate under which the gateway that
 * is asked for cargo may sign it.
 */
import { readBer } from '../asn1/reader.ts';
import { context, Tag } from '../asn1/tags.ts';
import { primitive, sequence } from '../asn1/writer.ts';
import { refusingAs } from '../errors.ts';
import { type Certificate, readCertificate } from '../pki/certificate.ts';

export interface CargoCollectionRequest {
  /** The CDA; nothing of it is verified yet. */
  readonly cargoDeliveryAuthorization: Certificate;
}

/** Serializes a request, DER. */
export function writeCargoCollectionRequest({ cargoDeliveryAuthorization }: CargoCollectionRequest): Buffer {
  return sequence(primitive(context(0), cargoDeliveryAuthorization.raw));
}

/**
 * Reads a request; further fields are passed over.
 *
 * @throws AwalaError COLLECTION_REQUEST_MALFORMED, ASN1_TOO_COMPLEX, or as `readCertificate`
 */
export function readCargoCollectionRequest(plaintext: Buffer): CargoCollectionRequest {
  const certificate = refusingAs('COLLECTION_REQUEST_MALFORMED', 'Cargo collection request', () =>
    readBer(plaintext, Tag.SEQUENCE).children().string(context(0)).octets(),
  );
  return { cargoDeliveryAuthorization: readCertificate(certificate) };
}
