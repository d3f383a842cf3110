/**
 * Refusals that come from HTTP itself, before the gateway is asked, or from this process being busy.
 */

/** Stable codes, for logs. */
export type HttpErrorCode =
  | 'BODY_TOO_LARGE'
  | 'CONTENT_TYPE_UNSUPPORTED'
  /** No countersignature in the `Authorization` header, or one that cannot be read. */
  | 'COUNTERSIGNATURE_MISSING'
  /** A pre-registration that is not the SHA-256 of a key in hexadecimal. */
  | 'KEY_DIGEST_MALFORMED'
  /** All bodies that are being received and handled take as much memory as they may. */
  | 'BODIES_IN_FLIGHT'
  | 'UPLOAD_TOO_SLOW'
  /** The client went away before its request was complete. */
  | 'CLIENT_GONE'
  /** This address, or its neighbours, did this too often. */
  | 'ADDRESS_LIMITED';

/** How long a client that is told to come back should wait, unless something better is known, in seconds. */
export const RETRY_AFTER = 10;

/** A refusal with its HTTP status. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly code: HttpErrorCode;
  readonly status: number;
  /** For status 503: when to come back, in seconds. */
  readonly retryAfter: number;

  constructor(code: HttpErrorCode, status: number, message: string, retryAfter: number = RETRY_AFTER) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}
