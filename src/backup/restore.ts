/** Writes a backup's records into empty stores, such that it can be cut short anywhere and done again. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ObjectStore, RecordCopy, RecordKind, Records } from '../gateway/ports.ts';
import { RECORD_KINDS, StoreError } from '../gateway/ports.ts';
import { beginRestore, endRestore, isOfStores, unfinishedRestore } from '../gateway/restoration.ts';
import { BackupError } from './errors.ts';
import type { OpenBackup } from './read-backup.ts';

/**
 * What is not restored, since it tells of messages that are not in a backup. A parcel that came in cargo and is lost
 * with its mailbox must not count as taken: its sender, which is owed an acknowledgement, sends it again instead. What
 * couriers acknowledged may be offered to them again.
 */
export const LEFT_OUT: ReadonlySet<RecordKind> = new Set(['collected-parcels', 'cca-progress']);

/** Records that are written at the same time: stores that make one transaction of them are fast. */
const BATCH_RECORDS = 500;

/** A store that is away is tried again, with pauses that double, for so many milliseconds in all. */
const PATIENCE = 120_000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;

export interface RestoreReport {
  /** How many records were written, of each kind. */
  readonly counts: Readonly<Partial<Record<RecordKind, number>>>;
  readonly records: number;
  /** How many records were left out: those of `LEFT_OUT` or of other stores, and those that have expired since. */
  readonly leftOut: number;
}

export interface RestoreOptions {
  readonly records: Records;
  /** Where messages are kept beside the records, and must be none; absent where they are elsewhere. */
  readonly objects?: ObjectStore | undefined;
  /** Milliseconds. */
  readonly now: number;
  /** Puts back the keys that are not records; called once the stores are known to be empty. */
  readonly restoreKeys?: () => Promise<void>;
  /** For how long a store that is away is tried, in milliseconds; two minutes by default. */
  readonly patience?: number;
  /** Called now and then with how many records of the backup are done. */
  readonly onProgress?: (records: number) => void;
}

/**
 * @throws BackupError STORES_NOT_EMPTY, BACKUP_DAMAGED, BACKUP_UNSUPPORTED; StoreError
 */
export async function restoreBackup(backup: OpenBackup, options: RestoreOptions): Promise<RestoreReport> {
  const { records, now } = options;
  await requireEmpty(options, backup.header.id);
  await beginRestore(records, backup.header.id, now);
  await options.restoreKeys?.();
  const counts: Partial<Record<RecordKind, number>> = {};
  let done = 0;
  let written = 0;
  let batch: RecordCopy[] = [];
  let writing: Promise<unknown> = Promise.resolve();
  const writeOut = async () => {
    const full = batch;
    batch = [];
    // The one before, so that the next is read while this one is written.
    await writing;
    writing = Promise.all(full.map((record) => putPatiently(records, record, options.patience ?? PATIENCE)));
    writing.catch(() => undefined);
    options.onProgress?.(done);
  };
  for await (const record of backup.records()) {
    done++;
    const { kind, expiry } = record;
    if (!LEFT_OUT.has(kind) && (expiry === undefined || expiry >= now) && !isOfStores(record)) {
      counts[kind] = (counts[kind] ?? 0) + 1;
      written++;
      batch.push(record);
    }
    if (batch.length >= BATCH_RECORDS) {
      await writeOut();
    }
  }
  await writeOut();
  await writing;
  await endRestore(records);
  return { counts, records: written, leftOut: done - written };
}

/** So many writes at once may be more than a store elsewhere takes at first. @throws StoreError */
async function putPatiently(
  records: Records,
  { kind, key, fields, expiry }: RecordCopy,
  patience: number,
): Promise<void> {
  const end = performance.now() + patience;
  for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    try {
      return await records.put(kind, key, fields, expiry);
    } catch (error) {
      const isAway = error instanceof StoreError && error.code === 'STORE_AWAY';
      if (!isAway || performance.now() + pause > end) {
        throw error;
      }
      await delay(pause);
    }
  }
}

/** Stores on which a restore of the same backup was begun count as empty: it goes on. */
async function requireEmpty(
  { records, objects }: { records: Records; objects?: ObjectStore | undefined },
  id: string,
): Promise<void> {
  const unfinished = await unfinishedRestore(records);
  if (unfinished === id) {
    return;
  }
  const found = unfinished === undefined ? await firstOf(records, objects) : 'a restore of another backup';
  if (found !== undefined) {
    throw new BackupError(
      'STORES_NOT_EMPTY',
      `A backup is restored onto empty stores only, and there is ${found}: give it new ones, such as another DATA_DIR`,
    );
  }
}

async function firstOf(records: Records, objects: ObjectStore | undefined): Promise<string | undefined> {
  for (const kind of RECORD_KINDS) {
    for await (const { key } of records.list(kind)) {
      if (!isOfStores({ kind, key })) {
        return `the record ${kind}/${key}`;
      }
    }
  }
  for await (const { key } of objects?.list('') ?? []) {
    return `the message ${key}`;
  }
  return undefined;
}
