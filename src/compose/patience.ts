/** Waits at the start for what is away, as each backend does while it is opened. */
import { setTimeout as pause } from 'node:timers/promises';
import { StoreError } from '../gateway/ports.ts';
import type { Logger } from '../log.ts';

/** Between two attempts, and between two lines of the log, in milliseconds. */
const PAUSE = 1000;
const TELL_INTERVAL = 15_000;

/**
 * Has something done, again and again while a store is away.
 *
 * @param options.until by `performance.now()`
 * @throws StoreError when it is still away then; whatever else goes wrong at once
 */
export async function patiently<Outcome>(
  attempt: () => Promise<Outcome>,
  { until, log }: { until: number; log: Logger | undefined },
): Promise<Outcome> {
  for (let told = Number.NEGATIVE_INFINITY; ; ) {
    try {
      return await attempt();
    } catch (error) {
      const isAway = error instanceof StoreError && error.code === 'STORE_AWAY';
      const now = performance.now();
      if (!isAway || now + PAUSE > until) {
        throw error;
      }
      if (now - told >= TELL_INTERVAL) {
        told = now;
        log?.warn({ reason: error.message }, 'A store is away; waiting for it');
      }
      await pause(PAUSE);
    }
  }
}
