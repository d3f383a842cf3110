/**
 * How much each private gateway has among the parcels that are held for others' mailboxes.
 *
 * Their keys begin with the mailbox, so that one sender's cannot be listed alone. Hence all are counted together, now and
 * then, for whoever asks; in between, what this process changes is added.
 */
import { HELD_PREFIX, readHeldKey } from './held-key.ts';
import type { Amount, Clock, ObjectStore } from './ports.ts';
import { SECOND } from './time.ts';

/** How old a count may be, in milliseconds: one for each parcel that it found, so that few are counted as often as asked. */
const AGE_PER_PARCEL = 1;
const MAX_AGE = 10 * SECOND;

const NOTHING: Amount = { count: 0, octets: 0 };

export class HeldCensus {
  private readonly objects: ObjectStore;
  private readonly clock: Clock;
  private amounts = new Map<string, Amount>();
  /** When the last count began, in milliseconds since the epoch. */
  private counted = Number.NEGATIVE_INFINITY;
  /** How many it found. */
  private found = 0;
  private counting: Promise<void> | undefined;
  /** What has changed since the count that is under way began. */
  private changes: Map<string, Amount> | undefined;

  constructor(parts: { objects: ObjectStore; clock: Clock }) {
    this.objects = parts.objects;
    this.clock = parts.clock;
  }

  /**
   * What this private gateway has sent and is held. What other processes did, and what expired, is as of ten seconds ago
   * at most; a parcel that was replaced, or put while all were counted, may count twice for as long.
   *
   * @throws StoreError
   */
  async amountOf(sender: string): Promise<Amount> {
    if (this.clock.now() - this.counted >= Math.min(this.found * AGE_PER_PARCEL, MAX_AGE)) {
      this.counting ??= this.countAll().finally(() => {
        this.counting = undefined;
        this.changes = undefined;
      });
      await this.counting;
    }
    const { count, octets } = this.amounts.get(sender) ?? NOTHING;
    return { count: Math.max(0, count), octets: Math.max(0, octets) };
  }

  /** One more is held, or one less, of so many octets. */
  change(sender: string, count: 1 | -1, octets: number): void {
    add(this.amounts, sender, { count, octets: count * octets });
    if (this.changes) {
      add(this.changes, sender, { count, octets: count * octets });
    }
  }

  private async countAll(): Promise<void> {
    const began = this.clock.now();
    this.changes = new Map();
    const amounts = new Map<string, Amount>();
    let found = 0;
    for await (const { key, size } of this.objects.list(HELD_PREFIX)) {
      found++;
      add(amounts, readHeldKey(key).sender, { count: 1, octets: size });
    }
    for (const [sender, change] of this.changes) {
      add(amounts, sender, change);
    }
    this.amounts = amounts;
    this.counted = began;
    this.found = found;
  }
}

function add(amounts: Map<string, Amount>, sender: string, { count, octets }: Amount): void {
  const before = amounts.get(sender) ?? NOTHING;
  const after = { count: before.count + count, octets: before.octets + octets };
  if (after.count === 0) {
    amounts.delete(sender);
  } else {
    amounts.set(sender, after);
  }
}
