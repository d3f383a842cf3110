/**
 * Collection of parcels by private gateways: subscribe, then list, then send oldest first within the window.
 *
 * Nothing that arrives at any instant is missed: what comes before the listing is listed, what comes after the
 * subscription is told, and what is both goes once. A parcel is deleted when the private gateway acknowledges it, that
 * version of it and no newer one.
 */
import type { CertificateCache } from '../awala/pki/certificate-cache.ts';
import { readHandshakeResponse, verifyNonceSignature } from '../awala/poweb/collection-handshake.ts';
import type { TraceIds } from './errors.ts';
import type { Identity } from './identity.ts';
import { type Mailboxes, type ParcelArrival, storedParcelIds } from './mailbox.ts';
import type { Clock, ObjectEntry, Subscription } from './ports.ts';
import { CLOCK_DRIFT } from './time.ts';

/** How many waiting parcels a collection keeps in mind; when these are sent, it lists again. */
const QUEUE_CAPACITY = 512;

/** How many of the parcels told by signals are kept with their bytes; later ones are read when their turn comes. */
const BODIES_IN_QUEUE = 16;

/** How many versions a collection remembers to have sent, so that a signal that comes late is not sent again. */
const SENT_MEMORY = 1024;

/** Where a collection's parcels go: the door's side of one connection. */
export interface CollectionOutlet {
  /** Sends one delivery. Not called again until the window has room. */
  deliver(deliveryId: string, parcel: Buffer, ids: TraceIds): void;
  /** All that waited was sent and acknowledged; only told to a collection that is to end then. */
  complete(): void;
  /** A store failed; nothing further is sent. */
  fail(error: Error): void;
}

export interface CollectionOptions {
  /** End once all that waits was collected (`close-upon-completion`). */
  readonly untilEmpty: boolean;
  /** How many deliveries may be unacknowledged at once. */
  readonly window: number;
}

export class ParcelCollections {
  private readonly identity: Identity;
  private readonly mailboxes: Mailboxes;
  private readonly certificates: CertificateCache;
  private readonly clock: Clock;

  constructor(parts: { identity: Identity; mailboxes: Mailboxes; certificates: CertificateCache; clock: Clock }) {
    this.identity = parts.identity;
    this.mailboxes = parts.mailboxes;
    this.certificates = parts.certificates;
    this.clock = parts.clock;
  }

  /**
   * Verifies the answer to a challenge (RS-016).
   *
   * @returns node ids of the private gateways that signed the nonce, each once
   * @throws AwalaError HANDSHAKE_MALFORMED, HANDSHAKE_INVALID, if any signature is wrong
   */
  authenticate(nonce: Buffer, handshakeResponse: Buffer): string[] {
    const trusted = this.identity.trusted();
    const now = this.clock.now();
    const signers = readHandshakeResponse(handshakeResponse).map((signature) =>
      verifyNonceSignature(signature, nonce, trusted, this.certificates, now, CLOCK_DRIFT),
    );
    return [...new Set(signers.map((signer) => signer.subjectId))];
  }

  /**
   * Starts a collection of all these private gateways' mailboxes. Resolves when it is subscribed and has listed once;
   * `outlet` may be called before.
   *
   * @throws StoreError
   */
  async open(
    peers: readonly string[],
    options: CollectionOptions,
    outlet: CollectionOutlet,
  ): Promise<ParcelCollection> {
    const collection = new ParcelCollection(this.mailboxes, this.clock, peers, options, outlet);
    await collection.start();
    return collection;
  }
}

/** A parcel that waits to be sent. */
interface Pending {
  readonly key: string;
  readonly version: string;
  readonly peer: string;
  readonly arrival: number;
  readonly expiry: number;
  readonly ids: TraceIds | undefined;
  /** Present if it came inside a signal and there was room. */
  readonly body: Buffer | undefined;
}

/** A version that is known: it waits, is on its way, or was acknowledged. */
interface Known {
  readonly version: string;
  done: boolean;
}

/** A parcel that was sent and is not acknowledged yet. */
interface Sent {
  readonly key: string;
  readonly version: string;
  readonly ids: TraceIds;
}

/** One private gateway's (or several's) collection, for the life of its connection. */
export class ParcelCollection {
  private readonly mailboxes: Mailboxes;
  private readonly clock: Clock;
  private readonly peers: readonly string[];
  private readonly options: CollectionOptions;
  private readonly outlet: CollectionOutlet;
  private subscriptions: Subscription[] = [];
  private queue: Pending[] = [];
  /** Versions by key, oldest first. Made when the first parcel comes: most connections idle. */
  private known: Map<string, Known> | undefined;
  private unacknowledged: Map<string, Sent> | undefined;
  private lastDeliveryId = 0;
  /** Acknowledged parcels whose deletion is under way. */
  private deletions = 0;
  private isListing = true;
  /** More waits in the mailboxes than the queue holds: list again when it is empty. */
  private isTruncated = false;
  private isReading = false;
  private isClosed = false;

  constructor(
    mailboxes: Mailboxes,
    clock: Clock,
    peers: readonly string[],
    options: CollectionOptions,
    outlet: CollectionOutlet,
  ) {
    this.mailboxes = mailboxes;
    this.clock = clock;
    this.peers = peers;
    this.options = options;
    this.outlet = outlet;
  }

  /** Subscribes, then lists. The order is what keeps the promise that nothing is missed. */
  async start(): Promise<void> {
    try {
      for (const peer of this.peers) {
        const onGap = () => this.run(this.list());
        const subscription = await this.mailboxes.subscribe(peer, (arrival) => this.arrive(peer, arrival), onGap);
        this.subscriptions.push(subscription);
      }
      await this.list();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Takes the acknowledgement of a delivery and deletes its parcel.
   *
   * @returns what traces the parcel, or undefined if no such delivery awaits acknowledgement
   */
  acknowledge(deliveryId: string): TraceIds | undefined {
    const sent = this.unacknowledged?.get(deliveryId);
    if (!sent) {
      return undefined;
    }
    this.unacknowledged?.delete(deliveryId);
    this.run(this.remove(sent));
    this.pump();
    return sent.ids;
  }

  /** Ends the collection; what was not acknowledged stays in its mailbox. Idempotent. */
  close(): void {
    this.isClosed = true;
    for (const subscription of this.subscriptions) {
      subscription.close();
    }
    this.subscriptions = [];
    this.queue = [];
  }

  private async remove(sent: Sent): Promise<void> {
    this.deletions++;
    await this.mailboxes.remove(sent.key, sent.version);
    this.deletions--;
    const known = this.known?.get(sent.key);
    if (known?.version === sent.version) {
      known.done = true;
    }
    this.pump();
  }

  /** Reads the mailboxes and queues the oldest of what is not known yet. */
  private async list(): Promise<void> {
    this.isListing = true;
    this.isTruncated = false;
    let found: Pending[] = [];
    for (const peer of this.peers) {
      for await (const entry of this.mailboxes.list(peer)) {
        if (this.isClosed) {
          return;
        }
        if (this.isKnown(entry)) {
          continue;
        }
        found.push(pending(peer, entry, undefined));
        if (found.length >= 2 * QUEUE_CAPACITY) {
          found = this.oldest(found);
        }
      }
    }
    // Signals have filled the queue meanwhile, possibly with some of the same.
    const fresh = found.filter((parcel) => !this.isKnown(parcel));
    this.queue = this.oldest([...this.queue, ...fresh]);
    for (const parcel of this.queue) {
      this.remember(parcel);
    }
    this.isListing = false;
    this.pump();
  }

  /** The oldest that the queue has room for. */
  private oldest(parcels: Pending[]): Pending[] {
    parcels.sort((one, other) => one.arrival - other.arrival);
    if (parcels.length > QUEUE_CAPACITY) {
      this.isTruncated = true;
      for (const { key } of parcels.splice(QUEUE_CAPACITY)) {
        this.known?.delete(key);
      }
    }
    return parcels;
  }

  private arrive(peer: string, { entry, body }: ParcelArrival): void {
    if (this.isClosed || this.isKnown(entry)) {
      return;
    }
    if (this.isTruncated && !this.isListing) {
      // Older ones wait that the queue had no room for; the next listing finds this one among them.
      return;
    }
    if (this.queue.length >= QUEUE_CAPACITY) {
      this.isTruncated = true;
      return;
    }
    const parcel = pending(peer, entry, this.queue.length < BODIES_IN_QUEUE ? body : undefined);
    this.queue.push(parcel);
    this.remember(parcel);
    this.pump();
  }

  /** Sends what the window has room for; ends the collection when there is nothing more and it is to end then. */
  private pump(): void {
    if (this.isClosed || this.isListing || this.isReading) {
      return;
    }
    const inFlight = this.unacknowledged?.size ?? 0;
    if (this.queue.length > 0) {
      if (inFlight < this.options.window) {
        this.run(this.sendNext());
      }
      return;
    }
    if (this.isTruncated) {
      // What is being deleted would be listed again.
      if (inFlight === 0 && this.deletions === 0) {
        this.run(this.list());
      }
      return;
    }
    if (this.options.untilEmpty && inFlight === 0 && this.deletions === 0) {
      this.close();
      this.outlet.complete();
    }
  }

  private async sendNext(): Promise<void> {
    const next = this.queue.shift() as Pending;
    if (next.body && next.ids && this.clock.now() < next.expiry) {
      this.send(next, next.version, next.body, next.ids);
      this.pump();
      return;
    }
    this.isReading = true;
    const stored = await this.mailboxes.read(next.key);
    this.isReading = false;
    if (this.isClosed) {
      return;
    }
    // What is gone was collected elsewhere or expired. A version newer than ours goes now, unless it has its own place.
    if (stored && (stored.version === next.version || !this.isKnown(stored))) {
      this.remember(stored);
      this.send(next, stored.version, stored.body, { ...storedParcelIds(stored), peer: next.peer });
    }
    this.pump();
  }

  private send({ key }: Pending, version: string, body: Buffer, ids: TraceIds): void {
    const deliveryId = String(++this.lastDeliveryId);
    this.unacknowledged ??= new Map();
    this.unacknowledged.set(deliveryId, { key, version, ids });
    this.outlet.deliver(deliveryId, body, ids);
  }

  private isKnown({ key, version }: { key: string; version: string }): boolean {
    return this.known?.get(key)?.version === version;
  }

  private remember({ key, version }: { key: string; version: string }): void {
    if (this.isKnown({ key, version })) {
      return;
    }
    this.known ??= new Map();
    this.known.delete(key);
    this.known.set(key, { version, done: false });
    if (this.known.size > SENT_MEMORY) {
      for (const [oldKey, old] of this.known) {
        if (old.done) {
          this.known.delete(oldKey);
          break;
        }
      }
    }
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

function pending(peer: string, entry: ObjectEntry, body: Buffer | undefined): Pending {
  const { key, version, arrival, expiry } = entry;
  // Ids are kept only where they will not be read again with the body: a long queue should weigh little.
  const ids = body && { ...storedParcelIds(entry), peer };
  return { key, version, peer, arrival, expiry, ids, body };
}
