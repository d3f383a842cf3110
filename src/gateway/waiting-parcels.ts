/**
 * The parcels that wait in a mailbox, oldest first, for whoever takes them all: in pages, so that memory does not grow
 * with the mailbox, and read ahead a little, so that a slow store does not hold up each by itself.
 */
import type { Mailboxes } from './mailbox.ts';
import type { ObjectEntry, StoredObject } from './ports.ts';

/** Entries that are kept in mind at a time: some 8 MiB. The mailbox is listed once for each such page. */
const PAGE = 16_384;

/** How many parcels are read ahead, and how many octets of them: a larger one is read by itself. */
const AHEAD = 16;
const AHEAD_OCTETS = 1024 * 1024;

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
 * Reads parcels in the order of their entries; those that are gone are passed over.
 *
 * @returns each with the entry that it was found by: a newer version may have come in its place
 * @throws StoreError
 */
export async function* readParcels(
  mailboxes: Mailboxes,
  entries: AsyncIterable<ObjectEntry>,
): AsyncGenerator<{ entry: ObjectEntry; stored: StoredObject }> {
  const ahead: { entry: ObjectEntry; stored: Promise<StoredObject | undefined> }[] = [];
  let octets = 0;
  const next = async () => {
    const { entry, stored } = ahead.shift() as (typeof ahead)[number];
    octets -= entry.size;
    return { entry, stored: await stored };
  };
  for await (const entry of entries) {
    while (ahead.length > 0 && (ahead.length >= AHEAD || octets + entry.size > AHEAD_OCTETS)) {
      const { entry: oldest, stored } = await next();
      if (stored) {
        yield { entry: oldest, stored };
      }
    }
    const stored = mailboxes.read(entry.key, entry);
    // Told when its turn comes, unless whoever collects has left by then.
    stored.catch(() => undefined);
    ahead.push({ entry, stored });
    octets += entry.size;
  }
  while (ahead.length > 0) {
    const { entry, stored } = await next();
    if (stored) {
      yield { entry, stored };
    }
  }
}

function compare(one: ObjectEntry, other: ObjectEntry): number {
  return one.arrival - other.arrival || (one.key < other.key ? -1 : one.key > other.key ? 1 : 0);
}
