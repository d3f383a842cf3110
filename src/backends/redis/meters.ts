/**
 * Meters that replicas share by Redis. While Redis is away each process counts for itself, from nothing; what it added
 * or took away meanwhile is counted afresh afterwards.
 */
import { type Amount, type Clock, type Meters, StoreError } from '../../gateway/ports.ts';
import type { RedisClient, Script } from './client.ts';
import { FORGET, RECOUNT, RELEASE, RESERVE, TAKE } from './meter-scripts.ts';

/** A rate is kept for its period and so much longer, in milliseconds: clocks differ. */
const KEPT_LONGER = 60_000;
const LONGEST_KEPT = 366 * 86_400_000;

/** Keys that are remembered to be counted afresh. */
const MOST_CHANGED = 50_000;

export class RedisMeters implements Meters {
  private readonly client: RedisClient;
  private readonly clock: Clock;
  private readonly prefix: string;
  private readonly newStandIn: () => Meters;
  /** Counts while Redis is away. */
  private standIn: Meters | undefined;
  /** What was held under these keys changed without Redis. */
  private readonly changed = new Set<string>();

  /** @param parts.newStandIn makes meters of this process alone */
  constructor(parts: { client: RedisClient; clock: Clock; prefix: string; newStandIn: () => Meters }) {
    this.client = parts.client;
    this.clock = parts.clock;
    this.prefix = parts.prefix;
    this.newStandIn = parts.newStandIn;
  }

  take(key: string, limit: number, period: number): Promise<boolean> {
    const kept = Math.min(period + KEPT_LONGER, LONGEST_KEPT);
    return this.shared(
      async () => (await this.run(TAKE, `rate:${key}`, [this.clock.now(), limit, period, Math.ceil(kept)])) === 1,
      (standIn) => standIn.take(key, limit, period),
    );
  }

  reserve(key: string, amount: Amount, quota: Amount): Promise<'reserved' | 'full' | 'unknown'> {
    return this.shared(
      async () => {
        await this.forgetIfChanged(key);
        const { count, octets } = amount;
        const outcome = await this.run(RESERVE, `held:${key}`, [count, octets, quota.count, quota.octets]);
        return outcome === 1 ? 'reserved' : outcome === 0 ? 'full' : 'unknown';
      },
      (standIn) => {
        this.noteChange(key);
        return standIn.reserve(key, amount, quota);
      },
    );
  }

  release(key: string, amount: Amount): Promise<void> {
    return this.shared(
      async () => {
        await this.forgetIfChanged(key);
        await this.run(RELEASE, `held:${key}`, [amount.count, amount.octets]);
      },
      (standIn) => {
        this.noteChange(key);
        return standIn.release(key, amount);
      },
    );
  }

  recount(key: string, amount: Amount): Promise<void> {
    return this.shared(
      async () => {
        await this.run(RECOUNT, `held:${key}`, [amount.count, amount.octets]);
        this.changed.delete(key);
      },
      (standIn) => {
        this.noteChange(key);
        return standIn.recount(key, amount);
      },
    );
  }

  private run(script: Script, key: string, parameters: readonly number[]): Promise<unknown> {
    return this.client.run(script, [`${this.prefix}meter:${key}`], parameters);
  }

  private async shared<Answer>(
    ask: () => Promise<Answer>,
    askAlone: (standIn: Meters) => Promise<Answer>,
  ): Promise<Answer> {
    try {
      const answer = await ask();
      this.standIn = undefined;
      return answer;
    } catch (error) {
      if (!(error instanceof StoreError)) {
        throw error;
      }
      this.standIn ??= this.newStandIn();
      return askAlone(this.standIn);
    }
  }

  private noteChange(key: string): void {
    if (this.changed.size < MOST_CHANGED) {
      this.changed.add(key);
    }
  }

  private async forgetIfChanged(key: string): Promise<void> {
    if (this.changed.has(key)) {
      await this.run(FORGET, `held:${key}`, []);
      this.changed.delete(key);
    }
  }
}
