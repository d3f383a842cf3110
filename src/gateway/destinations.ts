/**
 * What is known of the destinations of parcels, so that one that is slow or broken holds up no other.
 *
 * A destination that nothing is known of, or that failed last, is *on trial*: it gets one delivery at once, and all on
 * trial together half of the slots. Each success doubles how many it may have at once; so many again, several times,
 * may wait in hand for their turn. A failure makes it rest; one that began before an earlier one ended is not counted
 * again.
 */
import type { Clock } from './ports.ts';
import { retryWait } from './retry.ts';

/** Destinations that are remembered; of those, the longest unused go first. */
const REMEMBERED = 10_000;

/** For each delivery under way so many are in hand, so that the next is there when one ends. */
const IN_HAND_FACTOR = 4;

interface Destination {
  /** Deliveries that were taken in hand, those under way included. */
  inHand: number;
  underWay: number;
  /** How many deliveries it may have at once. */
  limit: number;
  isOnTrial: boolean;
  /** How many in a row. */
  failures: number;
  /** Milliseconds. */
  lastFailure: number;
}

/** One delivery in hand; ends by `succeeded`, `failed` or `abandoned`. */
export interface Attempt {
  readonly name: string;
  /** Whether its destination was on trial when it was taken in hand. */
  readonly isOnTrial: boolean;
  /** When it got under way, in milliseconds; undefined while it waits for its turn. */
  readonly start: number | undefined;
}

export class Destinations {
  private readonly clock: Clock;
  private readonly chance: () => number;
  private readonly perDestination: number;
  private readonly trials: number;
  private readonly known = new Map<string, Destination>();
  private trialsInHand = 0;

  /**
   * @param parts.slots how many deliveries are in hand at once
   * @param parts.perDestination how many of one destination may be under way
   * @param parts.chance gives a number from 0 up to 1
   */
  constructor(parts: { clock: Clock; chance: () => number; slots: number; perDestination: number }) {
    this.clock = parts.clock;
    this.chance = parts.chance;
    this.perDestination = parts.perDestination;
    this.trials = Math.max(1, Math.floor(parts.slots / 2));
  }

  /**
   * How many more deliveries of a destination may be taken in hand.
   *
   * @param chosen deliveries that are about to begin, by their destinations
   */
  room(name: string, chosen: readonly { readonly group: string }[] = []): number {
    const destination = this.known.get(name);
    if (destination && !destination.isOnTrial) {
      return IN_HAND_FACTOR * destination.limit - destination.inHand;
    }
    if (destination && destination.inHand > 0) {
      return 0;
    }
    // Counting them out is only needed when they might be too many.
    const isScarce = this.trialsInHand + chosen.length >= this.trials;
    const trials = isScarce ? this.trialsInHand + chosen.filter(({ group }) => this.isOnTrial(group)).length : 0;
    return trials < this.trials ? 1 : 0;
  }

  /** Takes a delivery in hand. */
  take(name: string): Attempt {
    const destination = this.known.get(name) ?? {
      inHand: 0,
      underWay: 0,
      limit: 1,
      isOnTrial: true,
      failures: 0,
      lastFailure: Number.NEGATIVE_INFINITY,
    };
    this.known.delete(name);
    this.known.set(name, destination);
    this.forgetOldest();
    destination.inHand++;
    this.trialsInHand += destination.isOnTrial ? 1 : 0;
    return { name, isOnTrial: destination.isOnTrial, start: undefined };
  }

  /** Gets a delivery under way. @returns undefined while it is not its turn */
  begin(attempt: Attempt): Attempt | undefined {
    const destination = this.known.get(attempt.name);
    if (!destination || destination.underWay >= destination.limit) {
      return undefined;
    }
    destination.underWay++;
    return { ...attempt, start: this.clock.now() };
  }

  /** It answered, be it with a refusal. @returns whether it had failed before, so that what waits for it may hurry */
  succeeded(attempt: Attempt): boolean {
    const destination = this.end(attempt);
    // Failures since it began tell more than this success does.
    if (!destination || attempt.start === undefined || destination.lastFailure > attempt.start) {
      return false;
    }
    const hadFailed = destination.failures > 0;
    destination.failures = 0;
    destination.isOnTrial = false;
    destination.limit = Math.min(this.perDestination, destination.limit * 2);
    return hadFailed;
  }

  /** @returns until when it rests, in milliseconds; undefined where that failure was foreseen by an earlier one */
  failed(attempt: Attempt): number | undefined {
    const destination = this.end(attempt);
    if (!destination || attempt.start === undefined || destination.lastFailure > attempt.start) {
      return undefined;
    }
    const now = this.clock.now();
    destination.failures++;
    // Also of those that began within this very millisecond.
    destination.lastFailure = Math.max(now, attempt.start + 1);
    destination.isOnTrial = true;
    destination.limit = 1;
    return now + retryWait(destination.failures, this.chance());
  }

  /** Nothing was learnt of the destination. */
  abandoned(attempt: Attempt): void {
    this.end(attempt);
  }

  private isOnTrial(name: string): boolean {
    return this.known.get(name)?.isOnTrial ?? true;
  }

  private end({ name, isOnTrial, start }: Attempt): Destination | undefined {
    this.trialsInHand -= isOnTrial ? 1 : 0;
    const destination = this.known.get(name);
    if (destination) {
      destination.inHand--;
      destination.underWay -= start === undefined ? 0 : 1;
    }
    return destination;
  }

  private forgetOldest(): void {
    if (this.known.size <= REMEMBERED) {
      return;
    }
    for (const [name, { inHand }] of this.known) {
      if (inHand === 0) {
        this.known.delete(name);
        return;
      }
    }
  }
}
