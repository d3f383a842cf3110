/**
 * The `Authorization` header of a parcel delivery: the countersignature in base64 (RS-016).
 */
import { HttpError } from '../http/http-error.ts';

/** The specification's scheme, then that of deployed clients. */
export const COUNTERSIGNATURE_SCHEMES = ['Awala-Countersignature', 'Relaynet-Countersignature'] as const;

const CREDENTIALS = /^(?:awala|relaynet)-countersignature +([a-z0-9+/]+={0,2}) *$/i;

/**
 * @returns the countersignature's octets
 * @throws HttpError COUNTERSIGNATURE_MISSING, if the header is absent, of another scheme, or not base64
 */
export function readCountersignatureHeader(header: string | undefined): Buffer {
  const base64 = header?.match(CREDENTIALS)?.[1];
  if (base64 === undefined) {
    throw new HttpError('COUNTERSIGNATURE_MISSING', 401, 'Authorization must be a countersignature in base64');
  }
  return Buffer.from(base64, 'base64');
}
