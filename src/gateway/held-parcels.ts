/**
 * Parcels that are held for a mailbox which has no room for them, or because their sender is over its rate.
 *
 * They were acknowledged to the private gateway that sent them, and wait under its quota (protocol section 7). A held
 * parcel is stored in the mailbox first and deleted here then, so that a crash in between repeats it.
 */
import { HELD_PREFIX, readHeldKey } from './held-key.ts';
import { type JournalWriter, NO_JOURNAL } from './journal.ts';
import type { Mailboxes } from './mailbox.ts';
import type { Outbox } from './outbox.ts';
import { isNewer, type ParcelAtRest, storedParcelIds } from './parcel-at-rest.ts';
import { isWithinRate, type ParcelRate, readRate, writeRate } from './parcel-rate.ts';
import type { Meters, ObjectEntry, ObjectStore } from './ports.ts';

/** How many of one sender's parcels for a mailbox are kept in mind; when these have moved, they are listed again. */
const IN_MIND = 64;

/** A held parcel that is kept in mind. */
interface Waiting {
  readonly entry: ObjectEntry;
  readonly sender: string;
  /** Its rate allowed it already; only room was lacking. */
  isWithinRate: boolean;
}

/** What is held for one mailbox. */
interface HeldForMailbox {
  /** Private gateways with parcels here. */
  senders: Set<string>;
  /** The oldest of each, by arrival; undefined before they are listed. */
  waiting: Waiting[] | undefined;
  /** There are more than those in mind. */
  isTruncated: boolean;
  /** The move under way: how many it moved. */
  moving: Promise<number> | undefined;
  /** Something has changed since the move under way began. */
  mustMoveAgain: boolean;
  /** How often this process has begun to hold a parcel. */
  holds: number;
}

export class HeldParcels {
  private readonly objects: ObjectStore;
  private readonly mailboxes: Mailboxes;
  private readonly outbox: Outbox;
  private readonly meters: Meters;
  private readonly journal: JournalWriter;
  private readonly held = new Map<string, HeldForMailbox>();

  constructor(parts: {
    objects: ObjectStore;
    mailboxes: Mailboxes;
    outbox: Outbox;
    meters: Meters;
    journal?: JournalWriter;
  }) {
    this.objects = parts.objects;
    this.mailboxes = parts.mailboxes;
    this.outbox = parts.outbox;
    this.meters = parts.meters;
    this.journal = parts.journal ?? NO_JOURNAL;
    this.mailboxes.whenRoom((mailbox) => {
      // Should a store be away, housekeeping tries again.
      this.move(mailbox).catch(() => undefined);
    });
  }

  /** Whether parcels of this private gateway are held for the mailbox: its next one has to queue behind them. */
  includes(mailbox: string, sender: string): boolean {
    return this.held.get(mailbox)?.senders.has(sender) ?? false;
  }

  /**
   * Holds a parcel for `mailbox` under the quota of private gateway `sender`; durable when it resolves.
   *
   * @param options.rate what it must still be counted against
   * @param options.stays asked of the version that is held: where it is to stay, nothing is done. Without it, none is.
   * @throws GatewayError OUTBOX_FULL; StoreError
   */
  async hold(
    mailbox: string,
    sender: string,
    parcel: ParcelAtRest,
    { rate, stays }: { rate?: ParcelRate | undefined; stays?: ((there: ObjectEntry) => boolean) | undefined },
  ): Promise<void> {
    const isFirst = !this.includes(mailbox, sender);
    // Before it is stored, so that the sender's next one does not overtake it.
    const begun = this.heldFor(mailbox);
    begun.senders.add(sender);
    begun.holds++;
    try {
      const metadata = { ...parcel.metadata, ...(rate && { rate: writeRate(rate) }) };
      await this.outbox.hold(sender, mailbox, { ...parcel, metadata }, stays);
    } catch (error) {
      if (isFirst) {
        this.held.get(mailbox)?.senders.delete(sender);
      }
      throw error;
    }
    const held = this.heldFor(mailbox);
    held.senders.add(sender);
    held.isTruncated = true;
    held.mustMoveAgain = true;
  }

  /**
   * Moves the oldest into the mailbox while it has room for them and their rates allow.
   *
   * @returns how many were moved
   * @throws StoreError
   */
  async move(mailbox: string): Promise<number> {
    const held = this.held.get(mailbox);
    if (!held) {
      return 0;
    }
    held.mustMoveAgain = true;
    held.moving ??= this.moveWhileChanging(mailbox, held).finally(() => {
      held.moving = undefined;
    });
    return held.moving;
  }

  /**
   * Looks through the store for what is held, also by other processes, and forgets what others have moved. For housekeeping.
   *
   * @throws StoreError
   */
  async look(): Promise<void> {
    const before = [...this.held].map(([mailbox, { holds }]) => ({ mailbox, holds }));
    const found = new Map<string, Set<string>>();
    for await (const { key } of this.objects.list(HELD_PREFIX)) {
      const { mailbox, sender } = readHeldKey(key);
      this.heldFor(mailbox).senders.add(sender);
      found.set(mailbox, (found.get(mailbox) ?? new Set()).add(sender));
    }
    for (const { mailbox, holds } of before) {
      const held = this.held.get(mailbox);
      // What came to be held since then may not be in the list.
      if (held && held.holds === holds && !held.moving) {
        const senders = found.get(mailbox);
        held.waiting = undefined;
        if (senders) {
          held.senders = senders;
        } else {
          this.held.delete(mailbox);
        }
      }
    }
  }

  /** Looks, and moves what can be. Of several processes one is enough. @throws StoreError */
  async refresh(): Promise<void> {
    await this.look();
    for (const [mailbox, held] of this.held) {
      held.waiting = undefined;
      await this.move(mailbox);
    }
  }

  private heldFor(mailbox: string): HeldForMailbox {
    let held = this.held.get(mailbox);
    if (!held) {
      held = {
        senders: new Set(),
        waiting: undefined,
        isTruncated: false,
        moving: undefined,
        mustMoveAgain: false,
        holds: 0,
      };
      this.held.set(mailbox, held);
    }
    return held;
  }

  private async moveWhileChanging(mailbox: string, held: HeldForMailbox): Promise<number> {
    let moved = 0;
    while (held.mustMoveAgain) {
      held.mustMoveAgain = false;
      held.waiting ??= await this.oldest(mailbox, held);
      const movedNow = await this.moveOldest(mailbox, held, held.waiting);
      moved += movedNow;
      if (held.waiting.length > 0) {
        continue;
      }
      held.waiting = undefined;
      if (held.isTruncated) {
        held.mustMoveAgain = true;
      } else if (!held.mustMoveAgain) {
        this.held.delete(mailbox);
      }
    }
    return moved;
  }

  /** The oldest few of each sender, oldest first. */
  private async oldest(mailbox: string, held: HeldForMailbox): Promise<Waiting[]> {
    held.isTruncated = false;
    const bySender = new Map<string, Waiting[]>();
    for await (const entry of this.objects.list(`${HELD_PREFIX}${mailbox}/`)) {
      const { sender } = readHeldKey(entry.key);
      const waiting = bySender.get(sender) ?? [];
      waiting.push({ entry, sender, isWithinRate: false });
      if (waiting.length >= 2 * IN_MIND) {
        held.isTruncated = true;
        waiting.sort(byArrival).splice(IN_MIND);
      }
      bySender.set(sender, waiting);
    }
    for (const waiting of bySender.values()) {
      if (waiting.sort(byArrival).splice(IN_MIND).length > 0) {
        held.isTruncated = true;
      }
    }
    return [...bySender.values()].flat().sort(byArrival);
  }

  /** Moves what it can and leaves in `waiting` what it cannot. */
  private async moveOldest(mailbox: string, held: HeldForMailbox, waiting: Waiting[]): Promise<number> {
    const overRate = new Set<string>();
    const staying: Waiting[] = [];
    let moved = 0;
    let isFull = false;
    for (const parcel of waiting) {
      if (isFull || overRate.has(parcel.sender)) {
        staying.push(parcel);
        continue;
      }
      const outcome = await this.moveOne(mailbox, parcel);
      if (outcome === 'moved') {
        moved++;
      } else if (outcome !== 'gone') {
        staying.push(parcel);
        isFull ||= outcome === 'full';
        overRate.add(parcel.sender);
      }
    }
    held.waiting = staying;
    if (!held.isTruncated) {
      held.senders = new Set(staying.map(({ sender }) => sender));
    }
    return moved;
  }

  private async moveOne(mailbox: string, parcel: Waiting): Promise<'moved' | 'gone' | 'full' | 'over-rate'> {
    const stored = await this.objects.get(parcel.entry.key);
    if (!stored) {
      return 'gone';
    }
    const { digest } = readHeldKey(stored.key);
    const stays = (there: ObjectEntry) =>
      isNewer(there, stored) || (!isNewer(stored, there) && cameLater(there, stored));
    const inMailbox = await this.mailboxes.find(mailbox, digest);
    if (inMailbox && stays(inMailbox)) {
      // A newer version came by another door, and replaces this one.
      await this.outbox.letGo(parcel.sender, stored);
      return 'gone';
    }
    const { rate, ...metadata } = stored.metadata;
    parcel.isWithinRate ||= rate === undefined || (await isWithinRate(this.meters, readRate(rate)));
    if (!parcel.isWithinRate) {
      return 'over-rate';
    }
    if (!(await this.mailboxes.put(mailbox, { digest, bytes: stored.body, expiry: stored.expiry, metadata }, stays))) {
      return 'full';
    }
    await this.outbox.letGo(parcel.sender, stored);
    this.journal.record({
      event: 'moved',
      ...storedParcelIds(stored),
      peer: parcel.sender,
      place: 'mailbox',
      mailbox,
    });
    return 'moved';
  }
}

/** By the store's own clock where it has one: arrivals are by those of the processes that put them. */
function cameLater(one: ObjectEntry, other: ObjectEntry): boolean {
  const between = (one.storedAt ?? 0) - (other.storedAt ?? 0);
  return between > 0 || (between === 0 && one.arrival > other.arrival);
}

function byArrival(one: Waiting, other: Waiting): number {
  return one.entry.arrival - other.entry.arrival;
}
