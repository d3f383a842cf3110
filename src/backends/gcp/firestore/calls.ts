/** Calls of Firestore, some of which make one operation together. */
import { StoreError } from '../../../gateway/ports.ts';
import { attempted, type CallBounds } from '../calls.ts';
import { isPassing, reasonOf } from './errors.ts';

/** Of an operation with all its calls. A client of PoWeb waits 5 s for its answer. */
export const DEFAULT_BOUNDS: CallBounds = { attempt: 1800, total: 3800 };

/** Milliseconds. */
const PAUSES = { firstPause: 30, longestPause: 500 };

/** One operation of the port, which may need several calls. */
export interface Operation {
  /** For messages: "read configuration/KEY". */
  readonly what: string;
  readonly attempt: number;
  /** By `performance.now()`. */
  readonly end: number;
}

export function startOperation(what: string, { attempt, total }: CallBounds): Operation {
  return { what, attempt, end: performance.now() + total };
}

/**
 * Makes a call until it succeeds.
 *
 * @param attempt makes the call once, within so many milliseconds
 * @throws StoreError STORE_AWAY, with what Firestore said as its cause
 */
export function callFirestore<Answer>(
  { what, attempt: longest, end }: Operation,
  attempt: (timeout: number) => Promise<Answer>,
): Promise<Answer> {
  return attempted({ longest, end, ...PAUSES }, attempt, ({ error, attempts, isLast }) => {
    if (isLast || !isPassing(error)) {
      throw new StoreError('STORE_AWAY', `Firestore could not ${what}: ${reasonOf(error)} (attempts: ${attempts})`, {
        cause: error,
      });
    }
  });
}
