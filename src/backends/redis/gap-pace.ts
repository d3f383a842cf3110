/** Tells subscribers of a gap, no faster than the stores can be listed. */

/** Subscribers that are told at once, and how long until the next are, in milliseconds: 500 a second. */
const AT_ONCE = 50;
const PAUSE = 100;

export class GapPace<Subscriber> {
  private readonly tell: (subscriber: Subscriber) => void;
  private readonly owed = new Set<Subscriber>();
  /** Runs while the pace allows no more. */
  private timer: NodeJS.Timeout | undefined;

  constructor(tell: (subscriber: Subscriber) => void) {
    this.tell = tell;
  }

  /** Who is owed it already is told once. */
  owe(subscribers: Iterable<Subscriber>): void {
    for (const subscriber of subscribers) {
      this.owed.add(subscriber);
    }
    if (!this.timer) {
      this.tellSome();
    }
  }

  forget(subscriber: Subscriber): void {
    this.owed.delete(subscriber);
  }

  close(): void {
    clearTimeout(this.timer);
    this.owed.clear();
  }

  private tellSome(): void {
    this.timer = undefined;
    if (this.owed.size === 0) {
      return;
    }
    this.timer = setTimeout(() => this.tellSome(), PAUSE);
    let told = 0;
    for (const subscriber of this.owed) {
      this.owed.delete(subscriber);
      this.tell(subscriber);
      if (++told === AT_ONCE) {
        break;
      }
    }
  }
}
