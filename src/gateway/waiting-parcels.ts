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
 * Entries in the order of their arrival. Those that arrive meanwhile come last, if they come at all.
 *
 * @param isWanted asked of each entry, more than once
 * @throws StoreError
 */
export async function* oldestFirst(
  list: () => AsyncIterable<ObjectEntry>,
  isWanted: (entry: ObjectEntry) => boolean,
  page: number = PAGE,
): AsyncGenerator<ObjectEntry> {
  let last: ObjectEntry | undefined;
  for (let isTruncated = true; isTruncated; ) {
    let entries: ObjectEntry[] = [];
    isTruncated = false;
    for await (const entry of list()) {
      if ((last && compare(entry, last) <= 0) || !isWanted(entry)) {
        continue;
      }
      entries.push(entry);
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
    yield* entries;
  }
}

/**
 * Reads parcels in the order of their entries, the next ones while those before are used; those that are gone are passed
 * over. Many at once, since stores find them together for less than one after another.
 *
 * @returns each with the entry that it was found by: a newer version may have come in its place
 * @throws StoreError
 */
export async function* readParcels(
  mailboxes: Mailboxes,
  entries: AsyncIterable<ObjectEntry>,
): AsyncGenerator<{ entry: ObjectEntry; stored: StoredObject }> {
  let ahead: Reading[] = [];
  for await (const batch of batches(entries)) {
    if (octetsOf(ahead.map(({ entry }) => entry)) + octetsOf(batch) > OCTETS_AT_ONCE) {
      yield* found(ahead);
      ahead = [];
    }
    const reading = batch.map((entry) => ({ entry, stored: mailboxes.read(entry.key, entry) }));
    for (const { stored } of reading) {
      // Told when its turn comes, unless whoever collects has left by then.
      stored.catch(() => undefined);
    }
    yield* found(ahead);
    ahead = reading;
  }
  yield* found(ahead);
}

/** An entry whose parcel is being read. */
interface Reading {
  readonly entry: ObjectEntry;
  readonly stored: Promise<StoredObject | undefined>;
}

function octetsOf(entries: readonly ObjectEntry[]): number {
  return entries.reduce((sum, { size }) => sum + size, 0);
}

async function* found(reading: readonly Reading[]): AsyncGenerator<{ entry: ObjectEntry; stored: StoredObject }> {
  for (const { entry, stored } of reading) {
    const parcel = await stored;
    if (parcel) {
      yield { entry, stored: parcel };
    }
  }
}

/** Entries in their order, as many together as may be read at once. */
async function* batches(entries: AsyncIterable<ObjectEntry>): AsyncGenerator<ObjectEntry[]> {
  let batch: ObjectEntry[] = [];
  let octets = 0;
  for await (const entry of entries) {
    if (batch.length > 0 && (batch.length >= AT_ONCE || octets + entry.size > OCTETS_AT_ONCE)) {
      yield batch;
      batch = [];
      octets = 0;
    }
    batch.push(entry);
    octets += entry.size;
  }
  if (batch.length > 0) {
    yield batch;
  }
}

function compare(one: ObjectEntry, other: ObjectEntry): number {
  return one.arrival - other.arrival || (one.key < other.key ? -1 : one.key > other.key ? 1 : 0);
}
