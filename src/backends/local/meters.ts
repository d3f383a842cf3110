/**
 * Meters of one process: what was taken in the last period, counted exactly where limits are small.
 *
 * A key remembers when its takes were. Where there are many, neighbours are counted together under the time of the
 * last of them: then an allowance may come back up to 1/32 of the period late, but never too early.
 */

import type { Amount, Clock, Meters } from '../../gateway/ports.ts';

/** Times remembered for one key. */
const MOST_MARKS = 32;
/** Keys remembered; beyond, those longest unused are forgotten. */
const MOST_KEYS = 50_000;

/** Takes counted together. */
interface Mark {
  readonly first: number;
  last: number;
  count: number;
}

interface Meter {
  readonly marks: Mark[];
  period: number;
}

export class LocalMeters implements Meters {
  private readonly clock: Clock;
  /** In the order of last use, longest ago first. */
  private readonly meters = new Map<string, Meter>();
  /** What is held, in the order of last change. */
  private readonly amounts = new Map<string, Amount>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  async take(key: string, limit: number, period: number): Promise<boolean> {
    const now = this.clock.now();
    const meter = this.meters.get(key) ?? { marks: [], period };
    meter.period = period;
    this.meters.delete(key);
    this.meters.set(key, meter);
    forgetOldest(this.meters);
    const { marks } = meter;
    while (marks[0] && marks[0].last <= now - period) {
      marks.shift();
    }
    const taken = marks.reduce((sum, mark) => sum + mark.count, 0);
    if (taken >= limit) {
      return false;
    }
    const newest = marks.at(-1);
    if (newest && limit > MOST_MARKS && now - newest.first < period / MOST_MARKS) {
      newest.last = now;
      newest.count++;
    } else {
      marks.push({ first: now, last: now, count: 1 });
    }
    return true;
  }

  async reserve(key: string, amount: Amount, quota: Amount): Promise<'reserved' | 'full' | 'unknown'> {
    const held = this.amounts.get(key);
    if (!held) {
      return 'unknown';
    }
    const count = held.count + amount.count;
    const octets = held.octets + amount.octets;
    if (count > quota.count || octets > quota.octets) {
      return 'full';
    }
    this.setAmount(key, { count, octets });
    return 'reserved';
  }

  async release(key: string, amount: Amount): Promise<void> {
    const held = this.amounts.get(key);
    if (held) {
      this.setAmount(key, {
        count: Math.max(0, held.count - amount.count),
        octets: Math.max(0, held.octets - amount.octets),
      });
    }
  }

  async recount(key: string, amount: Amount): Promise<void> {
    this.setAmount(key, amount);
  }

  /** Forgets the keys whose allowance is whole again. */
  forgetIdle(): void {
    const now = this.clock.now();
    for (const [key, { marks, period }] of this.meters) {
      const newest = marks.at(-1);
      if (!newest || newest.last <= now - period) {
        this.meters.delete(key);
      }
    }
  }

  private setAmount(key: string, amount: Amount): void {
    this.amounts.delete(key);
    this.amounts.set(key, amount);
    forgetOldest(this.amounts);
  }
}

/** What is forgotten is a whole allowance, or must be counted again. */
function forgetOldest(byLastUse: Map<string, unknown>): void {
  // Its first key may be far behind the places of those that were put at its end again.
  if (byLastUse.size <= MOST_KEYS) {
    return;
  }
  for (const key of byLastUse.keys()) {
    if (byLastUse.size <= MOST_KEYS) {
      return;
    }
    byLastUse.delete(key);
  }
}
