/**
 * The rate that a delivery authorization (PDA) allows its holder: so many parcels in so much time, by the time of
 * receipt (protocol section 6).
 */
import type { AuthorizedParcel } from '../awala/ramf/parcel.ts';
import type { Meters } from './ports.ts';

export interface ParcelRate {
  /** Names the authorization. */
  readonly authorization: string;
  readonly limit: number;
  /** Milliseconds. */
  readonly period: number;
}

/** The rate that an authorized parcel counts against, if there is one. */
export function rateOf({ parcel, pda }: AuthorizedParcel): ParcelRate | undefined {
  const { pdaRateLimit } = pda;
  return (
    pdaRateLimit && {
      // Serial numbers are unique to an issuer (RFC 5280, section 4.1.2.2), so the two name one authorization.
      authorization: `${parcel.recipient.id}/${pda.serialNumber}`,
      limit: pdaRateLimit.limit,
      period: pdaRateLimit.periodMs,
    }
  );
}

/** Counts a parcel, unless that is one too many. */
export function isWithinRate(meters: Meters, { authorization, limit, period }: ParcelRate): Promise<boolean> {
  return meters.take(`pda/${authorization}`, limit, period);
}

/** As a short string, to be stored beside a parcel. */
export function writeRate({ authorization, limit, period }: ParcelRate): string {
  return `${authorization} ${limit} ${period}`;
}

/** The reverse of `writeRate`. */
export function readRate(text: string): ParcelRate {
  const [authorization = '', limit = '0', period = '0'] = text.split(' ');
  return { authorization, limit: Number(limit), period: Number(period) };
}
