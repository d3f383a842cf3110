/**
 * The open connections of a door, and one timer for all of them: a timer each would cost memory and time. They are looked
 * at a few in each turn of the event loop, as hundreds may be due for a ping at once.
 */

/** How often each connection is looked at, in milliseconds. */
const INTERVAL = 250;

/** How long the looks of one turn may last, in milliseconds. */
const SLICE = 10;

export interface Beating {
  /** Does what is due at `now`, on `performance.now`. */
  beat(now: number): void;
}

export class Heartbeat<Member extends Beating> {
  private readonly members = new Set<Member>();
  private readonly timer: NodeJS.Timeout;
  /** Those who are still to be looked at in this round; undefined between rounds. */
  private round: Iterator<Member> | undefined;
  private nextTurn: NodeJS.Immediate | undefined;

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
    clearImmediate(this.nextTurn);
  }

  /** Begins a round, unless there is one that takes longer than the interval. */
  private tick(): void {
    if (this.round === undefined) {
      this.round = this.members.values();
      this.look(this.round);
    }
  }

  private look(round: Iterator<Member>): void {
    const began = performance.now();
    let now = began;
    for (let next = round.next(); !next.done; next = round.next()) {
      next.value.beat(now);
      now = performance.now();
      if (now - began > SLICE) {
        this.nextTurn = setImmediate(() => this.look(round));
        return;
      }
    }
    this.round = undefined;
  }
}
