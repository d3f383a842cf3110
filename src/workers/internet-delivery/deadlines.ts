/**
 * Deadlines of many, looked at together once a second: a timer for each costs more than most of what it would watch.
 */
import { SECOND } from '../../gateway/time.ts';

/** How late a deadline may be told, in milliseconds. */
const PERIOD = SECOND;

/** What has a deadline. */
export interface Bounded {
  /** By `performance.now()`, in milliseconds; may be changed. */
  deadline: number;
  /** The deadline is over. Called once, unless it was removed before. */
  onDeadline(): void;
}

export class Deadlines {
  private readonly bounded = new Set<Bounded>();
  /** Runs while there is something to watch. */
  private timer: NodeJS.Timeout | undefined;

  add(one: Bounded): void {
    this.bounded.add(one);
    this.timer ??= setInterval(() => this.look(), PERIOD);
  }

  remove(one: Bounded): void {
    this.bounded.delete(one);
  }

  private look(): void {
    const now = performance.now();
    for (const one of this.bounded) {
      if (one.deadline <= now) {
        this.bounded.delete(one);
        one.onDeadline();
      }
    }
    if (this.bounded.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
  }
}
