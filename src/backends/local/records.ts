/**
 * The records on this machine: small documents in a SQLite file.
 */

import { setImmediate } from 'node:timers/promises';
import type {
  Clock,
  RecordCopy,
  RecordFields,
  RecordKind,
  Records,
  RecordsSnapshot,
  StoredRecord,
} from '../../gateway/ports.ts';
import { checksum } from './checksum.ts';
import type { Quarantine } from './quarantine.ts';
import type { Row } from './reader.ts';
import { readFields, writeFields } from './record-fields.ts';
import { openRecordsSnapshot } from './snapshot.ts';
import type { StoreFiles } from './store-files.ts';
import { Ticks } from './ticks.ts';
import type { SqlValue, Statement } from './writer-messages.ts';

/** Besides the gateway's kinds, the one that this backend keeps for itself. */
export type LocalRecordKind = RecordKind | 'local-private-keys';

const PAGE_RECORDS = 128;
const AFTER_ALL = '\x7f';
const KEY_PATTERN = /^[\x20-\x7e]{1,512}$/;
const MOST_OCTETS = 64 * 1024;
const ROW_OCTETS = 1024;
const EXPIRED_BATCH = 512;

const COLUMNS = 'id, kind, key, expiry, fields, checksum';
const LIVE = '(expiry IS NULL OR expiry >= ?)';

interface RecordsParts {
  readonly files: StoreFiles;
  readonly quarantine: Quarantine;
  readonly clock: Clock;
  /** The file that they are in. */
  readonly path: string;
}

export class LocalRecords implements Records {
  private readonly files: StoreFiles;
  private readonly quarantine: Quarantine;
  private readonly clock: Clock;
  private readonly ticks: Ticks;
  private readonly path: string;

  private constructor(parts: RecordsParts, ticks: Ticks) {
    this.files = parts.files;
    this.quarantine = parts.quarantine;
    this.clock = parts.clock;
    this.path = parts.path;
    this.ticks = ticks;
  }

  static async open(parts: RecordsParts): Promise<LocalRecords> {
    return new LocalRecords(parts, await Ticks.resume(parts.clock, parts.files, 'records'));
  }

  async get(kind: LocalRecordKind, key: string): Promise<StoredRecord | undefined> {
    const [row] = await this.files.read(
      'records',
      `SELECT ${COLUMNS} FROM records WHERE kind = ? AND key = ? AND ${LIVE}`,
      kind,
      key,
      this.clock.now(),
    );
    return row && this.readRecord(row);
  }

  async create(kind: LocalRecordKind, key: string, fields: RecordFields, expiry?: number): Promise<boolean> {
    const row = this.newRow(kind, key, fields, expiry);
    const changed = await this.files.write(
      'records',
      [
        ['DELETE FROM records WHERE kind = ? AND key = ? AND expiry < ?', kind, key, this.clock.now()],
        [
          'INSERT OR IGNORE INTO records (kind, key, id, expiry, fields, checksum) VALUES (?, ?, ?, ?, ?, ?)',
          ...row.values,
        ],
      ],
      row.growth,
    );
    return changed === 1;
  }

  async put(kind: LocalRecordKind, key: string, fields: RecordFields, expiry?: number): Promise<void> {
    const row = this.newRow(kind, key, fields, expiry);
    await this.files.write(
      'records',
      [
        [
          `INSERT INTO records (kind, key, id, expiry, fields, checksum) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT (kind, key) DO UPDATE SET
             id = excluded.id, expiry = excluded.expiry, fields = excluded.fields,
             checksum = excluded.checksum`,
          ...row.values,
        ],
      ],
      row.growth,
    );
  }

  async replace(
    kind: LocalRecordKind,
    key: string,
    version: string,
    fields: RecordFields,
    expiry?: number,
  ): Promise<boolean> {
    const { values, growth } = this.newRow(kind, key, fields, expiry);
    const changed = await this.files.write(
      'records',
      [
        [
          `UPDATE records SET id = ?, expiry = ?, fields = ?, checksum = ?
           WHERE kind = ? AND key = ? AND id = ? AND ${LIVE}`,
          ...values.slice(2),
          kind,
          key,
          versionNumber(version),
          this.clock.now(),
        ],
      ],
      growth,
    );
    return changed === 1;
  }

  async delete(kind: LocalRecordKind, key: string, version?: string): Promise<boolean> {
    if (version === undefined) {
      await this.files.write('records', [['DELETE FROM records WHERE kind = ? AND key = ?', kind, key]], 0);
      return true;
    }
    const statement: Statement = [
      `DELETE FROM records WHERE kind = ? AND key = ? AND id = ? AND ${LIVE}`,
      kind,
      key,
      versionNumber(version),
      this.clock.now(),
    ];
    return (await this.files.write('records', [statement], 0)) === 1;
  }

  async getAll(kind: LocalRecordKind, keys: readonly string[]): Promise<(StoredRecord | undefined)[]> {
    const rows = await this.files.read(
      'records',
      `SELECT ${COLUMNS} FROM records WHERE kind = ? AND key IN (SELECT value FROM json_each(?)) AND ${LIVE}`,
      kind,
      JSON.stringify(keys),
      this.clock.now(),
    );
    const found = new Map(rows.map((row) => [row['key'], this.readRecord(row)]));
    return keys.map((key) => found.get(key));
  }

  async putAll(kind: LocalRecordKind, records: readonly Omit<RecordCopy, 'kind'>[]): Promise<void> {
    const rows = records.map(({ key, fields, expiry }) => this.newRow(kind, key, fields, expiry));
    const growth = rows.reduce((sum, row) => sum + row.growth, 0);
    await this.files.write(
      'records',
      [
        [
          `INSERT INTO records (kind, key, id, expiry, fields, checksum)
           SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5 FROM json_each(?) WHERE true
           ON CONFLICT (kind, key) DO UPDATE SET
             id = excluded.id, expiry = excluded.expiry, fields = excluded.fields, checksum = excluded.checksum`,
          JSON.stringify(rows.map(({ values }) => values)),
        ],
      ],
      growth,
    );
  }

  async *list(kind: LocalRecordKind, prefix = ''): AsyncIterable<StoredRecord> {
    for (let after = prefix, comparison = '>='; ; comparison = '>') {
      const page = await this.files.read(
        'records',
        `SELECT ${COLUMNS} FROM records WHERE kind = ? AND key ${comparison} ? AND key < ?
         ORDER BY key LIMIT ${PAGE_RECORDS}`,
        kind,
        after,
        prefix + AFTER_ALL,
      );
      for (const row of page) {
        const expiry = row['expiry'] as number | null;
        if (expiry === null || expiry >= this.clock.now()) {
          const record = this.readRecord(row);
          if (record) {
            yield record;
          }
        }
      }
      if (page.length < PAGE_RECORDS) {
        return;
      }
      after = page.at(-1)?.['key'] as string;
      await setImmediate();
    }
  }

  async snapshot(): Promise<RecordsSnapshot> {
    return openRecordsSnapshot(this.path, this.clock);
  }

  /** Deletes expired records, a bounded batch at a time. @returns how many there were */
  async deleteExpired(): Promise<number> {
    for (let deleted = 0; ; ) {
      const changed = await this.files.write(
        'records',
        [
          [
            `DELETE FROM records WHERE id IN (SELECT id FROM records WHERE expiry < ? LIMIT ${EXPIRED_BATCH})`,
            this.clock.now(),
          ],
        ],
        0,
      );
      deleted += changed;
      if (changed < EXPIRED_BATCH) {
        return deleted;
      }
    }
  }

  private newRow(
    kind: string,
    key: string,
    fields: RecordFields,
    expiry: number | undefined,
  ): { values: SqlValue[]; growth: number } {
    if (!KEY_PATTERN.test(key)) {
      throw new TypeError('A record key is 1 to 512 printable ASCII characters');
    }
    const json = writeFields(fields);
    if (json.length > MOST_OCTETS) {
      throw new TypeError('A record is at most 64 KiB');
    }
    const id = this.ticks.next();
    const expiryMs = expiry === undefined ? null : Math.floor(expiry);
    const crc = checksum(id, kind, key, expiryMs, json);
    return { values: [kind, key, id, expiryMs, json, crc], growth: json.length + ROW_OCTETS };
  }

  /** The record of a row, or undefined when the row is damaged; it is then set aside. */
  private readRecord(row: Row): StoredRecord | undefined {
    const { id, kind, key, expiry, fields } = row as {
      id: number;
      kind: string;
      key: string;
      expiry: number | null;
      fields: string;
    };
    if (checksum(id, kind, key, expiry, fields) !== row['checksum']) {
      this.quarantine.setAsideRecord(id, kind, key, 'record does not match its checksum');
      return undefined;
    }
    return { key, version: id.toString(36), fields: readFields(fields), ...(expiry !== null && { expiry }) };
  }
}

/** -1, which no record has, where the version is none of ours. */
function versionNumber(version: string): number {
  const number = Number.parseInt(version, 36);
  return Number.isSafeInteger(number) && number.toString(36) === version ? number : -1;
}
