/**
 * Reads many small messages at once: one look at the index finds some tens of them, and neighbours in the log are read in
 * one go.
 */
import type { ObjectEntry, StoredObject } from '../../gateway/ports.ts';
import { checksum } from './checksum.ts';
import type { Place } from './log-records.ts';
import type { MessageLog } from './message-log.ts';
import { idOf, objectOf } from './object-rows.ts';
import type { RecentChanges } from './recent-changes.ts';
import type { StoreFiles } from './store-files.ts';

/** How many bodies are found in one look, and up to how many octets each are read together. */
const AT_ONCE = 32;
const MOST_OCTETS = 64 * 1024;

const PLACES = `
  SELECT id, place, body_checksum FROM entries WHERE id IN (${Array(AT_ONCE).fill('?').join(', ')})`;

/** As `PLACES` has it; no place where the body is in the index's file. */
type PlaceRow = readonly [id: number, place: Place | null, bodyChecksum: number];

/** No version of ours. */
const NONE = -1;

interface Parts {
  readonly files: StoreFiles;
  readonly log: MessageLog;
  readonly recent: RecentChanges;
}

/**
 * @param isWanted which of the entries to read
 * @returns in the order of the entries, those that are small and wanted and of which the very version is there and
 *   undamaged
 * @throws StoreError
 */
export async function readSmall(
  parts: Parts,
  listed: readonly ObjectEntry[],
  isWanted: (entry: ObjectEntry) => boolean,
): Promise<(StoredObject | undefined)[]> {
  const found: (StoredObject | undefined)[] = Array(listed.length).fill(undefined);
  const small: number[] = [];
  for (let index = 0; index < listed.length; index++) {
    const entry = listed[index] as ObjectEntry;
    if (entry.size <= MOST_OCTETS && isWanted(entry)) {
      small.push(index);
    }
  }
  for (let start = 0; small.length > 1 && start < small.length; start += AT_ONCE) {
    await readSome(parts, listed, small.slice(start, start + AT_ONCE), found);
  }
  return found;
}

/** @param indexes of the entries to read, at most `AT_ONCE` */
async function readSome(
  { files, log, recent }: Parts,
  listed: readonly ObjectEntry[],
  indexes: readonly number[],
  found: (StoredObject | undefined)[],
): Promise<void> {
  const ids = Array<number>(AT_ONCE).fill(NONE);
  for (let at = 0; at < indexes.length; at++) {
    ids[at] = idOf((listed[indexes[at] as number] as ObjectEntry).version);
  }
  const rows = (await files.readTuples('objects', PLACES, ...ids)) as unknown as readonly PlaceRow[];
  const byId = new Map<number, PlaceRow>();
  for (const row of rows) {
    byId.set(row[0], row);
  }
  const wanted: { index: number; place: Place; octets: number; bodyChecksum: number }[] = [];
  for (let at = 0; at < indexes.length; at++) {
    const index = indexes[at] as number;
    const { key, version, size: octets } = listed[index] as ObjectEntry;
    const change = recent.get(key);
    const row = byId.get(ids[at] as number);
    if (change?.put?.entry.version === version) {
      wanted.push({ index, place: change.put.place, octets, bodyChecksum: change.put.bodyChecksum });
    } else if (!change && row && row[1] !== null) {
      wanted.push({ index, place: row[1], octets, bodyChecksum: row[2] });
    }
  }
  const bodies = log.segments.readTogether(wanted);
  for (let at = 0; at < wanted.length; at++) {
    const { index, octets, bodyChecksum } = wanted[at] as (typeof wanted)[number];
    const body = bodies[at];
    if (body?.length === octets && checksum(body) === bodyChecksum) {
      found[index] = objectOf(listed[index] as ObjectEntry, body);
    }
  }
}
