/** What an operator asks about parcels that wait for Internet nodes, and orders. Each change is logged. */
import type { Logger } from 'pino';
import type { JournalWriter } from '../../gateway/journal.ts';
import { readOutboxKey } from '../../gateway/outbox.ts';
import { storedParcelIds } from '../../gateway/parcel-at-rest.ts';
import type { ParcelStorage } from '../../gateway/parcel-storage.ts';
import type { QueueName } from '../../gateway/ports.ts';

/** How many destinations, or parcels, are told of at once. */
const MOST_LISTED = 1000;

/** JSON; dates are in ISO 8601. */
export interface DestinationList {
  readonly destinations: readonly WaitingDestination[];
  /** There are more. */
  readonly isTruncated: boolean;
  /** What expired before it was done, newest first, as far as the queue remembers it. */
  readonly givenUp: readonly GivenUpWork[];
}

export interface GivenUpWork {
  readonly queue: QueueName;
  /** The destination or private gateway that it was for. */
  readonly group: string;
  readonly key: string;
  readonly attempts: number;
  readonly expiry: string;
}

export interface WaitingDestination {
  readonly destination: string;
  /** How many parcels wait for it. */
  readonly parcels: number;
  /** When the next one is to be tried. */
  readonly next: string;
  /** Until when it rests, having failed. */
  readonly rests?: string;
}

export interface WaitingParcels {
  readonly destination: string;
  readonly parcels: readonly WaitingParcel[];
  readonly isTruncated: boolean;
}

export interface WaitingParcel {
  readonly parcel: string;
  readonly sender: string;
  readonly recipient: string;
  /** Node id of the private gateway that sent it. */
  readonly peer: string;
  readonly size: number;
  readonly attempts: number;
  readonly since: string;
  readonly next: string;
  readonly expiry: string;
}

export interface QueueParts {
  readonly storage: ParcelStorage;
  readonly journal: JournalWriter;
  readonly log: Logger;
  /** Work that expired before it was done, newest first. @throws StoreError */
  readonly givenUp: (
    queue: QueueName,
  ) => Promise<readonly (Omit<GivenUpWork, 'queue' | 'expiry'> & { expiry: number })[]>;
}

const QUEUES: readonly QueueName[] = ['internet-delivery', 'cargo'];

/** All destinations, those that most parcels wait for first. @throws StoreError */
export async function listDestinations({ storage, givenUp }: QueueParts): Promise<DestinationList> {
  const destinations: WaitingDestination[] = [];
  for await (const { group, count, due, rest } of storage.internetQueue.destinations()) {
    destinations.push({
      destination: group,
      parcels: count,
      next: isoDate(due),
      ...(rest > 0 && { rests: isoDate(rest) }),
    });
  }
  destinations.sort((one, other) => other.parcels - one.parcels);
  const isTruncated = destinations.splice(MOST_LISTED).length > 0;
  const gone = await Promise.all(
    QUEUES.map(async (queue) =>
      (await givenUp(queue)).map(({ expiry, ...work }) => ({ queue, ...work, expiry: isoDate(expiry) })),
    ),
  );
  return { destinations, isTruncated, givenUp: gone.flat() };
}

/** The parcels that wait for one destination, the next first. @throws StoreError */
export async function showDestination(destination: string, { storage }: QueueParts): Promise<WaitingParcels> {
  const parcels: WaitingParcel[] = [];
  let isTruncated = false;
  for await (const { key, due, attempts } of storage.internetQueue.list(destination)) {
    const entry = await storage.outbox.find(key);
    if (!entry) {
      continue;
    }
    if (parcels.length === MOST_LISTED) {
      isTruncated = true;
      break;
    }
    const { parcel = '', sender = '', recipient = '' } = storedParcelIds(entry);
    parcels.push({
      ...{ parcel, sender, recipient },
      ...{ peer: readOutboxKey(key).peer, size: entry.size, attempts },
      ...{ since: isoDate(entry.arrival), next: isoDate(due), expiry: isoDate(entry.expiry) },
    });
  }
  parcels.sort((one, other) => one.next.localeCompare(other.next));
  return { destination, parcels, isTruncated };
}

/** Has all parcels for a destination tried now, whatever failed before. @throws StoreError */
export async function retryDestination(
  destination: string,
  { storage, log }: QueueParts,
): Promise<{ readonly destination: string; readonly parcels: number }> {
  const parcels = (await storage.internetQueue.destination(destination))?.count ?? 0;
  await storage.internetQueue.hasten(destination);
  log.info({ destination, parcels }, 'Destination is tried again by order of the operator');
  return { destination, parcels };
}

/**
 * Takes parcels for a destination away for good.
 *
 * @param only RAMF message id; all where absent
 * @throws StoreError
 */
export async function dropParcels(
  destination: string,
  only: string | undefined,
  { storage, journal, log }: QueueParts,
): Promise<{ readonly destination: string; readonly parcels: number }> {
  let parcels = 0;
  for (const { key } of await Array.fromAsync(storage.internetQueue.list(destination))) {
    const entry = await storage.outbox.find(key);
    const ids = entry && { ...storedParcelIds(entry), peer: readOutboxKey(key).peer, destination };
    if (only !== undefined && ids?.parcel !== only) {
      continue;
    }
    if (entry && ids) {
      await storage.outbox.remove(ids.peer, entry);
      journal.record({ event: 'dropped', ...ids });
      log.info({ event: 'dropped', ...ids }, 'Parcel dropped by order of the operator');
      parcels++;
    }
    await storage.internetQueue.remove(key);
  }
  return { destination, parcels };
}

function isoDate(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
