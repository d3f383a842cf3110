/**
 * Work that comes in crowds, done a little in each turn of the event loop: when thousands of clients come back at once,
 * those who are connected already must still get their pings.
 */

/** How long the work of one turn may last, in milliseconds. */
const SLICE = 15;

export class Turns {
  private waiting: (() => void)[] = [];
  private isScheduled = false;

  /** Has `work` done soon, after what was added before; it must not throw. */
  add(work: () => void): void {
    this.waiting.push(work);
    this.schedule();
  }

  private schedule(): void {
    if (!this.isScheduled && this.waiting.length > 0) {
      this.isScheduled = true;
      setImmediate(() => this.run());
    }
  }

  private run(): void {
    this.isScheduled = false;
    const end = performance.now() + SLICE;
    let done = 0;
    while (done < this.waiting.length && performance.now() < end) {
      this.waiting[done++]?.();
    }
    this.waiting = this.waiting.slice(done);
    this.schedule();
  }
}
