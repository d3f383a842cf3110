/** Chance that can be had again: the same seed gives the same numbers. */
import { randomInt } from 'node:crypto';

/** Numbers from 0 up to 1, by the seed (mulberry32). */
export function seededChance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The seed that `SEED` in the environment gives, to repeat a run, or a new one. */
export function chooseSeed(): number {
  return Number(process.env['SEED'] ?? randomInt(2 ** 32));
}
