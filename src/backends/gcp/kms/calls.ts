/**
 * Calls of Cloud KMS: each with a deadline, retried while that makes sense, within a bound on the whole.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { StoreError } from '../../../gateway/ports.ts';
import { KmsError, type KmsErrorCode } from './errors.ts';

/** How long calls may take; milliseconds. */
export interface CallBounds {
  /** One attempt. */
  readonly attempt: number;
  /** All attempts together, and the pauses between them. */
  readonly total: number;
}

/** A client of PoWeb waits 5 s for its registration, which two signatures go into. */
export const DEFAULT_BOUNDS: CallBounds = { attempt: 1500, total: 4500 };

/** The pause before the second attempt, in milliseconds; it doubles from then on. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 800;

/** Attempts at an answer that comes damaged: "a limited number of retries", says the vendor. */
const CORRUPT_ATTEMPTS = 3;

/** What the client takes with a call: no retries of its own, so that those here are all there are. */
export interface AttemptOptions {
  readonly timeout: number;
  readonly retry: null;
}

/** Codes of gRPC (`google.rpc.Code`) that may not come again: cancelled, unknown, deadline, quota, aborted, internal, away. */
const PASSING: ReadonlySet<number> = new Set([1, 2, 4, 8, 10, 13, 14]);

/** Node's codes for a network that fails. */
const NETWORK = /^(ECONN|ETIMEDOUT|EAI_|ENOTFOUND|EHOST|ENET|EPIPE)/;

const CODES: Readonly<Record<number, KmsErrorCode>> = {
  5: 'KMS_KEY_NOT_FOUND',
  7: 'KMS_DENIED',
  9: 'KMS_KEY_UNUSABLE',
  16: 'KMS_DENIED',
};

/**
 * Makes a call until it succeeds.
 *
 * @param what is done, for messages: "sign with KEY"
 * @param attempt makes the call once; throws KmsError KMS_ANSWER_CORRUPT when the answer is damaged
 * @throws StoreError STORE_AWAY, with a KmsError as its cause, when it may work later; else KmsError
 */
export async function callKms<Answer>(
  what: string,
  bounds: CallBounds,
  attempt: (options: AttemptOptions) => Promise<Answer>,
): Promise<Answer> {
  const end = performance.now() + bounds.total;
  for (let attempts = 1, corrupt = 0, pause = FIRST_PAUSE; ; attempts++, pause = Math.min(pause * 2, LONGEST_PAUSE)) {
    try {
      const timeout = Math.max(1, Math.min(bounds.attempt, end - performance.now()));
      return await attempt({ timeout, retry: null });
    } catch (error) {
      const fault = faultOf(error, what);
      if (!isPassing(fault)) {
        throw fault;
      }
      corrupt += fault.code === 'KMS_ANSWER_CORRUPT' ? 1 : 0;
      // Half of the pause is chance, so that those who failed together do not come back together.
      const rest = pause * (0.5 + Math.random() / 2);
      if (corrupt === CORRUPT_ATTEMPTS || performance.now() + rest >= end) {
        throw new StoreError('STORE_AWAY', `${fault.message} (attempts: ${attempts})`, { cause: fault });
      }
      await delay(rest);
    }
  }
}

function isPassing({ code }: KmsError): boolean {
  return code === 'KMS_AWAY' || code === 'KMS_ANSWER_CORRUPT';
}

function faultOf(error: unknown, what: string): KmsError {
  if (error instanceof KmsError) {
    return error;
  }
  const { code, details, message } = error as { code?: unknown; details?: string; message: string };
  const reason = `Cloud KMS cannot ${what}: ${details || message}`;
  if (typeof code !== 'number') {
    // No answer of KMS: its client looks for credentials first, which may need the network too.
    return new KmsError(NETWORK.test(String(code)) ? 'KMS_AWAY' : 'KMS_DENIED', reason, { cause: error });
  }
  if (PASSING.has(code)) {
    return new KmsError('KMS_AWAY', reason, { cause: error });
  }
  // A request that was damaged on its way is refused as invalid; it may arrive whole the next time.
  if (code === 3 && /checksum|crc32c/i.test(reason)) {
    return new KmsError('KMS_ANSWER_CORRUPT', reason, { cause: error });
  }
  return new KmsError(CODES[code] ?? 'KMS_REQUEST_REFUSED', reason, { cause: error });
}
