/**
 * Rounds of checks: all at once, one round at a time however many ask, and since when each has failed.
 *
 * A check that begins to fail is logged once, with an id by which the line is found; so is its end.
 */
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { StoreError } from '../../gateway/ports.ts';
import type { Check } from '../service.ts';

/** How long a check may take, in milliseconds. */
const CHECK_TIMEOUT = 5000;

/** One check's outcome. */
export interface CheckOutcome {
  readonly name: string;
  readonly ok: boolean;
  /** The gateway serves without it, though not as well. */
  readonly isOptional: boolean;
  readonly failure: CheckFailure | undefined;
}

export interface CheckFailure {
  /** Stable: `STORE_AWAY`, `STORE_FULL`, `CHECK_TIMED_OUT`, a code of the service's own, or `CHECK_FAILED`. */
  readonly code: string;
  /** For people. */
  readonly error: string;
  /** When a round found it failing for the first time, in milliseconds. */
  readonly since: number;
  /** `incident` of the log's line. */
  readonly id: string;
}

class CheckTimedOut extends Error {
  override readonly name = 'CheckTimedOut';
  readonly code = 'CHECK_TIMED_OUT';
}

export class CheckRounds {
  private readonly checks: readonly Check[];
  private readonly log: Logger;
  private readonly failing = new Map<string, Pick<CheckFailure, 'since' | 'id'>>();
  private round: Promise<CheckOutcome[]> | undefined;

  /** @param checks read at each round, so that services started later may be added */
  constructor(checks: readonly Check[], log: Logger) {
    this.checks = checks;
    this.log = log;
  }

  /** How things stand, in the order of the checks. Never rejects. */
  look(): Promise<CheckOutcome[]> {
    this.round ??= Promise.all(this.checks.map((check) => this.run(check))).finally(() => {
      this.round = undefined;
    });
    return this.round;
  }

  private async run(check: Check): Promise<CheckOutcome> {
    const { name, isOptional = false } = check;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_resolve, reject) => {
      const error = new CheckTimedOut(`No answer in ${CHECK_TIMEOUT / 1000} seconds`);
      timer = setTimeout(() => reject(error), CHECK_TIMEOUT);
    });
    try {
      await Promise.race([check.check(), timeout]);
      this.passed(name);
      return { name, ok: true, isOptional, failure: undefined };
    } catch (error) {
      return { name, ok: false, isOptional, failure: this.failed(name, error as Error) };
    } finally {
      clearTimeout(timer);
    }
  }

  private passed(name: string): void {
    const failure = this.failing.get(name);
    if (failure) {
      this.failing.delete(name);
      const seconds = Math.round((Date.now() - failure.since) / 1000);
      this.log.info({ check: name, incident: failure.id, seconds }, 'Check passes again');
    }
  }

  private failed(name: string, error: Error): CheckFailure {
    const code = codeOf(error);
    const known = this.failing.get(name);
    const failure = known ?? { since: Date.now(), id: randomUUID() };
    if (!known) {
      this.failing.set(name, failure);
      this.log.warn({ check: name, incident: failure.id, code, reason: error.message }, 'Check failed');
    }
    return { ...failure, code, error: error.message };
  }
}

function codeOf(error: Error): string {
  if (error instanceof StoreError) {
    return error.code;
  }
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && code !== '' ? code : 'CHECK_FAILED';
}
