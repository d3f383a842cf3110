/**
 * What PoWeb answers to what the gateway refuses (protocol section 7).
 *
 * Only 2xx and 422 make a client forget a parcel; any other 4xx blocks Android's queue at that parcel. So a parcel from
 * a private gateway that we know, refused for good, gets 422; 429 is never used.
 */
import { AwalaError, type AwalaErrorCode } from '../../awala/errors.ts';
import { GatewayError, type TraceIds } from '../../gateway/errors.ts';
import { StoreError } from '../../gateway/ports.ts';
import { HttpError } from '../http/http-error.ts';
import type { Refusal } from '../http/refusals.ts';
import { COUNTERSIGNATURE_SCHEMES } from './countersignature-header.ts';

const CHALLENGE = { 'www-authenticate': COUNTERSIGNATURE_SCHEMES.join(', ') };

/** What cannot be read as a parcel at all. */
const MALFORMED_PARCEL: ReadonlySet<AwalaErrorCode> = new Set([
  'ASN1_MALFORMED',
  'RAMF_FORMAT_UNKNOWN',
  'RAMF_MALFORMED',
  'SIGNED_DATA_MALFORMED',
]);

/** Statuses of what only registration throws. */
const REGISTRATION: Partial<Record<AwalaErrorCode, number>> = {
  REGISTRATION_MALFORMED: 400,
  REGISTRATION_UNAUTHORIZED: 403,
  REGISTRATION_EXPIRED: 403,
};

export function powebRefusal(error: unknown, ids: TraceIds): Refusal | undefined {
  if (error instanceof HttpError) {
    const refusal = { status: error.status, code: error.code, message: error.message };
    return error.code === 'COUNTERSIGNATURE_MISSING' ? { ...refusal, headers: CHALLENGE } : refusal;
  }
  if (error instanceof AwalaError) {
    const { code, message } = error;
    return code === 'COUNTERSIGNATURE_MALFORMED'
      ? { status: 401, code, message, headers: CHALLENGE }
      : { status: awalaStatus(code, ids), code, message };
  }
  if (error instanceof GatewayError) {
    const { code, message } = error;
    return { status: code === 'TOKEN_USED' ? 403 : 503, code, message };
  }
  if (error instanceof StoreError) {
    return { status: 503, code: error.code, message: 'Storage is full or away' };
  }
  return undefined;
}

function awalaStatus(code: AwalaErrorCode, ids: TraceIds): number {
  const registration = REGISTRATION[code];
  if (registration !== undefined) {
    return registration;
  }
  if (code === 'COUNTERSIGNATURE_INVALID') {
    return 403;
  }
  if (MALFORMED_PARCEL.has(code)) {
    return 400;
  }
  // Without a peer it is a registration's key or signature; a parcel is read only once its peer is known.
  return ids.peer === undefined ? 400 : 422;
}
