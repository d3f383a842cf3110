/**
 * A short-lived thread that reads the stores' files through: pages, indexes, checksums, and what belongs to nothing.
 *
 * It reads a few hundred rows at a time, so that no writer's log grows because of it.
 */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { checksum } from './checksum.ts';
import { type Examination, MOST_DAMAGED_KEYS } from './examination.ts';
import { DELETE, offsetOf, type Place, segmentOf } from './log-records.ts';
import type { FileName } from './schema.ts';
import { readSegment } from './segment-reader.ts';
import { openIfThere, segmentFile, segmentNumbers } from './segments.ts';
import type { SqlValue } from './writer-messages.ts';

/** Rows, or octets of bodies, of one read transaction. */
const PAGE_ROWS = 256;

type Row = Record<string, SqlValue>;

const ENTRIES = 'SELECT id, key, expiry, size, metadata, body_checksum, checksum, place FROM entries';

const paths = workerData as Readonly<Record<FileName | 'messages', string>>;
const objects = new DatabaseSync(paths.objects, { readOnly: true, timeout: 5000 });
const records = new DatabaseSync(paths.records, { readOnly: true, timeout: 5000 });

/** Rows of a table in pages; `use` is called within one read transaction a page. */
function eachPage(database: DatabaseSync, sql: string, use: (rows: Row[]) => void): void {
  const statement = database.prepare(`${sql} WHERE id > ? ORDER BY id LIMIT ${PAGE_ROWS}`);
  for (let after = -1; ; ) {
    database.exec('BEGIN');
    try {
      const rows = statement.all(after) as Row[];
      use(rows);
      if (rows.length < PAGE_ROWS) {
        return;
      }
      after = rows.at(-1)?.['id'] as number;
    } finally {
      database.exec('COMMIT');
    }
  }
}

function faultsOf(name: FileName, database: DatabaseSync): string[] {
  try {
    const rows = database.prepare('PRAGMA integrity_check(10)').all();
    return rows.map((row) => `${name}: ${row['integrity_check']}`).filter((line) => !line.endsWith(': ok'));
  } catch (error) {
    return [`${name}: ${(error as Error).message}`];
  }
}

function count(database: DatabaseSync, table: string): number {
  return Number(database.prepare(`SELECT count(*) AS rows FROM ${table}`).get()?.['rows']);
}

function examine(): Examination {
  const damagedObjects: string[] = [];
  const damagedRecords: { kind: string; key: string }[] = [];
  let damaged = 0;
  let objectCount = 0;
  let liveOctets = 0;

  const bodyOf = objects.prepare('SELECT body FROM bodies WHERE id = ?');
  const isSound = ({ id, key, expiry, size, metadata, body_checksum, checksum: expected, place }: Row): boolean => {
    const body = place === null ? bodyOf.get(id as number)?.['body'] : bodies.read(place as number, size as number);
    return (
      checksum(...([id, key, expiry, size, metadata, body_checksum] as (string | number)[])) === expected &&
      body instanceof Uint8Array &&
      body.length === size &&
      checksum(body) === body_checksum
    );
  };
  const suspects: SqlValue[] = [];
  eachPage(objects, ENTRIES, (rows) => {
    for (const row of rows) {
      objectCount++;
      liveOctets += row['size'] as number;
      if (!isSound(row)) {
        suspects.push(row['id'] as number);
      }
    }
  });
  // A body may have expired and been overwritten between the look at its entry and that at itself.
  const entryOf = objects.prepare(`${ENTRIES} WHERE id = ?`);
  for (const id of suspects) {
    const row = entryOf.get(id) as Row | undefined;
    if (row && !isSound(row) && ++damaged && damagedObjects.length < MOST_DAMAGED_KEYS) {
      damagedObjects.push(`${row['key']}`);
    }
  }

  let recordCount = 0;
  eachPage(records, 'SELECT id, kind, key, expiry, fields, checksum FROM records', (rows) => {
    for (const { id, kind, key, expiry, fields, checksum: expected } of rows) {
      recordCount++;
      const isSound = checksum(...([id, kind, key, expiry, fields] as (string | number | null)[])) === expected;
      if (!isSound && ++damaged && damagedRecords.length < MOST_DAMAGED_KEYS) {
        damagedRecords.push({ kind: `${kind}`, key: `${key}` });
      }
    }
  });

  // What changes between the looks at the two files is looked at twice.
  const isIndexed = objects.prepare('SELECT 1 FROM entries WHERE key = ?');
  const notIndexed = keysBehindIndex();
  const hasObject = (key: string) => isIndexed.get(key) !== undefined || notIndexed.has(key);
  const hasWork = records.prepare('SELECT 1 FROM work WHERE key = ?');
  const idle: string[] = [];
  eachPage(records, 'SELECT id, key FROM work', (rows) => {
    idle.push(...rows.map(({ key }) => `${key}`).filter((key) => !hasObject(key)));
  });
  const orphanedWork = idle.filter((key) => hasWork.get(key) && !hasObject(key)).length;
  const orphanedBodies = objects
    .prepare('SELECT count(*) AS rows FROM bodies WHERE id NOT IN (SELECT id FROM entries)')
    .get()?.['rows'];

  return {
    faults: [...faultsOf('objects', objects), ...faultsOf('records', records)],
    objects: objectCount,
    records: recordCount,
    liveOctets,
    damaged,
    damagedObjects,
    damagedRecords,
    orphanedBodies: Number(orphanedBodies),
    orphanedWork,
    setAside: count(objects, 'quarantine') + count(records, 'quarantine'),
  };
}

/** Keys of messages that are in their log only: the gateway was killed, and has not been started since. */
function keysBehindIndex(): Set<string> {
  const progress = Number(objects.prepare('SELECT place FROM progress').get()?.['place'] ?? 0);
  const keys = new Set<string>();
  for (const number of segmentNumbers(paths.messages).filter((each) => each >= segmentOf(progress))) {
    const fd = openIfThere(segmentFile(paths.messages, number));
    if (fd === undefined) {
      // It was removed since its name was read: nothing was alive in it.
      continue;
    }
    const from = number === segmentOf(progress) ? offsetOf(progress) : 0;
    for (const record of readSegment(fd, { from, end: fstatSync(fd).size })) {
      if (record?.head[0] === DELETE) {
        keys.delete(record.head[2]);
      } else if (record) {
        keys.add(record.head[2]);
      }
    }
    closeSync(fd);
  }
  return keys;
}

/** Reads bodies from the log of messages. */
class Bodies {
  private segment = -1;
  private fd = -1;

  read(place: Place, octets: number): Uint8Array | undefined {
    const body = Buffer.alloc(octets);
    try {
      this.open(segmentOf(place));
      return octets === 0 || readSync(this.fd, body, 0, octets, offsetOf(place)) === octets ? body : undefined;
    } catch {
      // Its segment is gone.
      return undefined;
    }
  }

  private open(segment: number): void {
    if (segment !== this.segment) {
      const fd = openSync(segmentFile(paths.messages, segment), 'r');
      this.close();
      this.fd = fd;
      this.segment = segment;
    }
  }

  close(): void {
    if (this.fd !== -1) {
      closeSync(this.fd);
    }
  }
}

const bodies = new Bodies();
parentPort?.postMessage(examine());
bodies.close();
objects.close();
records.close();
