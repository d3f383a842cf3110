/**
 * The open connections of a door, and one timer for all of them: a timer each would cost memory and time.
 */

/** How often each connection is looked at, in milliseconds. */
const INTERVAL = 250;

export interface Beating {
  /** Does what is due at `now`, on `performance.now`. */
  beat(now: number): void;
}

export class Heartbeat<Member extends Beating> {
  private readonly members = new Set<Member>();
  private readonly timer: NodeJS.Timeout;

  constructor(interval: number = INTERVAL) {
    this.timer = setInterval(() => this.tick(), interval).unref();
  }

  get size(): number {
    return this.members.size;
  }

  add(member: Member): void {
    this.members.add(member);
  }

  delete(member: Member): void {
    this.members.delete(member);
  }

  [Symbol.iterator](): Iterator<Member> {
    return this.members.values();
  }

  /** Stops the timer. */
  close(): void {
    clearInterval(this.timer);
  }

  private tick(): void {
    const now = performance.now();
    for (const member of this.members) {
      member.beat(now);
    }
  }
}
