/**
 * Saves what can be read of a damaged SQLite file into a new one, and sets the old one aside.
 *
 * Rows are copied in the order of their ids. Where a page cannot be read, the search goes on from the other end and
 * then from the middle of what is left between, so that one bad page costs the rows on it and no others. Indexes are
 * built afresh.
 */

import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { PLACE_BITS } from './log-records.ts';
import { type FileName, octetsInLog, SCHEMA, WRITER_PRAGMAS } from './schema.ts';
import { syncDirectory } from './sync-directory.ts';

const TABLES: Readonly<Record<FileName, readonly string[]>> = {
  // Without `progress`: the log of messages is gone through once more, and brings back the entries that were lost.
  objects: ['entries', 'bodies', 'quarantine', 'ticks'],
  records: ['records', 'quarantine', 'work', 'ticks'],
};

/** Bodies whose entries are lost cannot be served: they are kept as damaged data is. Groups of work follow from it. */
const AFTERWARDS: Readonly<Record<FileName, string>> = {
  objects: `
    BEGIN;
    INSERT OR IGNORE INTO quarantine (id, found, reason, body)
      SELECT id, unixepoch() * 1000, 'entry is lost', body FROM bodies WHERE id NOT IN (SELECT id FROM entries);
    DELETE FROM bodies WHERE id NOT IN (SELECT id FROM entries);
    DELETE FROM segments;
    INSERT INTO segments (id, live) SELECT place >> ${PLACE_BITS}, sum(${octetsInLog('')}) FROM entries WHERE place IS NOT NULL GROUP BY 1;
    COMMIT;
  `,
  records: `
    INSERT INTO work_groups (queue, grp, due, rest) SELECT queue, grp, min(due), 0 FROM work GROUP BY queue, grp;
  `,
};

/** Rows a transaction of the new file. */
const BATCH_ROWS = 200;
/** Stops the search among unreadable pages: each failure halves one gap. */
const MOST_FAILURES = 20_000;
/** As the schema sets it, and where a file's header (the start of its first page) tells of its pages. */
const PAGE_OCTETS = 8192;
const HEADER_OCTETS = 100;
const HEADER_WRITE_VERSION = 18;
const HEADER_READ_VERSION = 19;
const HEADER_PAGE_COUNT = 28;
const HEADER_FREE_LIST = 32;
const HEADER_FREE_COUNT = 36;
const HEADER_SCHEMA_FORMAT = 44;
const NEWEST_SCHEMA_FORMAT = 4;
/** Row ids are below 2^53. */
const LAST_ID = Number.MAX_SAFE_INTEGER;

interface Gap {
  readonly from: number;
  readonly to: number;
}

/**
 * @param path the damaged file; afterwards the saved rows are there, and the damaged one beside it as `….damaged-N`
 * @returns how many stretches of rows could not be read
 */
export function repairFile(path: string, name: FileName): number {
  const copy = `${path}.repaired`;
  removeDatabase(copy);
  mendFirstPage(path, name);
  const from = new DatabaseSync(path, { timeout: 5000 });
  const to = new DatabaseSync(copy);
  let unreadable = 0;
  try {
    to.exec(WRITER_PRAGMAS[name]);
    to.exec(SCHEMA[name]);
    for (const table of TABLES[name]) {
      unreadable += copyTable(from, to, table);
    }
    if (name === 'objects') {
      keepLastTick(from, to);
    }
    to.exec(AFTERWARDS[name]);
    to.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  } finally {
    to.close();
    closeDamaged(from);
  }
  setAside(path);
  renameSync(copy, path);
  syncDirectory(dirname(path));
  return unreadable;
}

/** Whether a file's header is one that we never write: SQLite takes it for another format, or for one not to be written. */
export function isHeaderDamaged(path: string): boolean {
  const header = Buffer.alloc(HEADER_OCTETS);
  const fd = openSync(path, 'r');
  try {
    if (readSync(fd, header, 0, HEADER_OCTETS, 0) < HEADER_OCTETS) {
      return false;
    }
  } finally {
    closeSync(fd);
  }
  const versions = [header[HEADER_WRITE_VERSION], header[HEADER_READ_VERSION]];
  const schemaFormat = header.readUInt32BE(HEADER_SCHEMA_FORMAT);
  return versions.some((version) => version !== 1 && version !== 2) || schemaFormat > NEWEST_SCHEMA_FORMAT;
}

/**
 * Without its first page, which says what tables there are and where, a file cannot be opened at all. Files of one
 * schema have their tables begin at the same pages: the first page of an empty one does for any.
 */
function mendFirstPage(path: string, name: FileName): void {
  if (canOpen(path, name)) {
    return;
  }
  const model = `${path}.model`;
  removeDatabase(model);
  const database = new DatabaseSync(model);
  database.exec(WRITER_PRAGMAS[name]);
  database.exec(SCHEMA[name]);
  database.close();
  const page = readFileSync(model).subarray(0, PAGE_OCTETS);
  removeDatabase(model);
  const fd = openSync(path, 'r+');
  try {
    const lost = Buffer.alloc(PAGE_OCTETS);
    readSync(fd, lost, 0, PAGE_OCTETS, 0);
    writeFileSync(`${path}.first-page`, lost, { mode: 0o600 });
    page.writeUInt32BE(Math.floor(fstatSync(fd).size / PAGE_OCTETS), HEADER_PAGE_COUNT);
    page.writeUInt32BE(0, HEADER_FREE_LIST);
    page.writeUInt32BE(0, HEADER_FREE_COUNT);
    writeSync(fd, page, 0, PAGE_OCTETS, 0);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function canOpen(path: string, name: FileName): boolean {
  const database = new DatabaseSync(path, { timeout: 5000 });
  try {
    return TABLES[name].every((table) => database.prepare(`PRAGMA table_info(${table})`).all().length > 0);
  } catch {
    return false;
  } finally {
    closeDamaged(database);
  }
}

function copyTable(from: DatabaseSync, to: DatabaseSync, table: string): number {
  const columns = columnsInBoth(from, to, table);
  const insert = to.prepare(
    `INSERT OR IGNORE INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
  );
  const select = (order: string) =>
    `SELECT ${columns.join(', ')} FROM ${table} NOT INDEXED WHERE id >= ? AND id <= ? ORDER BY id ${order}`;
  let pending = 0;
  const save = (row: Record<string, unknown>) => {
    try {
      insert.run(...columns.map((column) => row[column] as SQLInputValue));
    } catch {
      // A row that the schema refuses (a column turned to NULL) is as lost as one that cannot be read.
    }
    if (++pending % BATCH_ROWS === 0) {
      to.exec('COMMIT; BEGIN');
    }
  };
  to.exec('BEGIN');
  const unreadable = readAround(from, select, save);
  to.exec('COMMIT');
  return unreadable;
}

/** The greatest version that was given may be that of a message which is neither in the index nor in the log any more. */
function keepLastTick(from: DatabaseSync, to: DatabaseSync): void {
  try {
    const last = Number(from.prepare('SELECT max(last) AS last FROM progress').get()?.['last'] ?? 0);
    if (Number.isSafeInteger(last)) {
      to.prepare(
        'INSERT INTO ticks (id, last) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET last = max(last, excluded.last)',
      ).run(last);
    }
  } catch {
    // It is lost, or there was none in the former format.
  }
}

/** A file of the former format has fewer. */
function columnsInBoth(from: DatabaseSync, to: DatabaseSync, table: string): string[] {
  const wanted = columnsOf(to, table);
  try {
    const known = new Set(columnsOf(from, table));
    return known.size === 0 ? wanted : wanted.filter((column) => known.has(column));
  } catch {
    // Neither can its rows be read.
    return wanted;
  }
}

function columnsOf(database: DatabaseSync, table: string): string[] {
  const columns = database.prepare(`PRAGMA table_info(${table})`).all();
  return columns.map(({ name }) => `${name}`);
}

/** Reads all rows that can be read; the widest gaps are searched first. */
function readAround(
  database: DatabaseSync,
  select: (order: string) => string,
  save: (row: Record<string, unknown>) => void,
): number {
  const gaps: Gap[] = [{ from: 0, to: LAST_ID }];
  let failures = 0;
  let unreadable = 0;
  for (let gap = gaps.shift(); gap; gap = gaps.shift()) {
    const forward = readUntilFault(database, select('ASC'), gap, save);
    if (forward.done) {
      continue;
    }
    const rest = { from: Math.max(gap.from, forward.last + 1), to: gap.to };
    const backward = readUntilFault(database, select('DESC'), rest, save);
    if (backward.done) {
      continue;
    }
    const left = { from: rest.from, to: Math.min(rest.to, backward.last === -1 ? rest.to : backward.last - 1) };
    if (++failures >= MOST_FAILURES || left.from >= left.to) {
      unreadable++;
      continue;
    }
    const middle = Math.floor(left.from + (left.to - left.from) / 2);
    gaps.push({ from: left.from, to: middle }, { from: middle + 1, to: left.to });
  }
  return unreadable;
}

function readUntilFault(
  database: DatabaseSync,
  sql: string,
  { from, to }: Gap,
  save: (row: Record<string, unknown>) => void,
): { done: boolean; last: number } {
  let last = -1;
  try {
    for (const row of database.prepare(sql).iterate(from, to)) {
      save(row);
      last = Number(row['id']);
    }
    return { done: true, last };
  } catch {
    return { done: false, last };
  }
}

/** Closing writes the log into the file, which damage may prevent; the log then goes aside with it. */
function closeDamaged(database: DatabaseSync): void {
  try {
    database.close();
  } catch {
    // The file is going aside as it is.
  }
}

function setAside(path: string): void {
  let number = 1;
  while (existsSync(`${path}.damaged-${number}`)) {
    number++;
  }
  renameSync(path, `${path}.damaged-${number}`);
  setLogAside(path, number);
}

function setLogAside(path: string, number: number): void {
  for (const suffix of ['-wal', '-shm']) {
    if (existsSync(path + suffix)) {
      renameSync(path + suffix, `${path}.damaged-${number}${suffix}`);
    }
  }
}

/** Puts the saved rows in place where a kill came between setting the damaged file aside and that. */
export function finishRepair(path: string): void {
  if (existsSync(path) || !existsSync(`${path}.repaired`)) {
    return;
  }
  let number = 1;
  while (existsSync(`${path}.damaged-${number + 1}`)) {
    number++;
  }
  setLogAside(path, number);
  renameSync(`${path}.repaired`, path);
  syncDirectory(dirname(path));
}

function removeDatabase(path: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) {
    rmSync(path + suffix, { force: true });
  }
}
