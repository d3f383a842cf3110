/** Opens a database of Firestore as a keeper of records. */
import { setTimeout } from 'node:timers/promises';
import { type Clock, type Random, StoreError } from '../../../gateway/ports.ts';
import type { CallBounds } from '../calls.ts';
import { DEFAULT_BOUNDS } from './calls.ts';
import { DocumentNames } from './document-names.ts';
import { isMisconfiguration } from './errors.ts';
import { FirestoreClient } from './firestore-client.ts';
import { FirestoreRecords } from './records.ts';

/** Milliseconds for which a start waits until Firestore answers, and between two looks. */
const START_PATIENCE = 60_000;
const START_PAUSE = 1000;

export interface FirestoreLog {
  warn(fields: object, message: string): void;
}

/**
 * Resolves once the database answers; until then, waits a while.
 *
 * @throws Error in one line, when there is no such database, or it may not be used, or it never answers
 */
export async function openFirestoreRecords({
  project,
  database,
  emulator,
  clock,
  random,
  log,
  bounds = DEFAULT_BOUNDS,
  startPatience = START_PATIENCE,
}: {
  project: string;
  /** Its id; `(default)` is one. */
  database: string;
  /** HOST:PORT of an emulator. */
  emulator?: string | undefined;
  clock: Clock;
  random: Random;
  log?: FirestoreLog | undefined;
  bounds?: CallBounds;
  /** Milliseconds. */
  startPatience?: number;
}): Promise<FirestoreRecords> {
  const names = new DocumentNames({ project, database });
  const records = new FirestoreRecords({
    client: new FirestoreClient({ database: names.database, emulator }),
    names,
    bounds,
    clock,
    random,
  });
  await using opened = new AsyncDisposableStack();
  opened.use(records);
  await waitFor(records, names.database, startPatience, log);
  opened.move();
  return records;
}

async function waitFor(
  records: FirestoreRecords,
  database: string,
  patience: number,
  log: FirestoreLog | undefined,
): Promise<void> {
  const latest = performance.now() + patience;
  for (;;) {
    try {
      return await records.check();
    } catch (error) {
      if (!(error instanceof StoreError)) {
        throw error;
      }
      const { message } = error;
      if (isMisconfiguration(error) || performance.now() > latest) {
        throw new Error(`Firestore database ${database} cannot be used: ${message.replaceAll(/\s+/g, ' ')}`, {
          cause: error,
        });
      }
      log?.warn({ database, reason: message }, 'Firestore is away; waiting for it');
      await setTimeout(START_PAUSE);
    }
  }
}
