/** A clock that stands still until a test moves it. */

import type { Clock } from '../../src/gateway/ports.ts';

export class ManualClock implements Clock {
  private time: number;

  /** @param time milliseconds since the epoch */
  constructor(time = Date.UTC(2026, 0, 1)) {
    this.time = time;
  }

  now(): number {
    return this.time;
  }

  /** Moves time on; a negative step is a clock that was set back. */
  advance(milliseconds: number): void {
    this.time += milliseconds;
  }
}
