/** What an operator may know of a message: each hop with its time, and where it waits now. Never its payload. */
import type { ParcelStorage } from '../../gateway/parcel-storage.ts';
import type { Journal, JournalEntry } from '../../gateway/ports.ts';
import { type Whereabouts, whereabouts } from '../../gateway/whereabouts.ts';

/** An event with its time, in milliseconds. */
export type TimedEntry = JournalEntry & { readonly time: number };

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
  /** Undefined where nobody looked: of what logs tell. */
  readonly waits?: readonly Wait[];
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
  return {
    id,
    parcels: await Promise.all(
      parcelsOf(await journal.find(id)).map(async ({ entries, ...trace }) => ({
        ...trace,
        waits: (await whereabouts(entries, storage)).map(wait),
      })),
    ),
  };
}

/** The ways of parcels, in the order of their first events, which are to be in the order of time. */
export function parcelsOf(
  events: readonly TimedEntry[],
): (ParcelTrace & { readonly entries: readonly TimedEntry[] })[] {
  const parcels = Map.groupBy(
    events,
    ({ parcel = '', sender = '', recipient = '' }) => `${parcel} ${sender} ${recipient}`,
  );
  return [...parcels.values()].map((entries) => {
    const { parcel = '', sender = '', recipient = '' } = entries[0] ?? {};
    return { parcel, sender, recipient, hops: entries.map(hop), entries };
  });
}

function hop({ parcel, sender, recipient, time, expiry, next, ...rest }: TimedEntry): Hop {
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
