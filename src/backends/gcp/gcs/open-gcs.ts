/** Opens a bucket of Google Cloud Storage as an object store. */

import { setTimeout } from 'node:timers/promises';
import { IdempotencyStrategy, Storage } from '@google-cloud/storage';
import { type Clock, StoreError } from '../../../gateway/ports.ts';
import { isMisconfiguration, isWorthRetrying } from './errors.ts';
import { GcsObjectStore } from './object-store.ts';

/** Milliseconds that one request may take. */
const REQUEST_TIMEOUT = 8000;
/** Milliseconds that an operation may take with its retries: not much longer than clients wait for their answers. */
const PATIENCE = 20_000;
/**
 * Milliseconds from the start of a put within which it may replace what it finds. Deployed senders wait for 3 s at least
 * before they give up: what a look shows later may be something newer that they have sent since.
 */
const YOUTH = 2500;
/** The client tries again after about 1, 2 and 4 s. */
const RETRIES = 3;
/** Milliseconds for which a start waits until the bucket answers, and between two looks. */
const START_PATIENCE = 60_000;
const START_PAUSE = 1000;

export interface GcsLog {
  warn(fields: object, message: string): void;
}

/**
 * Resolves once the bucket answers; until then, waits a while.
 *
 * @throws Error in one line, when there is no such bucket, or it may not be used, or it never answers
 */
export async function openGcs({
  bucket: name,
  clock,
  maxAge,
  log,
  apiEndpoint,
  requestTimeout = REQUEST_TIMEOUT,
  patience = PATIENCE,
  youth = YOUTH,
  startPatience = START_PATIENCE,
}: {
  bucket: string;
  clock: Clock;
  /** Milliseconds that an object may stay at most. */
  maxAge: number;
  log?: GcsLog | undefined;
  /** Elsewhere than at Google; `STORAGE_EMULATOR_HOST` does the same. */
  apiEndpoint?: string | undefined;
  requestTimeout?: number;
  patience?: number;
  youth?: number;
  startPatience?: number;
}): Promise<GcsObjectStore> {
  const storage = new Storage({
    ...(apiEndpoint !== undefined && { apiEndpoint }),
    timeout: requestTimeout,
    retryOptions: {
      maxRetries: RETRIES,
      totalTimeout: patience / 1000,
      maxRetryDelay: 4,
      retryableErrorFn: isWorthRetrying,
      // What the client repeats does no harm here: puts are not among it. Under any other strategy, moreover, one note
      // switches off the retries of all that happens in the same client at that time.
      idempotencyStrategy: IdempotencyStrategy.RetryAlways,
    },
  });
  const objects = new GcsObjectStore({ bucket: storage.bucket(name), clock, patience, maxAge, youth });
  await waitFor(objects, name, startPatience, log);
  return objects;
}

async function waitFor(objects: GcsObjectStore, name: string, patience: number, log?: GcsLog): Promise<void> {
  const latest = performance.now() + patience;
  for (;;) {
    try {
      return await objects.check();
    } catch (error) {
      if (!(error instanceof StoreError)) {
        throw error;
      }
      const { message } = error;
      if (isMisconfiguration(error) || performance.now() > latest) {
        throw new Error(`GCS_BUCKET "${name}" cannot be used: ${message.replaceAll(/\s+/g, ' ')}`, { cause: error });
      }
      log?.warn({ bucket: name, reason: message }, 'Cloud Storage is away; waiting for it');
      await setTimeout(START_PAUSE);
    }
  }
}
