/**
 * Object identifiers that the protocol uses, in dotted form.
 */

/** The arc of the Awala specifications. */
const AWALA = '1.3.6.1.4.1.58708';

export const Oid = {
  /** RFC 8017. */
  RSA_ENCRYPTION: '1.2.840.113549.1.1.1',
  RSASSA_PSS: '1.2.840.113549.1.1.10',
  MGF1: '1.2.840.113549.1.1.8',
  /** FIPS 180-4. */
  SHA256: '2.16.840.1.101.3.4.2.1',
  SHA384: '2.16.840.1.101.3.4.2.2',
  SHA512: '2.16.840.1.101.3.4.2.3',
  /** RFC 5652 (CMS). */
  DATA: '1.2.840.113549.1.7.1',
  SIGNED_DATA: '1.2.840.113549.1.7.2',
  ENVELOPED_DATA: '1.2.840.113549.1.7.3',
  /** RFC 5083. */
  AUTH_ENVELOPED_DATA: '1.2.840.113549.1.9.16.1.23',
  CONTENT_TYPE: '1.2.840.113549.1.9.3',
  MESSAGE_DIGEST: '1.2.840.113549.1.9.4',
  /** RFC 5280 and X.520. */
  COMMON_NAME: '2.5.4.3',
  SUBJECT_KEY_IDENTIFIER: '2.5.29.14',
  BASIC_CONSTRAINTS: '2.5.29.19',
  AUTHORITY_KEY_IDENTIFIER: '2.5.29.35',
  /** RS-002: how many parcels a delivery authorization (PDA) allows. */
  PDA_RATE_LIMIT: `${AWALA}.0.0.0`,
  /** RS-003: id of the sender's session key, beside an EnvelopedData. */
  ORIGINATOR_SESSION_KEY_ID: `${AWALA}.0.1.0`,
  /** RS-016: what a plain signature is about. */
  REGISTRATION_AUTHORIZATION: `${AWALA}.0.2.0`,
  REGISTRATION_REQUEST: `${AWALA}.0.2.1`,
  PARCEL_COUNTERSIGNATURE: `${AWALA}.0.3.0`,
  NONCE_SIGNATURE: `${AWALA}.0.3.1`,
} as const;
