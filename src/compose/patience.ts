/** Waits at the start for what is away, as each backend does while it is opened; and tells of it now and then. */
import { setTimeout as pause } from 'node:timers/promises';
import { GatewayError } from '../gateway/errors.ts';
import { StoreError } from '../gateway/ports.ts';
import type { Logger } from '../log.ts';

/** Between two attempts, and between two lines of the log, in milliseconds. */
const PAUSE = 1000;
const TELL_INTERVAL = 15_000;

/**
 * Has something done, again and again while a store is away or other processes have still to make the identity.
 *
 * @param options.until by `performance.now()`
 * @throws StoreError when it is still away then, GatewayError IDENTITY_PENDING; whatever else goes wrong at once
 */
export async function patiently<Outcome>(
  attempt: () => Promise<Outcome>,
  { until, log }: { until: number; log: Logger | undefined },
): Promise<Outcome> {
  for (const told = rarely(log); ; await pause(PAUSE)) {
    try {
      return await attempt();
    } catch (error) {
      const isAway = error instanceof StoreError && error.code === 'STORE_AWAY';
      const isPending = error instanceof GatewayError && error.code === 'IDENTITY_PENDING';
      if (!(isAway || isPending) || performance.now() + PAUSE > until) {
        throw error;
      }
      const what = isAway ? 'A store is away; waiting for it' : 'Waiting for another process to make the identity';
      told.warn({ reason: error.message }, what);
    }
  }
}

/** A log of warnings that leaves out those that come soon after the last one. */
export function rarely(log: Logger | undefined): { warn(details: object, message: string): void } {
  let last = Number.NEGATIVE_INFINITY;
  return {
    warn(details, message) {
      const now = performance.now();
      if (now - last >= TELL_INTERVAL) {
        last = now;
        log?.warn(details, message);
      }
    },
  };
}
