/**
 * The parcels that wait in a mailbox, oldest first, for whoever takes them all: in pages, so that memory does not grow
 * with the mailbox, and read ahead a little, so that a slow store does not hold up each by itself.
 */
import type { Mailboxes } from './mailbox.ts';
import type { ObjectEntry, StoredObject } from './ports.ts';

/** Entries that are kept in mind at a time: some 8 MiB. The mailbox is listed once for each such page. */
const PAGE = 16_384;

/** How many parcels are read at once, and how many octets of them: a larger one is read by itself. */
const AT_ONCE = 32;
const OCTETS_AT_ONCE = 1024 * 1024;

/**
 * Entries in the order of their arrival, a page at a time. Those that arrive meanwhile come last, if they come at all.
 *
 * @param list gives all entries, in no order, in batches of any size
 * @param isWanted asked of each entry, more than once
 * @throws StoreError
 */
export async function* oldestFirst(
  list: () => AsyncIterable<readonly ObjectEntry[]>,
  isWanted: (entry: ObjectEntry) => boolean,
  page: number = PAGE,
): AsyncGenerator<ObjectEntry[]> {
  let last: ObjectEntry | undefined;
  for (let isTruncated = true; isTruncated; ) {
    let entries: ObjectEntry[] = [];
    isTruncated = false;
    for await (const batch of list()) {
      for (const entry of batch) {
        if ((!last || compare(entry, last) > 0) && isWanted(entry)) {
          entries.push(entry);
        }
      }
      if (entries.length >= 2 * page) {
        entries = entries.sort(compare).slice(0, page);
        isTruncated = true;
      }
    }
    entries.sort(compare);
    if (entries.length > page) {
      entries.length = page;
      isTruncated = true;
    }
    last = entries.at(-1) ?? last;
    if (entries.length > 0) {
      yield entries;
    }
  }
}

/** A parcel with the entry that it was found by: a newer version may have come in its place. */
export interface FoundParcel {
  readonly entry: ObjectEntry;
  readonly stored: StoredObject;
}

/**
 * Reads parcels in the order of their entries, the next ones while those before are used; those that are gone are passed
 * over. Many at once, since stores find them together for less than one after another.
 *
 * @returns as many together as were read at once
 * @throws StoreError
 */
export async function* readParcels(
  mailboxes: Mailboxes,
  pages: AsyncIterable<readonly ObjectEntry[]>,
): AsyncGenerator<FoundParcel[]> {
  let ahead: Reading | undefined;
  for await (const page of pages) {
    for (const { entries, octets } of batches(page)) {
      if (ahead && ahead.octets + octets > OCTETS_AT_ONCE) {
        yield await found(ahead);
        ahead = undefined;
      }
      const parcels = mailboxes.readAll(entries);
      // Told when its turn comes, unless whoever collects has left by then.
      parcels.catch(() => undefined);
      if (ahead) {
        yield await found(ahead);
      }
      ahead = { entries, octets, parcels };
    }
  }
  if (ahead) {
    yield await found(ahead);
  }
}

/** Entries whose parcels may be read at once. */
interface Batch {
  readonly entries: readonly ObjectEntry[];
  readonly octets: number;
}

interface Reading extends Batch {
  readonly parcels: Promise<readonly (StoredObject | undefined)[]>;
}

async function found({ entries, parcels }: Reading): Promise<FoundParcel[]> {
  const all: FoundParcel[] = [];
  const read = await parcels;
  for (let index = 0; index < read.length; index++) {
    const stored = read[index];
    if (stored) {
      all.push({ entry: entries[index] as ObjectEntry, stored });
    }
  }
  return all;
}

/** Entries in their order, as many together as may be read at once. */
function* batches(page: readonly ObjectEntry[]): Generator<Batch> {
  let entries: ObjectEntry[] = [];
  let octets = 0;
  for (const entry of page) {
    if (entries.length > 0 && (entries.length >= AT_ONCE || octets + entry.size > OCTETS_AT_ONCE)) {
      yield { entries, octets };
      entries = [];
      octets = 0;
    }
    entries.push(entry);
    octets += entry.size;
  }
  if (entries.length > 0) {
    yield { entries, octets };
  }
}

function compare(one: ObjectEntry, other: ObjectEntry): number {
  return one.arrival - other.arrival || (one.key < other.key ? -1 : one.key > other.key ? 1 : 0);
}
