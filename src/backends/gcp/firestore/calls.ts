/**
 * Calls of Firestore: each attempt with a deadline, repeated while that makes sense, within a bound on the whole.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { StoreError } from '../../../gateway/ports.ts';
import { isPassing, reasonOf } from './errors.ts';

/** How long an operation may take; milliseconds. */
export interface Bounds {
  /** One attempt at one call. */
  readonly attempt: number;
  /** All calls of the operation, all attempts at them, and the pauses between. */
  readonly total: number;
}

/** A client of PoWeb waits 5 s for its answer. */
export const DEFAULT_BOUNDS: Bounds = { attempt: 1800, total: 3800 };

/** The pause before the second attempt, in milliseconds; it doubles from then on. */
const FIRST_PAUSE = 30;
const LONGEST_PAUSE = 500;

/** How much later than the client's own deadline an attempt is given up, in milliseconds. */
const GRACE = 50;

/** One operation of the port, which may need several calls. */
export interface Operation {
  /** For messages: "read configuration/KEY". */
  readonly what: string;
  readonly attempt: number;
  /** By `performance.now()`. */
  readonly end: number;
}

export function startOperation(what: string, { attempt, total }: Bounds): Operation {
  return { what, attempt, end: performance.now() + total };
}

/**
 * Makes a call until it succeeds.
 *
 * @param attempt makes the call once, within so many milliseconds
 * @throws StoreError STORE_AWAY, with what Firestore said as its cause
 */
export async function callFirestore<Answer>(
  { what, attempt: longest, end }: Operation,
  attempt: (timeout: number) => Promise<Answer>,
): Promise<Answer> {
  for (let attempts = 1, pause = FIRST_PAUSE; ; attempts++, pause = Math.min(pause * 2, LONGEST_PAUSE)) {
    const timeout = Math.max(1, Math.min(longest, end - performance.now()));
    try {
      return await within(timeout, attempt(timeout));
    } catch (error) {
      // Half of the pause is chance, so that those who failed together do not come back together.
      const rest = pause * (0.5 + Math.random() / 2);
      if (!isPassing(error) || performance.now() + rest >= end) {
        throw new StoreError('STORE_AWAY', `Firestore could not ${what}: ${reasonOf(error)} (attempts: ${attempts})`, {
          cause: error,
        });
      }
      await delay(rest);
    }
  }
}

/** The client heeds its deadlines in a call, but not while it looks for its credentials before that. */
async function within<Answer>(timeout: number, answer: Promise<Answer>): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new LateError(timeout)), timeout + GRACE);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** An attempt that was not over in time. */
export class LateError extends Error {
  override readonly name = 'LateError';
  readonly code = 'ETIMEDOUT';

  /** @param timeout milliseconds */
  constructor(timeout: number) {
    super(`no answer within ${Math.ceil(timeout)} ms`);
  }
}
