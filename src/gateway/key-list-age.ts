/**
 * Whether the picture of our identity keys that this process has may lack one that others use already; and what is judged
 * by it. Each process reads the keys again in each round of housekeeping, and a new one issues only when all have had
 * two (`Identity`). Where the records were away for longer, what it issued looks like a stranger's here.
 */
import { type Clock, StoreError } from './ports.ts';
import { SECOND } from './time.ts';

/** Milliseconds between two attempts to catch up, so that strangers cannot have the records read at will. */
const PAUSE = 2 * SECOND;

export class KeyListAge {
  private readonly clock: Clock;
  private readonly limit: number;
  private readonly reload: () => Promise<void>;
  private readAt = Number.NEGATIVE_INFINITY;
  private triedAt = Number.NEGATIVE_INFINITY;
  private catchingUp: Promise<void> | undefined;

  /**
   * @param parts.limit for how long nothing can issue that was not read, in milliseconds; infinite where this process has
   *   the records for itself
   * @param parts.reload reads the keys again, and notes that
   */
  constructor(parts: { clock: Clock; limit: number; reload: () => Promise<void> }) {
    this.clock = parts.clock;
    this.limit = parts.limit;
    this.reload = parts.reload;
  }

  /** Notes that the keys were read. @param instant when that began, in milliseconds */
  note(instant: number): void {
    this.readAt = instant;
  }

  /**
   * Does a check against our keys or certificates. What it throws is final where nothing can be lacking; else they are read
   * again, and it is done once more.
   *
   * @throws whatever `check` throws; StoreError STORE_AWAY, where it throws and they cannot be read
   */
  async judge<Value>(check: () => Value): Promise<Value> {
    try {
      return check();
    } catch (error) {
      if (this.isCurrent()) {
        throw error;
      }
    }
    await this.catchUp();
    return check();
  }

  /** As `judge` where nobody can wait: what is not final is a StoreError at once, and the keys are read meanwhile. */
  judgeNow<Value>(check: () => Value): Value {
    try {
      return check();
    } catch (error) {
      if (this.isCurrent()) {
        throw error;
      }
      this.catchUp().catch(() => undefined);
      throw keysAway(error);
    }
  }

  private isCurrent(): boolean {
    return this.limit === Number.POSITIVE_INFINITY || this.clock.now() - this.readAt < this.limit;
  }

  private async catchUp(): Promise<void> {
    if (!this.catchingUp) {
      const now = this.clock.now();
      if (now - this.triedAt < PAUSE) {
        throw keysAway();
      }
      this.triedAt = now;
      this.catchingUp = this.reload().finally(() => {
        this.catchingUp = undefined;
      });
    }
    try {
      await this.catchingUp;
    } catch (error) {
      throw keysAway(error);
    }
  }
}

function keysAway(cause?: unknown): StoreError {
  return new StoreError('STORE_AWAY', "The list of this gateway's keys could not be read for too long to refuse this", {
    cause,
  });
}
