/**
 * The tables of the embedded stores.
 *
 * Two SQLite files, so that damage to the many objects never touches the few records (identity keys among them). All
 * tables have integer row ids: rows lie in the order of their coming, and can be saved one by one when a page between
 * them is damaged (see `repair.ts`).
 */

import type { DatabaseSync } from 'node:sqlite';
import { PLACE_BITS } from './log-records.ts';

/** What this program writes; a directory with another number is refused. */
export const FORMAT = 2;

/** What it also reads: before format 2, bodies lay in the table of that name. */
export const FORMER_FORMAT = 1;

export type FileName = 'objects' | 'records';

/** The records of identity keys' private halves, which lie beside the gateway's own kinds. */
export const PRIVATE_KEYS_KIND = 'local-private-keys';

/**
 * What `ticks.ts` has to remember when the row with the greatest id is deleted. Nothing in it can conflict, since the
 * statement that deletes would decide how conflicts end here, too.
 */
function remembersTicksOf(table: string): string {
  return `
  CREATE TABLE IF NOT EXISTS ticks (id INTEGER PRIMARY KEY, last INTEGER NOT NULL);
  CREATE TRIGGER IF NOT EXISTS ticks_outlast_rows AFTER DELETE ON ${table} BEGIN
    INSERT INTO ticks (id, last) SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM ticks);
    UPDATE ticks SET last = old.id WHERE last < old.id;
  END;
`;
}

/** What an object takes in the log of messages beside its body, its key and its metadata, by and large. */
export const RECORD_OCTETS = 100;

/** What an entry takes in the log of messages, in SQL. @param row the name of its row and a dot, or nothing */
export function octetsInLog(row: '' | 'old.'): string {
  return `(${row}size + octet_length(${row}key) + octet_length(${row}metadata) + ${RECORD_OCTETS})`;
}

/**
 * The index of the log of messages (`message-log.ts`), which has the bodies. `checksum` of an entry covers all its columns
 * but its place, which changes; `body_checksum` the body. `id` is the tick of the put (see `ticks.ts`): version and
 * arrival in one. `progress` has the place up to which the log is in the index, and the greatest id until there;
 * `segments` the octets in each segment that entries lead to.
 *
 * Where an entry has no place, its body lies in `bodies`: a directory of the former format has some.
 */
const OBJECTS = `
  CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, expiry INTEGER NOT NULL, size INTEGER NOT NULL,
    metadata TEXT NOT NULL, body_checksum INTEGER NOT NULL, checksum INTEGER NOT NULL, place INTEGER
  );
  CREATE UNIQUE INDEX IF NOT EXISTS entries_by_key ON entries (key);
  CREATE INDEX IF NOT EXISTS entries_by_expiry ON entries (expiry);
  CREATE TABLE IF NOT EXISTS bodies (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
  CREATE TRIGGER IF NOT EXISTS bodies_go_with_entries AFTER DELETE ON entries BEGIN
    DELETE FROM bodies WHERE id = old.id;
  END;
  CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY, found INTEGER NOT NULL, reason TEXT NOT NULL, entry TEXT, body BLOB
  );
`;

/** After all other tables, where those of the former format get theirs: see `mendFirstPage` in `repair.ts`. */
const PROGRESS = `
  CREATE TABLE IF NOT EXISTS progress (id INTEGER PRIMARY KEY, place INTEGER NOT NULL, last INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS segments (id INTEGER PRIMARY KEY, live INTEGER NOT NULL);
  CREATE TRIGGER IF NOT EXISTS segments_lose_entries AFTER DELETE ON entries WHEN old.place IS NOT NULL BEGIN
    UPDATE segments SET live = live - ${octetsInLog('old.')} WHERE id = old.place >> ${PLACE_BITS};
  END;
`;

/**
 * Of records, `id` is the tick of the last write, and the version; `fields` is JSON (see `records.ts`); `expiry` may be
 * null. Work and its groups are explained in `work-queue.ts`; they carry no checksum, since the objects are the truth.
 */
const RECORDS = `
  CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, expiry INTEGER, fields TEXT NOT NULL, checksum INTEGER NOT NULL
  );
  CREATE UNIQUE INDEX IF NOT EXISTS records_by_key ON records (kind, key);
  CREATE INDEX IF NOT EXISTS records_by_expiry ON records (expiry) WHERE expiry IS NOT NULL;
  CREATE TABLE IF NOT EXISTS work (
    id INTEGER PRIMARY KEY, queue TEXT NOT NULL, key TEXT NOT NULL, grp TEXT NOT NULL, size INTEGER NOT NULL,
    expiry INTEGER NOT NULL, due INTEGER NOT NULL, attempts INTEGER NOT NULL, additions INTEGER NOT NULL
  );
  CREATE UNIQUE INDEX IF NOT EXISTS work_by_key ON work (queue, key);
  CREATE INDEX IF NOT EXISTS work_by_group ON work (queue, grp, due);
  CREATE INDEX IF NOT EXISTS work_by_expiry ON work (expiry);
  CREATE TABLE IF NOT EXISTS work_groups (
    id INTEGER PRIMARY KEY, queue TEXT NOT NULL, grp TEXT NOT NULL, due INTEGER NOT NULL, rest INTEGER NOT NULL
  );
  CREATE UNIQUE INDEX IF NOT EXISTS work_groups_by_name ON work_groups (queue, grp);
  CREATE INDEX IF NOT EXISTS work_groups_by_due ON work_groups (queue, due, id);
  CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY, found INTEGER NOT NULL, reason TEXT NOT NULL, entry TEXT, body BLOB
  );
`;

/** Brings tables of the former format up to this one's, where it is not done yet; before `SCHEMA`. */
export function upgradeObjects(database: DatabaseSync): void {
  const columns = database.prepare('PRAGMA table_info(entries)').all();
  if (columns.length > 0 && !columns.some(({ name }) => name === 'place')) {
    database.exec('ALTER TABLE entries ADD COLUMN place INTEGER');
  }
}

export const SCHEMA: Readonly<Record<FileName, string>> = {
  objects: OBJECTS + remembersTicksOf('entries') + PROGRESS,
  records: RECORDS + remembersTicksOf('records'),
};

/**
 * How a file is written. Recursive triggers: a replaced entry is a deleted one. FAST: what is deleted is overwritten where
 * its page is written anyway; pages that become free go back to the file system. The order matters: page size and
 * vacuum mode only take before the first table.
 */
const PRAGMAS = `
  PRAGMA page_size = 8192;
  PRAGMA auto_vacuum = INCREMENTAL;
  PRAGMA journal_mode = WAL;
  PRAGMA recursive_triggers = ON;
  PRAGMA journal_size_limit = 16777216;
  PRAGMA cache_size = -32768;
  PRAGMA secure_delete = FAST;
  PRAGMA cell_size_check = ON;
`;

/**
 * Of records, a commit returns after `fdatasync` of SQLite's log (FULL), which is emptied into the file every MiB:
 * writers wait meanwhile, and many short waits keep the slowest fast where a few long ones do not. The index of objects
 * may lose its last commits with the power (NORMAL): the log of messages has them, and `progress` is lost with them.
 */
export const WRITER_PRAGMAS: Readonly<Record<FileName, string>> = {
  objects: `${PRAGMAS} PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 512;`,
  records: `${PRAGMAS} PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 128;`,
};

export const READER_PRAGMAS = `
  PRAGMA cache_size = -8192;
  PRAGMA cell_size_check = ON;
`;
