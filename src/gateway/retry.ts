/** When to try again what failed: later each time, and never all at once. */
import { HOUR, SECOND } from './time.ts';

/** The longest first wait, in milliseconds. */
const FIRST_WAIT = 30 * SECOND;

/** The longest wait of all, in milliseconds. */
const LONGEST_WAIT = HOUR;

/**
 * How long to wait after a failure, in milliseconds: up to 30 seconds after the first, twice as long after each further
 * one, up to an hour; chance makes each wait up to half shorter.
 *
 * @param failures how many in a row, at least 1
 * @param chance a number from 0 up to 1
 */
export function retryWait(failures: number, chance: number): number {
  const longest = Math.min(FIRST_WAIT * 2 ** (failures - 1), LONGEST_WAIT);
  return longest * (1 - chance / 2);
}
