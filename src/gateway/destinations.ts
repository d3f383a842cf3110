/**
 * What is known of the destinations of parcels, so that one that is slow or broken holds up no other.
 *
 * A destination that nothing is known of, or that failed last, is *on trial*: it gets one delivery at once, and all on
 * trial together half of the slots. Each success doubles how many it may have at once. A failure makes it rest; one that
 * began before an earlier one ended is not counted again.
 */
import type { Clock } from './ports.ts';
import { retryWait } from './retry.ts';

/** Destinations that are remembered; of those, the longest unused go first. */
const REMEMBERED = 10_000;

interface Destination {
  inHand: number;
  /** How many deliveries it may have at once. */
  limit: number;
  isOnTrial: boolean;
  /** How many in a row. */
  failures: number;
  /** Milliseconds. */
  lastFailure: number;
}

/** One delivery under way; ends by `succeeded`, `failed` or `abandoned`. */
export interface Attempt {
  readonly name: string;
  /** Milliseconds. */
  readonly start: number;
  /** Whether its destination was on trial when it began. */
  readonly isOnTrial: boolean;
}

export class Destinations {
  private readonly clock: Clock;
  private readonly chance: () => number;
  private readonly perDestination: number;
  private readonly trials: number;
  private readonly known = new Map<string, Destination>();
  private trialsInHand = 0;

  /**
   * @param parts.slots how many deliveries there are at once
   * @param parts.perDestination how many of them one destination may have
   * @param parts.chance gives a number from 0 up to 1
   */
  constructor(parts: { clock: Clock; chance: () => number; slots: number; perDestination: number }) {
    this.clock = parts.clock;
    this.chance = parts.chance;
    this.perDestination = parts.perDestination;
    this.trials = Math.max(1, Math.floor(parts.slots / 2));
  }

  /**
   * How many more deliveries a destination may have now.
   *
   * @param chosen deliveries that are about to begin, by their destinations
   */
  room(name: string, chosen: readonly { readonly group: string }[] = []): number {
    const destination = this.known.get(name);
    if (destination && !destination.isOnTrial) {
      return destination.limit - destination.inHand;
    }
    if (destination && destination.inHand > 0) {
      return 0;
    }
    // Counting them out is only needed when they might be too many.
    const isScarce = this.trialsInHand + chosen.length >= this.trials;
    const trials = isScarce ? this.trialsInHand + chosen.filter(({ group }) => this.isOnTrial(group)).length : 0;
    return trials < this.trials ? 1 : 0;
  }

  begin(name: string): Attempt {
    const destination = this.known.get(name) ?? {
      inHand: 0,
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
    return { name, start: this.clock.now(), isOnTrial: destination.isOnTrial };
  }

  /** It answered, be it with a refusal. @returns whether it had failed before, so that what waits for it may hurry */
  succeeded(attempt: Attempt): boolean {
    const destination = this.end(attempt);
    // Failures since it began tell more than this success does.
    if (!destination || destination.lastFailure > attempt.start) {
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
    if (!destination || destination.lastFailure > attempt.start) {
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

  private end({ name, isOnTrial }: Attempt): Destination | undefined {
    this.trialsInHand -= isOnTrial ? 1 : 0;
    const destination = this.known.get(name);
    if (destination) {
      destination.inHand--;
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
