/**
 * What PoHTTP answers to what the gateway refuses (protocol section 8).
 *
 * Some senders drop a parcel on any 4xx, so what may go better later is a 5xx, and 429 is never used.
 */
import { AwalaError, type AwalaErrorCode } from '../../awala/errors.ts';
import { GatewayError, type GatewayErrorCode } from '../../gateway/errors.ts';
import { StoreError } from '../../gateway/ports.ts';
import type { Refusal } from '../http/refusals.ts';

/** What cannot be read as a parcel; anything else that is wrong with one makes it invalid. */
const MALFORMED: ReadonlySet<AwalaErrorCode> = new Set([
  'ASN1_MALFORMED',
  'ASN1_TOO_COMPLEX',
  'CERTIFICATE_MALFORMED',
  'SIGNED_DATA_MALFORMED',
  'RAMF_FORMAT_UNKNOWN',
  'RAMF_MALFORMED',
]);

const GATEWAY_STATUS: Partial<Record<GatewayErrorCode, number>> = {
  WRONG_GATEWAY: 403,
  MAILBOX_FULL: 507,
  RATE_EXCEEDED: 507,
};

/** Refusals of parcels. */
export function pohttpRefusal(error: unknown): Refusal | undefined {
  if (error instanceof AwalaError) {
    const { code, message } = error;
    return { status: awalaStatus(code), code, message };
  }
  if (error instanceof GatewayError) {
    const { code, message } = error;
    return { status: GATEWAY_STATUS[code] ?? 503, code, message };
  }
  if (error instanceof StoreError) {
    const { code } = error;
    return code === 'STORE_FULL'
      ? { status: 507, code, message: 'Storage is full' }
      : { status: 503, code, message: 'Storage is away' };
  }
  return undefined;
}

function awalaStatus(code: AwalaErrorCode): number {
  if (code === 'MESSAGE_TOO_LARGE') {
    return 413;
  }
  return MALFORMED.has(code) ? 400 : 403;
}
