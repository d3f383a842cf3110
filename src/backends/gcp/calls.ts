/**
 * Calls of a service of the cloud: each attempt with a deadline, repeated while that makes sense, within a bound on the
 * whole. The vendors' clients make no attempts of their own, so that those here are all there are.
 */
import { setTimeout as delay } from 'node:timers/promises';

/** How long calls may take; milliseconds. */
export interface CallBounds {
  /** One attempt. */
  readonly attempt: number;
  /** All attempts together, and the pauses between them. */
  readonly total: number;
}

/** How attempts follow each other. */
export interface Attempts {
  /** The longest that one may take, in milliseconds. */
  readonly longest: number;
  /** When the last is over, by `performance.now()`. */
  readonly end: number;
  /** The pause before the second, in milliseconds, which doubles from then on; and the longest. */
  readonly firstPause: number;
  readonly longestPause: number;
}

/** An attempt that failed. */
export interface Failure {
  readonly error: unknown;
  /** How many were made. */
  readonly attempts: number;
  /** There is no time for another. */
  readonly isLast: boolean;
}

/** Node's codes for a network that fails, before the service was asked anything: the credentials come from elsewhere. */
const NETWORK = /^(ECONN|ETIMEDOUT|EAI_|ENOTFOUND|EHOST|ENET|EPIPE)/;

/** How much later than the client's own deadline an attempt is given up, in milliseconds. */
const GRACE = 50;

/**
 * Makes attempts until one succeeds.
 *
 * @param attempt makes one, within so many milliseconds
 * @param judge throws what the caller is told, unless another attempt makes sense
 */
export async function attempted<Answer>(
  { longest, end, firstPause, longestPause }: Attempts,
  attempt: (timeout: number) => Promise<Answer>,
  judge: (failure: Failure) => void,
): Promise<Answer> {
  for (let attempts = 1, pause = firstPause; ; attempts++, pause = Math.min(pause * 2, longestPause)) {
    const timeout = Math.max(1, Math.min(longest, end - performance.now()));
    try {
      return await within(timeout, attempt(timeout));
    } catch (error) {
      // Half of the pause is chance, so that those who failed together do not come back together.
      const rest = pause * (0.5 + Math.random() / 2);
      const isLast = performance.now() + rest >= end;
      judge({ error, attempts, isLast });
      if (isLast) {
        throw error;
      }
      await delay(rest);
    }
  }
}

/** Whether an error is one of the network's own. */
export function isNetworkFault(code: unknown): boolean {
  return typeof code === 'string' && NETWORK.test(code);
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

/** The clients heed their deadlines in a call, but not while they look for their credentials before that. */
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
