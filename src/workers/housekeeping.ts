/**
 * Housekeeping: what must be done now and then for as long as the gateway runs. Each round may be run anywhere and any
 * number of times.
 */

/** One thing to do; it may fail, and then is done again in the next round. */
export interface Chore {
  readonly name: string;
  run(): Promise<void>;
}

export interface HousekeepingParts {
  readonly chores: readonly Chore[];
  /** The longest wait between rounds, in milliseconds; each is shorter by up to a fifth, so that replicas spread out. */
  readonly period: number;
  /** A number from 0 up to 1, for that difference. */
  readonly chance: () => number;
  readonly onError: (chore: string, error: unknown) => void;
}

const JITTER = 0.2;

export class Housekeeping implements AsyncDisposable {
  private readonly parts: HousekeepingParts;
  private timer: NodeJS.Timeout | undefined;
  private round: Promise<void> = Promise.resolve();
  private isEnded = false;

  constructor(parts: HousekeepingParts) {
    this.parts = parts;
  }

  /** Starts the rounds; the first comes at once, for what was left undone when the last process ended. */
  start(): void {
    this.round = this.runRound().then(() => {
      if (!this.isEnded) {
        this.timer = setTimeout(() => this.start(), this.wait());
      }
    });
  }

  /** Stops the rounds; resolves when the chore in hand is done. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.isEnded = true;
    clearTimeout(this.timer);
    await this.round;
  }

  /** Up to a period. */
  private wait(): number {
    const { period, chance } = this.parts;
    return period * (1 - JITTER * chance());
  }

  private async runRound(): Promise<void> {
    for (const chore of this.parts.chores) {
      if (this.isEnded) {
        return;
      }
      try {
        await chore.run();
      } catch (error) {
        this.parts.onError(chore.name, error);
      }
    }
  }
}
