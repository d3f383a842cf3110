/** Calls of Cloud KMS, and what their failures mean. */
import { StoreError } from '../../../gateway/ports.ts';
import { attempted, type CallBounds, isNetworkFault } from '../calls.ts';
import { KmsError, type KmsErrorCode } from './errors.ts';

/** A client of PoWeb waits 5 s for its registration, which two signatures go into. */
export const DEFAULT_BOUNDS: CallBounds = { attempt: 1500, total: 4500 };

/** Milliseconds. */
const PAUSES = { firstPause: 50, longestPause: 800 };

/** Attempts at an answer that comes damaged: "a limited number of retries", says the vendor. */
const CORRUPT_ATTEMPTS = 3;

/** Codes of gRPC (`google.rpc.Code`) that may not come again: cancelled, unknown, deadline, quota, aborted, internal, away. */
const PASSING: ReadonlySet<number> = new Set([1, 2, 4, 8, 10, 13, 14]);

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
 * @param attempt makes the call once, within so many milliseconds; throws KmsError KMS_ANSWER_CORRUPT when the answer is damaged
 * @throws StoreError STORE_AWAY, with a KmsError as its cause, when it may work later; else KmsError
 */
export function callKms<Answer>(
  what: string,
  bounds: CallBounds,
  attempt: (timeout: number) => Promise<Answer>,
): Promise<Answer> {
  let corrupt = 0;
  return attempted(
    { longest: bounds.attempt, end: performance.now() + bounds.total, ...PAUSES },
    attempt,
    ({ error, attempts, isLast }) => {
      const fault = faultOf(error, what);
      if (!isPassing(fault)) {
        throw fault;
      }
      corrupt += fault.code === 'KMS_ANSWER_CORRUPT' ? 1 : 0;
      if (isLast || corrupt === CORRUPT_ATTEMPTS) {
        throw new StoreError('STORE_AWAY', `${fault.message} (attempts: ${attempts})`, { cause: fault });
      }
    },
  );
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
    return new KmsError(isNetworkFault(code) ? 'KMS_AWAY' : 'KMS_DENIED', reason, { cause: error });
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
