/**
 * A quota on what one owner stores.
 *
 * The count lives in the meters and is best effort: what expires or is replaced is not taken from it. So the store is
 * counted again before anybody is told that there is no room.
 */
import type { Amount, Clock, Meters, ObjectEntry } from './ports.ts';
import { SECOND } from './time.ts';

/** An owner that is at its quota is counted at most this often. */
const RECOUNT_INTERVAL = 10 * SECOND;

/** Owners whose last count is remembered; of others, the next full verdict costs a count. */
const REMEMBERED_COUNTS = 10_000;

export interface QuotaParts {
  readonly meters: Meters;
  readonly clock: Clock;
  /** Names the quota among the meters. */
  readonly name: string;
  readonly limit: Amount;
  /** All that the owner stores under this quota. */
  readonly entriesOf: (owner: string) => AsyncIterable<Pick<ObjectEntry, 'size'>>;
  /** What the owner stores under it besides, where that is counted otherwise. */
  readonly besides?: (owner: string) => Promise<Amount>;
}

export class Quota {
  private readonly parts: QuotaParts;
  private readonly lastCounts = new Map<string, number>();
  private readonly counts = new Map<string, Promise<void>>();

  constructor(parts: QuotaParts) {
    this.parts = parts;
  }

  /**
   * Makes room for one more object.
   *
   * @returns whether there was room; what is then not stored must be given back by `release`
   * @throws StoreError
   */
  async reserve(owner: string, octets: number): Promise<boolean> {
    const { meters, limit } = this.parts;
    const key = this.meter(owner);
    const amount = { count: 1, octets };
    const first = await meters.reserve(key, amount, limit);
    if (first === 'reserved') {
      return true;
    }
    if (first === 'full' && this.wasCountedLately(owner)) {
      return false;
    }
    await this.count(owner);
    return (await meters.reserve(key, amount, limit)) === 'reserved';
  }

  /**
   * Puts an object for which there is room by `reserve`, which is given back where nothing is put.
   *
   * @param put gives undefined where it does not put
   * @throws what `put` throws
   */
  async putReserved<Entry>(
    owner: string,
    octets: number,
    put: () => Promise<Entry | undefined>,
  ): Promise<Entry | undefined> {
    let entry: Entry | undefined;
    try {
      entry = await put();
    } catch (error) {
      await this.release(owner, octets);
      throw error;
    }
    if (entry === undefined) {
      await this.release(owner, octets);
    }
    return entry;
  }

  /** Gives back the room of an object that was removed, or that could not be stored. */
  release(owner: string, octets: number): Promise<void> {
    return this.parts.meters.release(this.meter(owner), { count: 1, octets });
  }

  private wasCountedLately(owner: string): boolean {
    const last = this.lastCounts.get(owner);
    return last !== undefined && this.parts.clock.now() - last < RECOUNT_INTERVAL;
  }

  /** Counts the store; whoever asks meanwhile waits for the same count. */
  private async count(owner: string): Promise<void> {
    let count = this.counts.get(owner);
    if (!count) {
      count = this.countStore(owner).finally(() => this.counts.delete(owner));
      this.counts.set(owner, count);
    }
    await count;
  }

  private async countStore(owner: string): Promise<void> {
    let { count, octets } = (await this.parts.besides?.(owner)) ?? { count: 0, octets: 0 };
    for await (const { size } of this.parts.entriesOf(owner)) {
      count++;
      octets += size;
    }
    await this.parts.meters.recount(this.meter(owner), { count, octets });
    this.lastCounts.delete(owner);
    this.lastCounts.set(owner, this.parts.clock.now());
    if (this.lastCounts.size > REMEMBERED_COUNTS) {
      this.lastCounts.delete(this.lastCounts.keys().next().value as string);
    }
  }

  private meter(owner: string): string {
    return `${this.parts.name}/${owner}`;
  }
}
