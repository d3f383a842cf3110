/**
 * One collection of parcels, for the life of its connection: subscribe, then list, then send oldest first within the
 * window, and delete what is acknowledged.
 *
 * Nothing that arrives at any instant is missed: what comes before the listing is listed, what comes after the
 * subscription is told, and what is both goes once. Signals may come late and a listing may be older than a signal,
 * so wherever a parcel was heard of in more than one version, the store is asked which one counts.
 */
import type { Budget } from './budget.ts';
import type { TraceIds } from './errors.ts';
import type { JournalWriter } from './journal.ts';
import type { ParcelArrival } from './mailbox.ts';
import { storedParcelIds, waitedSince } from './parcel-at-rest.ts';
import { ParcelQueue, type QueuedParcel } from './parcel-queue.ts';
import type { ParcelStorage } from './parcel-storage.ts';
import type { Clock, ObjectEntry, Subscription } from './ports.ts';
import type { QueueRoom } from './queue-room.ts';
import { type SentParcel, SentParcels } from './sent-parcels.ts';
import { HOUR } from './time.ts';

/** A further parcel is sent within the window only while the unacknowledged ones have fewer octets than this. */
const WINDOW_OCTETS = 1024 * 1024;

/** How many deletions may be under way when the next parcel is sent: a slow store slows its clients down. */
const MAX_DELETIONS = 64;

/** Parcels of fewer octets are read without waiting for a share of the memory: they leave for the network at once. */
const SMALL_OCTETS = 64 * 1024;

/**
 * How often a mailbox is listed again, in case somebody was not told of a parcel: one whose process died before it told was
 * acknowledged to nobody and comes again, and what Redis loses it tells of. Each time is billed, for each device that waits.
 */
const RELISTING_INTERVAL = HOUR;

/** Where a collection's parcels go: the door's side of one connection. */
export interface CollectionOutlet {
  /**
   * Sends one delivery. Called again only when the window has room.
   *
   * @returns resolves when the parcel's bytes are no longer held; never rejects
   */
  deliver(deliveryId: string, parcel: Buffer, ids: TraceIds): Promise<void>;
  /** A newer collection of the same private gateway takes its place; the last call. */
  supersede(): void;
  /** All that waited was sent and acknowledged; only told to a collection that is to end then, and the last call. */
  complete(): void;
  /** A store failed; the last call. */
  fail(error: Error): void;
}

export interface CollectionOptions {
  /** End once all that waits was collected (`close-upon-completion`). */
  readonly untilEmpty: boolean;
  /** How many deliveries may be unacknowledged at once. */
  readonly window: number;
}

/** What all collections of a process share. */
export interface CollectionParts {
  readonly storage: ParcelStorage;
  readonly clock: Clock;
  readonly journal: JournalWriter;
  /** Turns to list a mailbox: after a gap in the signals all collections list again. */
  readonly listings: Budget;
  /** Octets of large parcels that are held until the network has taken them. */
  readonly memory: Budget;
  /** What the queues may take. */
  readonly room: QueueRoom;
  /** Told of each collection that has ended, once. */
  readonly onEnd: (collection: ParcelCollection) => void;
}

export class ParcelCollection {
  private readonly parts: CollectionParts;
  /** Node ids of the private gateways whose mailboxes it is of. */
  readonly peers: readonly string[];
  private readonly options: CollectionOptions;
  private readonly outlet: CollectionOutlet;
  private subscriptions: Subscription[] = [];
  // Most connections idle, so these exist only while there is something in them.
  private queue: ParcelQueue | undefined;
  private sent: SentParcels | undefined;
  private lastDeliveryId = 0;
  /** Acknowledged parcels whose deletion is under way. */
  private deletions = 0;
  private lastListing = 0;
  private isListing = false;
  private mustListAgain = false;
  private isReading = false;
  private isFinishing = false;
  private isClosed = false;

  constructor(parts: CollectionParts, peers: readonly string[], options: CollectionOptions, outlet: CollectionOutlet) {
    this.parts = parts;
    this.peers = peers;
    this.options = options;
    this.outlet = outlet;
  }

  /** Begins; whatever goes wrong is told to the outlet. To be called once. */
  start(): void {
    this.run(this.subscribeThenList());
  }

  /** Whether parcels of this private gateway are collected. */
  isOf(peer: string): boolean {
    return this.peers.includes(peer);
  }

  /** How many deliveries await acknowledgement. */
  get inFlight(): number {
    return this.sent?.inFlight ?? 0;
  }

  /**
   * Takes the acknowledgement of a delivery and deletes its parcel, that version of it and no newer one.
   *
   * @returns what traces the parcel, or undefined if no such delivery awaits acknowledgement
   */
  acknowledge(deliveryId: string): TraceIds | undefined {
    const sent = this.sent?.take(deliveryId);
    if (!sent) {
      return undefined;
    }
    this.deletions++;
    const took = this.parts.clock.now() - sent.sent;
    this.parts.journal.record({ event: 'acknowledged', door: 'poweb', ...sent.ids, took });
    this.run(this.remove(sent));
    this.pump();
    return sent.ids;
  }

  /**
   * Forgets what need not be remembered and, now and then, lists again. To be called every few seconds: this object
   * sets no timers.
   */
  maintain(): void {
    if (this.isClosed || this.isListing) {
      return;
    }
    const now = this.parts.clock.now();
    this.sent?.forget(now);
    if (this.sent?.isEmpty) {
      this.sent = undefined;
    }
    if (this.queue?.size === 0 && !this.queue.isTruncated) {
      this.queue = undefined;
    }
    if (now - this.lastListing >= RELISTING_INTERVAL) {
      this.run(this.list());
    }
  }

  /** Ends the collection in favour of a newer one. */
  supersede(): void {
    this.close();
    this.outlet.supersede();
  }

  /** Ends the collection; what was not acknowledged stays in its mailbox. Idempotent. */
  close(): void {
    if (this.isClosed) {
      return;
    }
    this.isClosed = true;
    for (const subscription of this.subscriptions) {
      subscription.close();
    }
    this.subscriptions = [];
    this.queue?.clear();
    this.queue = undefined;
    this.parts.onEnd(this);
  }

  /** The order is what keeps the promise that nothing is missed. */
  private async subscribeThenList(): Promise<void> {
    for (const peer of this.peers) {
      const subscription = await this.parts.storage.mailboxes.subscribe(
        peer,
        (arrival) => this.arrive(peer, arrival),
        () => this.run(this.list()),
      );
      if (this.isClosed) {
        subscription.close();
        return;
      }
      this.subscriptions.push(subscription);
    }
    await this.list();
  }

  /** Queues what waits in the mailboxes and was not sent. Nothing is sent meanwhile, so that the oldest goes first. */
  private async list(): Promise<void> {
    if (this.isListing) {
      // The one under way may have passed the place where something was missed.
      this.mustListAgain = true;
      return;
    }
    this.isListing = true;
    do {
      this.mustListAgain = false;
      await this.listOnce();
    } while (this.mustListAgain && !this.isClosed);
    this.isListing = false;
    this.pump();
  }

  private async listOnce(): Promise<void> {
    const release = await this.parts.listings.take(1);
    try {
      this.lastListing = this.parts.clock.now();
      this.queue?.expectAll();
      for (const peer of this.peers) {
        for await (const entry of this.parts.storage.mailboxes.list(peer)) {
          if (this.isClosed) {
            return;
          }
          this.enqueue(peer, entry, undefined);
        }
      }
    } finally {
      release();
    }
  }

  private arrive(peer: string, { entry, body }: ParcelArrival): void {
    if (!this.isClosed) {
      this.enqueue(peer, entry, body);
      this.pump();
    }
  }

  private enqueue(peer: string, entry: ObjectEntry, body: Buffer | undefined): void {
    const { key, version, arrival, expiry, size } = entry;
    if (this.wasSent(key, version)) {
      return;
    }
    // Ids are kept only where they will not be read again with the body: a long queue should weigh little.
    const ids = body && { ...storedParcelIds(entry), peer };
    this.queue ??= new ParcelQueue(this.parts.room);
    this.queue.add({ key, version, peer, arrival, expiry, size, body, ids });
  }

  /** Sends what the window has room for; ends the collection when there is nothing more and it is to end then. */
  private pump(): void {
    while (!this.isClosed && !this.isListing && !this.isReading && this.hasRoom()) {
      const next = this.queue?.shift();
      if (!next) {
        this.finishQueue();
        return;
      }
      if (this.wasSent(next.key, next.version)) {
        continue;
      }
      if (this.canSendUnread(next)) {
        void this.send(next, next.body, next.ids);
      } else {
        this.isReading = true;
        this.run(this.readAndSend(next));
      }
    }
  }

  private finishQueue(): void {
    if (this.queue?.isTruncated) {
      this.run(this.list());
    } else if (this.options.untilEmpty && this.isIdle && !this.isFinishing) {
      this.isFinishing = true;
      this.run(this.finish());
    }
  }

  /** Whether there is nothing in hand: what waited was sent, acknowledged and deleted. */
  private get isIdle(): boolean {
    const isAtWork = this.isListing || this.isReading || this.inFlight > 0 || this.deletions > 0;
    return !isAtWork && (this.queue?.size ?? 0) === 0 && !this.queue?.isTruncated;
  }

  /** Ends, unless parcels were held for want of room: these come now. */
  private async finish(): Promise<void> {
    let moved = 0;
    for (const peer of this.peers) {
      moved += await this.parts.storage.held.move(peer);
    }
    this.isFinishing = false;
    if (moved > 0) {
      await this.list();
    } else if (!this.isIdle) {
      this.pump();
    } else if (!this.isClosed) {
      this.close();
      this.outlet.complete();
    }
  }

  private hasRoom(): boolean {
    if (this.inFlight === 0) {
      return this.deletions < MAX_DELETIONS;
    }
    const { window } = this.options;
    return this.inFlight < window && (this.sent?.octetsInFlight ?? 0) < WINDOW_OCTETS && this.deletions < MAX_DELETIONS;
  }

  /** Whether the bytes that came inside the signal are sure to be those that wait in the mailbox. */
  private canSendUnread(
    parcel: QueuedParcel,
  ): parcel is QueuedParcel & { version: string; body: Buffer; ids: TraceIds } {
    return parcel.body !== undefined && !this.sent?.includes(parcel.key) && this.parts.clock.now() < parcel.expiry;
  }

  private async readAndSend(parcel: QueuedParcel): Promise<void> {
    const { key, peer, size } = parcel;
    const release = size < SMALL_OCTETS ? undefined : await this.parts.memory.take(size);
    try {
      const stored = this.isClosed ? undefined : await this.parts.storage.mailboxes.read(key);
      this.isReading = false;
      // What is gone was collected over another connection, or expired.
      if (stored && !this.isClosed && !this.wasSent(key, stored.version)) {
        const { version, arrival } = stored;
        const ids = { ...storedParcelIds(stored), peer };
        const written = this.send({ peer, key, version, arrival }, stored.body, ids);
        this.pump();
        await written;
      } else {
        this.pump();
      }
    } finally {
      release?.();
    }
  }

  private send(
    { peer, key, version, arrival }: Pick<SentParcel, 'peer' | 'key' | 'version'> & { readonly arrival: number },
    body: Buffer,
    ids: TraceIds,
  ): Promise<void> {
    const deliveryId = String(++this.lastDeliveryId);
    const sent = this.parts.clock.now();
    this.sent ??= new SentParcels();
    this.parts.journal.record({ event: 'sent', door: 'poweb', ...ids, waited: waitedSince(arrival, sent) });
    this.sent.add(deliveryId, { peer, key, version, size: body.length, ids, sent, settled: undefined });
    return this.outlet.deliver(deliveryId, body, ids);
  }

  private wasSent(key: string, version: string | undefined): boolean {
    return version !== undefined && (this.sent?.includes(key, version) ?? false);
  }

  private async remove(sent: SentParcel): Promise<void> {
    await this.parts.storage.mailboxes.remove(sent.peer, sent);
    this.deletions--;
    sent.settled = this.parts.clock.now();
    this.pump();
  }

  /** Follows work that nobody awaits; a store that fails ends the collection. */
  private run(work: Promise<void>): void {
    work.catch((error: Error) => {
      if (!this.isClosed) {
        this.close();
        this.outlet.fail(error);
      }
    });
  }
}
