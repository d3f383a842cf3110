/**
 * All ports on one data directory, without any server.
 */

import { statSync } from 'node:fs';
import type {
  Clock,
  Journal,
  KeyWrapping,
  Meters,
  ObjectStore,
  Random,
  Records,
  Signals,
  WorkQueue,
} from '../../gateway/ports.ts';
import { DataDirectory } from './directory.ts';
import type { Compaction, Examination } from './examination.ts';
import { LocalIdentityKeys } from './identity-keys.ts';
import { LocalJournal } from './journal.ts';
import { compactLog } from './log-compaction.ts';
import { MessageLog } from './message-log.ts';
import { LocalMeters } from './meters.ts';
import { LocalObjectStore } from './object-store.ts';
import { Quarantine } from './quarantine.ts';
import { type LocalRecordKind, LocalRecords } from './records.ts';
import { LocalSignals } from './signals.ts';
import { StoreFiles, type StoreLog } from './store-files.ts';
import { LocalWorkQueue } from './work-queue.ts';

export interface LocalBackends extends AsyncDisposable {
  /** The data directory, absolute. */
  readonly directory: string;
  readonly objects: ObjectStore;
  readonly records: Records;
  readonly signals: Signals;
  readonly meters: Meters;
  readonly work: WorkQueue;
  readonly identityKeys: LocalIdentityKeys;
  readonly wrapping: KeyWrapping;
  readonly journal: Journal;
  /** How many damaged objects and records were set aside since the start. */
  readonly damaged: number;
  /** Deletes what expired and gives room back to the file system, in small steps. To be called every minute. */
  housekeeping(): Promise<void>;
  /** Resolves when the stores answer. @throws StoreError */
  check(): Promise<void>;
  /** Reads everything through; what is damaged is set aside, as by any read. @throws StoreError */
  examine(): Promise<Examination>;
  /** Housekeeping, and deletes bodies that no entry leads to. @throws StoreError */
  compact(): Promise<Compaction>;
}

/** Pages (8 KiB) given back to the file system in one step of housekeeping: writers wait no longer for it. */
const TIDY_PAGES = 256;

/** Large stores are read through so often. */
const VERIFY_INTERVAL_MS = 86_400_000;

/** What the journal may take on disk, unless configured otherwise. */
const DEFAULT_JOURNAL_OCTETS = 256 * 1024 * 1024;

const SILENT: StoreLog = { warn() {}, error() {} };

/**
 * Opens the data directory, making it where there is none, and takes it for this process.
 *
 * @throws DataDirectoryError, StoreError
 */
export async function openLocalBackends({
  directory: path,
  clock,
  random,
  log = SILENT,
  journalOctets = DEFAULT_JOURNAL_OCTETS,
}: {
  directory: string;
  clock: Clock;
  random: Random;
  log?: StoreLog | undefined;
  journalOctets?: number;
}): Promise<LocalBackends> {
  await using opened = new AsyncDisposableStack();
  const directory = await DataDirectory.open(path, random);
  opened.defer(() => directory.release());
  const files = await StoreFiles.open(
    { directory: directory.path, reserve: directory.reserveFile, files: directory.storeFiles },
    log,
  );
  opened.defer(() => files.close());
  const journal = opened.use(new LocalJournal({ directory: directory.path, clock, log, maxOctets: journalOctets }));
  const messages = new MessageLog(directory.messages, { random, room: files });
  const quarantine = new Quarantine({ files, log, clock });
  const objects = await LocalObjectStore.open({ files, log: messages, quarantine, clock, report: log });
  opened.defer(async () => {
    await messages.close();
    await objects.feed.close();
  });
  await directory.upgrade();
  const records = await LocalRecords.open({ files, quarantine, clock, path: directory.storeFiles.records });
  const meters = new LocalMeters(clock);
  const work = new LocalWorkQueue({ files, clock, log });
  opened.defer(() => work.close());
  let verified = clock.now();
  const verify = () =>
    files.verify().catch((error: Error) => log.error({ reason: error.message }, 'Store files could not be verified'));
  void verify();
  const emptied = new Set<number>();
  const tidyUpNow = async (isThorough: boolean) => {
    meters.forgetIdle();
    await objects.deleteExpired();
    await records.deleteExpired();
    await work.deleteExpired();
    await quarantine.deleteOld();
    if (clock.now() - verified >= VERIFY_INTERVAL_MS) {
      verified = clock.now();
      await verify();
    }
    await compactLog({ files, log: messages, feed: objects.feed, emptied }, isThorough);
    // The writer thread takes messages in order, so that between two steps others have their turn.
    for (let before = Number.POSITIVE_INFINITY, free = 0; ; before = free) {
      free = await files.tidy(TIDY_PAGES);
      if (free === 0 || free >= before) {
        break;
      }
    }
  };
  // One at a time: two compactions at once would move each message twice.
  let tidied: Promise<unknown> = Promise.resolve();
  const tidyUp = (isThorough: boolean): Promise<void> => {
    const round = tidied.then(() => tidyUpNow(isThorough));
    tidied = round.catch(() => {});
    return round;
  };
  const resources = opened.move();
  return {
    directory: directory.path,
    objects,
    records,
    signals: new LocalSignals(log),
    meters,
    work,
    identityKeys: new LocalIdentityKeys({ records, wrapping: directory.wrapping, random }),
    wrapping: directory.wrapping,
    journal,
    get damaged() {
      return quarantine.count;
    },
    housekeeping: () => tidyUp(false),
    check: () => files.check(),
    async examine() {
      await objects.feed.flush();
      await work.flush();
      const examination = await files.examine();
      // Reading them sets them aside.
      for (const key of examination.damagedObjects) {
        await objects.get(key);
      }
      for (const { kind, key } of examination.damagedRecords) {
        await records.get(kind as LocalRecordKind, key);
      }
      return examination;
    },
    async compact() {
      const octetsBefore = octetsOf(directory.storeFiles) + messages.octets;
      const orphanedBodies = await objects.deleteOrphans();
      await tidyUp(true);
      return { octetsBefore, octetsAfter: octetsOf(directory.storeFiles) + messages.octets, orphanedBodies };
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** What SQLite files take on disk, their logs included. */
function octetsOf(files: Readonly<Record<string, string>>): number {
  const all = Object.values(files).flatMap((file) => [file, `${file}-wal`]);
  return all.reduce((sum, file) => sum + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
}
