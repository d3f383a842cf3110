/**
 * The `Authorization` header of a parcel delivery: the countersignature in base64 (RS-016).
 */
import { HttpError } from '../http/http-error.ts';

/** The specification's scheme, then that of deployed clients. */
export const COUNTERSIGNATURE_SCHEMES = ['Awala-Countersignature', 'Relaynet-Countersignature'] as const;

const SCHEME = /^(?:awala|relaynet)-countersignature +/i;

/**
 * @returns the countersignature's octets
 * @throws HttpError COUNTERSIGNATURE_MISSING, if the header is absent, of another scheme, or not base64
 */
export function readCountersignatureHeader(header: string | undefined): Buffer {
  const scheme = header?.match(SCHEME)?.[0];
  const base64 = scheme === undefined ? '' : (header as string).slice(scheme.length).trimEnd();
  const octets = Buffer.from(base64, 'base64');
  if (octets.length === 0 || octets.length < decodedLength(base64)) {
    throw new HttpError('COUNTERSIGNATURE_MISSING', 401, 'Authorization must be a countersignature in base64');
  }
  return octets;
}

/** How many octets this would be if all of it were base64: the decoder leaves out what is not. */
function decodedLength(base64: string): number {
  const digits = base64.length - (base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0);
  return Math.floor((digits * 3) / 4);
}
