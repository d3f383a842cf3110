/**
 * The one list of reasons for which the protocol layer refuses its input.
 *
 * Codes are stable: they appear in logs and answers, and operators search for them.
 */
export type AwalaErrorCode =
  /** Not BER, or BER beyond our bounds on depth, element count or length. */
  | 'ASN1_MALFORMED'
  | 'ASN1_TOO_COMPLEX'
  /** An X.509 certificate that RS-002 does not allow, or that cannot be read. */
  | 'CERTIFICATE_MALFORMED'
  | 'CERTIFICATE_NOT_YET_VALID'
  | 'CERTIFICATE_EXPIRED'
  | 'CERTIFICATE_SIGNATURE_INVALID'
  /** Its holder revoked this very certificate. */
  | 'CERTIFICATE_REVOKED'
  /** No chain of valid certificates from the signer to a trusted one. */
  | 'CERTIFICATE_UNTRUSTED'
  /** A key that is not RSA of 2048, 3072 or 4096 bits (or EC on a named curve where that is due). */
  | 'KEY_UNSUPPORTED'
  /** A hash, signature or encryption algorithm that RS-018 does not allow. */
  | 'ALGORITHM_UNSUPPORTED'
  /** CMS SignedData that cannot be read. */
  | 'SIGNED_DATA_MALFORMED'
  | 'SIGNATURE_INVALID'
  /** RAMF (RS-001). */
  | 'RAMF_FORMAT_UNKNOWN'
  | 'RAMF_MALFORMED'
  | 'MESSAGE_TOO_LARGE'
  | 'MESSAGE_FROM_FUTURE'
  | 'MESSAGE_EXPIRED'
  | 'MESSAGE_TTL_TOO_LONG'
  /** The parcel's recipient did not issue the sender's delivery authorization (PDA). */
  | 'PARCEL_UNAUTHORIZED'
  /** PoWeb binding messages (RS-016). */
  | 'REGISTRATION_MALFORMED'
  | 'REGISTRATION_UNAUTHORIZED'
  | 'REGISTRATION_EXPIRED'
  | 'COUNTERSIGNATURE_MALFORMED'
  | 'COUNTERSIGNATURE_INVALID'
  | 'HANDSHAKE_MALFORMED'
  | 'HANDSHAKE_INVALID'
  | 'DELIVERY_MALFORMED'
  /** A message of a channel session (RS-003) that cannot be read. */
  | 'ENVELOPED_DATA_MALFORMED'
  /** One that cannot be decrypted, for whatever cause: the refusal must not tell. */
  | 'DECRYPTION_FAILED'
  /** What travels in cargo and CCAs (RS-000). */
  | 'CARGO_MESSAGE_SET_MALFORMED'
  | 'COLLECTION_REQUEST_MALFORMED'
  | 'COLLECTION_ACK_MALFORMED'
  | 'CERTIFICATE_ROTATION_MALFORMED'
  | 'DEAUTHORIZATION_MALFORMED'
  /** Connection parameters that cannot be read. */
  | 'CONNECTION_PARAMS_MALFORMED';

/** A refusal by the protocol layer: what is wrong, with a stable code. Nothing in `awala/` throws anything else on bad input. */
export class AwalaError extends Error {
  override readonly name = 'AwalaError';
  readonly code: AwalaErrorCode;

  constructor(code: AwalaErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Runs a reader of some type, so that bytes that are not ASN.1 are refused under that type's own code.
 *
 * @param what names the type in the message
 */
export function refusingAs<T>(code: AwalaErrorCode, what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof AwalaError && error.code === 'ASN1_MALFORMED') {
      throw new AwalaError(code, `${what}: ${error.message}`, { cause: error });
    }
    throw error;
  }
}
