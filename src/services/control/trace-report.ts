/** What an operator may know of a message: each hop with its time, and where it waits now. Never its payload. */
import type { ParcelStorage } from '../../gateway/parcel-storage.ts';
import type { Journal, JournalEntry } from '../../gateway/ports.ts';
import { type Whereabouts, whereabouts } from '../../gateway/whereabouts.ts';

/** JSON; dates are in ISO 8601. */
export interface TraceReport {
  readonly id: string;
  /** Parcels of that id: different senders may use the same. */
  readonly parcels: readonly ParcelTrace[];
}

export interface ParcelTrace {
  readonly parcel: string;
  readonly sender: string;
  readonly recipient: string;
  readonly hops: readonly Hop[];
  readonly waits: readonly Wait[];
}

export type Hop = Omit<JournalEntry, 'parcel' | 'sender' | 'recipient' | 'expiry' | 'next'> & {
  readonly time: string;
  readonly expiry?: string;
  readonly next?: string;
};

export type Wait = Omit<Whereabouts, 'since' | 'expiry' | 'next'> & {
  readonly since: string;
  readonly expiry: string;
  readonly next?: string;
};

/**
 * @param id RAMF message id of a parcel, or the trace id of a log line
 * @throws StoreError
 */
export async function reportTrace(
  id: string,
  { journal, storage }: { journal: Journal; storage: ParcelStorage },
): Promise<TraceReport> {
  const parcels = Map.groupBy(
    await journal.find(id),
    ({ parcel = '', sender = '', recipient = '' }) => `${parcel} ${sender} ${recipient}`,
  );
  return {
    id,
    parcels: await Promise.all(
      [...parcels.values()].map(async (entries) => {
        const { parcel = '', sender = '', recipient = '' } = entries[0] ?? {};
        const waits = await whereabouts(entries, storage);
        return { parcel, sender, recipient, hops: entries.map(hop), waits: waits.map(wait) };
      }),
    ),
  };
}

function hop({ parcel, sender, recipient, time, expiry, next, ...rest }: JournalEntry & { time: number }): Hop {
  return {
    time: isoDate(time),
    ...rest,
    ...(expiry && { expiry: isoDate(expiry) }),
    ...(next && { next: isoDate(next) }),
  };
}

function wait({ since, expiry, next, ...rest }: Whereabouts): Wait {
  const dates = { since: isoDate(since), expiry: isoDate(expiry) };
  return { ...rest, ...dates, ...(next !== undefined && { next: isoDate(next) }) };
}

function isoDate(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
