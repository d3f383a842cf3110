/**
 * A machine that has too much to do: whoever is well is then too slow for clients that wait 5 seconds, as deployed ones do. What
 * failed in this way alone is tried again, as they do, and must come right; elsewhere nothing is.
 */
import { availableParallelism, loadavg } from 'node:os';

/** How often something is tried where clients wait in vain. */
const ATTEMPTS = 3;

const isBusy = () => (loadavg()[0] ?? 0) > 2 * availableParallelism();

/** Whether the official client gave up since no answer came in time, or the doctor did. */
export const isTimeout = (reason: string) => /^timeout of|\[(ANSWER_LATE|DEADLINE_EXCEEDED)\]/.test(reason);

/**
 * @param attempt does something, counted from 0
 * @param isLate whether its outcome only tells that clients waited in vain
 * @returns the first outcome that tells more, or the last
 */
export async function withPatience<Outcome>(
  attempt: (count: number) => Promise<Outcome>,
  isLate: (outcome: Outcome) => boolean,
): Promise<Outcome> {
  for (let count = 0; ; count++) {
    const outcome = await attempt(count);
    if (count + 1 === ATTEMPTS || !isLate(outcome) || !isBusy()) {
      return outcome;
    }
  }
}
