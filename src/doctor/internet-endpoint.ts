/** Delivery from the Internet, as Internet endpoints make it (PoHTTP, RS-007). */
import { call, requireStatus } from './call.ts';
import { PARCEL_TYPE } from './private-gateway.ts';

/** How long deployed clients wait for PoHTTP, in milliseconds. */
const POHTTP_LIMIT = 3000;

/**
 * Delivers a serialized parcel.
 *
 * @throws DoctorFault unless it is answered 202
 */
export async function deliverByPoHttp(url: URL, parcel: Buffer, signal: AbortSignal): Promise<void> {
  const headers = { 'content-type': PARCEL_TYPE };
  const answer = await call(url, { method: 'POST', headers, body: parcel, limit: POHTTP_LIMIT, signal });
  requireStatus(answer, 202, 'The parcel');
}
