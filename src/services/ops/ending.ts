/**
 * The end of a process, told before it comes: readiness fails first, so that load balancers send nothing more, and only
 * then does anything close.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { CheckFailure } from './check-rounds.ts';

export class Ending {
  private readonly lead: number;
  private readonly log: Logger;
  private failure: CheckFailure | undefined;

  /** @param lead for how long readiness fails before anything closes, in milliseconds */
  constructor(lead: number, log: Logger) {
    this.lead = lead;
    this.log = log;
  }

  /** Why the process is not ready; undefined while it serves. */
  get reason(): CheckFailure | undefined {
    return this.failure;
  }

  /**
   * Fails readiness from now on; resolves when things may close.
   *
   * @param deadline when it aborts, nothing more is waited for
   */
  async begin(deadline: AbortSignal): Promise<void> {
    const id = randomUUID();
    this.failure = { code: 'STOPPING', error: 'The process stops', since: Date.now(), id };
    this.log.info({ check: 'serving', incident: id, code: 'STOPPING', lead: this.lead }, 'Not ready any more');
    if (this.lead > 0) {
      await pause(this.lead, undefined, { signal: deadline }).catch(() => undefined);
    }
  }
}
