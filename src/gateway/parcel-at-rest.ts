/**
 * A parcel as it is stored, wherever it waits: its bytes, its digest as part of the key, and beside it what traces it.
 */
import { hash } from 'node:crypto';
import type { Parcel } from '../awala/ramf/parcel.ts';
import type { TraceIds } from './errors.ts';
import type { ObjectEntry, ObjectMetadata } from './ports.ts';
import { CLOCK_DRIFT } from './time.ts';

export interface ParcelAtRest {
  /** Tells the parcel from every other: made of its recipient, sender and message id (RS-001). */
  readonly digest: string;
  readonly bytes: Buffer;
  /** Milliseconds since the epoch. */
  readonly expiry: number;
  readonly metadata: ObjectMetadata;
}

/** What tells a parcel from every other (RS-001). */
export interface ParcelName {
  /** Node id. */
  readonly sender: string;
  /** Node id. */
  readonly recipient: string;
  readonly messageId: string;
}

/** A parcel's name as a part of keys. */
export function parcelDigest({ sender, recipient, messageId }: ParcelName): string {
  return hash('sha256', `${recipient}\0${sender}\0${messageId}`, 'base64url');
}

/**
 * Until when a parcel waits, in milliseconds. One that had expired before it came was taken because its sender's clock may
 * be slow, so it waits for as long as clocks may differ.
 *
 * @param now when it was taken, in milliseconds
 */
export function expiryAtRest({ expiry }: Pick<Parcel, 'expiry'>, now: number): number {
  return expiry < now ? expiry + CLOCK_DRIFT : expiry;
}

/** @param now when it was taken, in milliseconds */
export function parcelAtRest(parcel: Parcel, ids: TraceIds, now: number): ParcelAtRest {
  const { recipient, sender, messageId, creation, raw } = parcel;
  return {
    digest: parcelDigest({ sender: sender.subjectId, recipient: recipient.id, messageId }),
    bytes: raw,
    expiry: expiryAtRest(parcel, now),
    metadata: {
      trace: ids.trace,
      parcel: messageId,
      sender: sender.subjectId,
      recipient: recipient.id,
      created: `${creation}`,
    },
  };
}

/**
 * Whether a stored parcel is newer than another with the same recipient, sender and id, which is not to take its place: by
 * when their sender dated them, since couriers bring parcels weeks later, and others try theirs again.
 *
 * @param there what is stored
 * @param other what comes; of the same date, what comes last is the newer
 */
export function isNewer(there: Pick<ObjectEntry, 'metadata'>, other: Pick<ObjectEntry, 'metadata'>): boolean {
  return Number(there.metadata['created']) > Number(other.metadata['created']);
}

/** How long a parcel has waited here, in whole milliseconds; arrivals are those of the store that counts. */
export function waitedSince(arrival: number, now: number): number {
  return Math.max(0, Math.round(now - arrival));
}

/** The ids that were stored beside a parcel. */
export function storedParcelIds({ metadata }: Pick<ObjectEntry, 'metadata'>): TraceIds {
  const { trace = '', parcel = '', sender = '', recipient = '' } = metadata;
  return { trace, parcel, sender, recipient };
}
