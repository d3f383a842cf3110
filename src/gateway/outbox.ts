/**
 * The outbox of a private gateway: its parcels that wait for delivery to the Internet, and those that are held until
 * their recipient's mailbox takes them, under one quota.
 */
import { GatewayError } from './errors.ts';
import { HeldCensus } from './held-census.ts';
import { heldKey } from './held-key.ts';
import type { InternetQueue } from './internet-queue.ts';
import type { ParcelAtRest } from './parcel-at-rest.ts';
import type { Amount, Clock, Meters, ObjectEntry, ObjectStore, PutOptions, StoredObject } from './ports.ts';
import { Quota } from './quota.ts';
import { MINUTE } from './time.ts';

const OUTBOX_PREFIX = 'outbox/';

/** Entries that are compared with the queue at once. */
const PAGE = 256;

/** Parcels whose entries are kept in memory, so that finding them takes no look into an index: most are sent at once. */
const MOST_KNOWN = 10_000;

/** What was put within so many milliseconds before the end of the last process may have lost its work item with that. */
const DOUBTFUL_TIME = MINUTE;

export class Outbox {
  private readonly objects: ObjectStore;
  private readonly queue: InternetQueue;
  private readonly quota: Quota;
  private readonly held: HeldCensus;
  /** Where the last look for what has no work item ended. */
  private unseen: AsyncIterator<ObjectEntry> | undefined;
  /** Entries of parcels that were put lately, by key. */
  private readonly known = new Map<string, ObjectEntry>();
  /** Whether what was put last before the start has its work items. */
  private isNewestQueued = false;

  constructor(parts: { objects: ObjectStore; queue: InternetQueue; meters: Meters; clock: Clock; quota: Amount }) {
    this.objects = parts.objects;
    this.queue = parts.queue;
    this.held = new HeldCensus(parts);
    this.quota = new Quota({
      meters: parts.meters,
      clock: parts.clock,
      name: 'outbox',
      limit: parts.quota,
      entriesOf: (peer) => this.objects.list(outboxPrefix(peer)),
      besides: (peer) => this.held.amountOf(peer),
    });
  }

  /**
   * Stores a parcel from private gateway `peer` for the node at the recipient's Internet address, and queues it;
   * durable when it resolves.
   *
   * @param stays asked of the version that is there: where it is to stay, nothing is done. Without it, none is.
   * @throws GatewayError OUTBOX_FULL; StoreError
   */
  async put(
    peer: string,
    { digest, bytes, expiry, metadata }: ParcelAtRest,
    destination: string,
    stays?: (there: ObjectEntry) => boolean,
  ): Promise<void> {
    const options = { expiry, metadata: { ...metadata, destination } };
    const entry = await this.store(peer, outboxKey(peer, digest), { bytes, options, stays });
    if (entry) {
      this.remember(entry);
      await this.queue.add(entry);
    }
  }

  /** The newest version of a stored parcel, or undefined when it is gone. @throws StoreError */
  read(key: string): Promise<StoredObject | undefined> {
    return this.objects.get(key);
  }

  /** As `read` with each, in their order; bodies may share memory with each other. @throws StoreError */
  async readAll(keys: readonly string[]): Promise<(StoredObject | undefined)[]> {
    const { objects } = this;
    const entries = keys.flatMap((key) => this.known.get(key) ?? []);
    if (entries.length === keys.length && objects.getAll) {
      return objects.getAll(entries);
    }
    return Promise.all(keys.map((key) => objects.get(key)));
  }

  /** What is told of a stored parcel without reading it, or undefined when it is gone. @throws StoreError */
  find(key: string): Promise<ObjectEntry | undefined> {
    return this.objects.find(key);
  }

  /**
   * Queues again what has no work item; looks at `most` parcels, from where the last look ended. For housekeeping.
   *
   * @throws StoreError
   */
  async requeue(most: number): Promise<void> {
    this.unseen ??= this.objects.list(OUTBOX_PREFIX)[Symbol.asyncIterator]();
    let page: ObjectEntry[] = [];
    for (let seen = 0; seen < most && this.unseen; seen++) {
      const { done, value } = await this.nextUnseen(this.unseen);
      if (done) {
        this.unseen = undefined;
      } else {
        page.push(value);
      }
      if (done || page.length === PAGE) {
        await this.queue.addMissing(page);
        page = [];
      }
    }
    await this.queue.addMissing(page);
  }

  /**
   * Queues again what the last process had put last, and whose work may have ended with it. To be called at the start, and
   * again until it does not throw; does nothing after that.
   *
   * @throws StoreError
   */
  async requeueNewest(): Promise<void> {
    if (this.isNewestQueued || !this.objects.listNewest) {
      return;
    }
    let page: ObjectEntry[] = [];
    for await (const entry of this.objects.listNewest(OUTBOX_PREFIX, DOUBTFUL_TIME)) {
      page.push(entry);
      if (page.length === PAGE) {
        await this.queue.addMissing(page);
        page = [];
      }
    }
    await this.queue.addMissing(page);
    this.isNewestQueued = true;
  }

  /**
   * Stores a parcel from private gateway `peer` that `mailbox` cannot take yet; durable when it resolves.
   *
   * @param stays asked of the version that is held: where it is to stay, nothing is done. Without it, none is.
   * @throws GatewayError OUTBOX_FULL; StoreError
   */
  async hold(
    peer: string,
    mailbox: string,
    { digest, bytes, expiry, metadata }: ParcelAtRest,
    stays?: (there: ObjectEntry) => boolean,
  ): Promise<void> {
    const options = { expiry, metadata };
    if (await this.store(peer, heldKey(mailbox, peer, digest), { bytes, options, stays })) {
      this.held.change(peer, 1, bytes.length);
    }
  }

  /** Removes this version of a parcel that is held. @throws StoreError */
  async letGo(peer: string, entry: Pick<ObjectEntry, 'key' | 'version' | 'size'>): Promise<void> {
    if (await this.remove(peer, entry)) {
      this.held.change(peer, -1, entry.size);
    }
  }

  /**
   * Removes this version of what is stored under this private gateway's quota.
   *
   * @returns whether it was there
   * @throws StoreError
   */
  async remove(peer: string, { key, version, size }: Pick<ObjectEntry, 'key' | 'version' | 'size'>): Promise<boolean> {
    this.known.delete(key);
    const wasThere = await this.objects.delete(key, version);
    if (wasThere) {
      await this.quota.release(peer, size);
    }
    return wasThere;
  }

  /** Stores an object under this private gateway's quota. @returns undefined where what is there stays */
  private async store(peer: string, key: string, { bytes, options, stays }: Stored): Promise<ObjectEntry | undefined> {
    if (!(await this.quota.reserve(peer, bytes.length))) {
      throw new GatewayError('OUTBOX_FULL', `Outbox of ${peer} is full`);
    }
    return this.quota.putReserved(peer, bytes.length, () =>
      stays ? this.objects.putUnless(key, bytes, options, stays) : this.objects.put(key, bytes, options),
    );
  }

  /** Only where entries are of use. */
  private remember(entry: ObjectEntry): void {
    if (!this.objects.getAll) {
      return;
    }
    this.known.delete(entry.key);
    this.known.set(entry.key, entry);
    if (this.known.size > MOST_KNOWN) {
      this.known.delete(this.known.keys().next().value as string);
    }
  }

  /** A list that failed is begun anew in the next round. */
  private async nextUnseen(entries: AsyncIterator<ObjectEntry>): Promise<IteratorResult<ObjectEntry>> {
    try {
      return await entries.next();
    } catch (error) {
      this.unseen = undefined;
      throw error;
    }
  }
}

/** What is to be stored. */
interface Stored {
  readonly bytes: Buffer;
  readonly options: PutOptions;
  /** Asked of the version that is there, which is replaced without it. */
  readonly stays?: ((there: ObjectEntry) => boolean) | undefined;
}

function outboxPrefix(peer: string): string {
  return `${OUTBOX_PREFIX}${peer}/`;
}

/** Where a parcel from private gateway `peer` for the Internet is kept. */
export function outboxKey(peer: string, digest: string): string {
  return `${outboxPrefix(peer)}${digest}`;
}

/** Whose outbox a parcel is in, and the parcel's digest. */
export function readOutboxKey(key: string): { peer: string; digest: string } {
  // Each parcel asks, so that this is not a list of its parts.
  const end = key.indexOf('/', OUTBOX_PREFIX.length);
  return { peer: key.slice(OUTBOX_PREFIX.length, end), digest: key.slice(end + 1) };
}
