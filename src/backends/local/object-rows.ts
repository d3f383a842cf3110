/**
 * Rows of the index of messages, and the entries that they are: each verified against its checksum when it is read.
 */
import type { ObjectEntry, ObjectMetadata, StoredObject } from '../../gateway/ports.ts';
import { checksum } from './checksum.ts';
import type { Place } from './log-records.ts';
import type { Tuple } from './reader.ts';
import { tickToMs } from './ticks.ts';

/** An object, and where its body is. */
export interface Located {
  readonly entry: ObjectEntry;
  readonly id: number;
  /** Null where the body is in the index's file: it was put under the former format. */
  readonly place: Place | null;
  readonly bodyChecksum: number;
}

/** In the order in which `entryOfRow` takes them. */
export const ENTRY_COLUMNS = 'id, key, expiry, size, metadata, body_checksum, checksum, place';

type EntryRow = readonly [
  id: number,
  key: string,
  expiry: number,
  size: number,
  metadata: string,
  bodyChecksum: number,
  checksum: number,
  place: Place | null,
];

/** @returns undefined when the row is damaged */
export function entryOfRow(row: Tuple): ObjectEntry | undefined {
  const { 0: id, 1: key, 2: expiry, 3: size, 4: metadata, 5: bodyChecksum, 6: expected } = row as EntryRow;
  if (entryChecksum({ id, key, expiry, size, metadata, bodyChecksum }) !== expected) {
    return undefined;
  }
  return {
    key,
    version: versionOf(id),
    arrival: tickToMs(id),
    expiry,
    size,
    metadata: JSON.parse(metadata) as ObjectMetadata,
  };
}

/** @returns undefined when the row is damaged */
export function locatedOfRow(row: Tuple): Located | undefined {
  const entry = entryOfRow(row);
  const [id, , , , , bodyChecksum, , place] = row as EntryRow;
  return entry && { entry, id, place, bodyChecksum };
}

/** What a row that may be damaged says of where its object is. */
export function nameOfRow(row: Tuple): { id: number; key: string; place: Place | null } {
  const [id, key, , , , , , place] = row as EntryRow;
  return { id, key: String(key), place: typeof place === 'number' ? place : null };
}

/** Covers all of an entry; metadata are JSON. */
export function entryChecksum(entry: {
  readonly id: number;
  readonly key: string;
  readonly expiry: number;
  readonly size: number;
  readonly metadata: string;
  readonly bodyChecksum: number;
}): number {
  const { id, key, expiry, size, metadata, bodyChecksum } = entry;
  // In one string, as `checksum` would join them.
  return checksum(`${id}\0${key}\0${expiry}\0${size}\0${metadata}\0${bodyChecksum}`);
}

export function objectOf({ key, version, arrival, expiry, size, metadata }: ObjectEntry, body: Buffer): StoredObject {
  return { key, version, arrival, expiry, size, metadata, body };
}

/** Digits of a version are taken apart in two: numbers that fit 31 bits are written at a third of the cost. */
const DIGITS = 36;
const LOW_DIGITS = 5;
const LOW = DIGITS ** LOW_DIGITS;

/** An id, in digits of base 36. */
export function versionOf(id: number): string {
  const high = Math.floor(id / LOW);
  const low = (id - high * LOW).toString(DIGITS);
  return high === 0 ? low : high.toString(DIGITS) + low.padStart(LOW_DIGITS, '0');
}

/** -1, which no object has, where the version is none of ours. */
export function idOf(version: string): number {
  const id = Number.parseInt(version, DIGITS);
  return Number.isSafeInteger(id) && versionOf(id) === version ? id : -1;
}
