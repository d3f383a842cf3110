/**
 * A data directory's records and keys as they are at one instant, read beside the gateway that runs on it.
 *
 * One read transaction of SQLite: writers go on meanwhile, and their log grows until it ends.
 */
import { DatabaseSync } from 'node:sqlite';
import { setImmediate } from 'node:timers/promises';
import {
  type Clock,
  type Random,
  type RecordCopy,
  type RecordKind,
  type RecordsSnapshot,
  StoreError,
} from '../../gateway/ports.ts';
import { checksum } from './checksum.ts';
import { readMasterKey, storeFiles } from './directory.ts';
import { readFields } from './record-fields.ts';
import { PRIVATE_KEYS_KIND, READER_PRAGMAS } from './schema.ts';

/** Rows between two turns of the event loop. */
const TURN_ROWS = 1000;

/** How long to wait for a lock that somebody holds, in milliseconds: they are short. */
const LOCK_PATIENCE = 5000;

interface Row {
  readonly id: number;
  readonly kind: string;
  readonly key: string;
  readonly expiry: number | null;
  readonly fields: string;
  readonly checksum: number;
}

export interface LocalSnapshot extends AsyncDisposable {
  readonly records: RecordsSnapshot;
  /** The keys under which secrets in the records are encrypted. Secret. @throws DataDirectoryError; StoreError */
  keys(): Promise<{ readonly masterKey: Buffer; readonly privateKeys: Readonly<Record<string, Buffer>> }>;
}

/** @throws DataDirectoryError when there is no gateway in the directory; StoreError STORE_AWAY */
export async function openLocalSnapshot(directory: string, clock: Clock, random: Random): Promise<LocalSnapshot> {
  const masterKey = await readMasterKey(directory, random);
  const records = openRecordsSnapshot(storeFiles(directory).records, clock);
  return {
    records,
    async keys() {
      return { masterKey, privateKeys: Object.fromEntries(records.privateKeys()) };
    },
    [Symbol.asyncDispose]: () => records[Symbol.asyncDispose](),
  };
}

/** @param file of the records @throws StoreError STORE_AWAY */
export function openRecordsSnapshot(file: string, clock: Clock): FileSnapshot {
  return new FileSnapshot(file, clock);
}

class FileSnapshot implements RecordsSnapshot {
  readonly instant: number;
  readonly count: number;
  damaged = 0;
  private readonly database: DatabaseSync;

  constructor(file: string, clock: Clock) {
    this.database = attempt(() => new DatabaseSync(file, { readOnly: true, timeout: LOCK_PATIENCE }));
    try {
      this.count = attempt(() => {
        this.database.exec(`${READER_PRAGMAS} BEGIN`);
        // The transaction begins with its first look.
        const counted = this.database.prepare('SELECT count(*) AS count FROM records WHERE kind <> ?');
        return Number(counted.get(PRIVATE_KEYS_KIND)?.['count']);
      });
      this.instant = clock.now();
    } catch (error) {
      this.database.close();
      throw error;
    }
  }

  async *read(): AsyncIterable<RecordCopy> {
    const rows = this.rows('kind <> ?');
    for (let number = 1, row = attempt(() => rows.next()); !row.done; number++, row = attempt(() => rows.next())) {
      const { kind, key, expiry, fields } = row.value;
      if (!isSound(row.value)) {
        this.damaged++;
      } else if (expiry === null || expiry >= this.instant) {
        yield { kind: kind as RecordKind, key, fields: readFields(fields), ...(expiry !== null && { expiry }) };
      }
      if (number % TURN_ROWS === 0) {
        await setImmediate();
      }
    }
  }

  /** Wrapped private keys by their references. @throws StoreError STORE_AWAY when one is damaged */
  privateKeys(): [string, Buffer][] {
    return attempt(() =>
      [...this.rows('kind = ?')].map((row) => {
        if (!isSound(row)) {
          throw new Error(`the identity key ${row.key} does not match its checksum`);
        }
        return [row.key, Buffer.from(readFields(row.fields)['privateKey'] as Uint8Array)];
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.database.close();
  }

  private rows(where: string): IterableIterator<Row> {
    const sql = `SELECT id, kind, key, expiry, fields, checksum FROM records WHERE ${where} ORDER BY id`;
    return attempt(() => this.database.prepare(sql).iterate(PRIVATE_KEYS_KIND)) as IterableIterator<never>;
  }
}

function isSound({ id, kind, key, expiry, fields, checksum: expected }: Row): boolean {
  return checksum(id, kind, key, expiry, fields) === expected;
}

function attempt<Result>(action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    throw new StoreError('STORE_AWAY', `The records cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
