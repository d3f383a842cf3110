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

/** The codes of refused registrations that get 403; others get 400. */
const FORBIDDEN_REGISTRATION: ReadonlySet<string> = new Set([
  'REGISTRATION_UNAUTHORIZED',
  'REGISTRATION_EXPIRED',
  'TOKEN_USED',
  'PEER_BLOCKED',
  'PEER_NOT_ALLOWED',
  'REGISTRATION_CLOSED',
]);

/** The codes of what cannot be read as a parcel at all. */
const MALFORMED_PARCEL: ReadonlySet<AwalaErrorCode> = new Set([
  'ASN1_MALFORMED',
  'RAMF_FORMAT_UNKNOWN',
  'RAMF_MALFORMED',
  'SIGNED_DATA_MALFORMED',
]);

const CHALLENGE = { 'www-authenticate': COUNTERSIGNATURE_SCHEMES.join(', ') };

/** Refusals of pre-registrations and registrations. */
export function registrationRefusal(error: unknown): Refusal | undefined {
  if (error instanceof GatewayError && error.code === 'IDENTITY_KEY_MISSING') {
    // A fault of ours, and no client's business.
    return undefined;
  }
  if (error instanceof AwalaError || error instanceof GatewayError) {
    const { code, message } = error;
    return { status: FORBIDDEN_REGISTRATION.has(code) ? 403 : 400, code, message };
  }
  return storeRefusal(error);
}

/** Refusals of parcels. */
export function deliveryRefusal(error: unknown, ids: TraceIds): Refusal | undefined {
  if (error instanceof HttpError && error.code === 'COUNTERSIGNATURE_MISSING') {
    return { status: error.status, code: error.code, message: error.message, headers: CHALLENGE };
  }
  if (error instanceof AwalaError) {
    const { code, message } = error;
    return code === 'COUNTERSIGNATURE_MALFORMED'
      ? { status: 401, code, message, headers: CHALLENGE }
      : { status: awalaStatus(code, ids), code, message };
  }
  if (error instanceof GatewayError) {
    const { code, message } = error;
    // Not for good, as a block may be lifted: its parcels stay with the client (docs/decisions/0012-blocked-peers.md).
    return { status: code === 'PEER_BLOCKED' ? 403 : 503, code, message };
  }
  return storeRefusal(error);
}

function awalaStatus(code: AwalaErrorCode, { peer }: TraceIds): number {
  // The parcel is not looked at before its countersigner is known: until then, nothing is wrong with it.
  if (peer === undefined) {
    return 403;
  }
  return MALFORMED_PARCEL.has(code) ? 400 : 422;
}

function storeRefusal(error: unknown): Refusal | undefined {
  return error instanceof StoreError
    ? { status: 503, code: error.code, message: 'Storage is full or away' }
    : undefined;
}
