/** Lengths of time in milliseconds, and the clock drift that the protocol tolerates. */

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** How far a private node's clock may be off (protocol section 3). */
export const CLOCK_DRIFT = 2 * HOUR;

/** How far back start dates lie, since clients date messages 90 minutes back (protocol section 2). */
export const BACKDATING = 3 * HOUR;
