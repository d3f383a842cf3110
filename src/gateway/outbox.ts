/**
 * The outbox of a private gateway: its parcels that wait for delivery to the Internet, and those that are held until
 * their recipient's mailbox takes them, under one quota.
 */
import { GatewayError } from './errors.ts';
import type { InternetQueue } from './internet-queue.ts';
import type { ParcelAtRest } from './parcel-at-rest.ts';
import type { Amount, Clock, Meters, ObjectEntry, ObjectStore, StoredObject } from './ports.ts';
import { Quota } from './quota.ts';
import { MINUTE } from './time.ts';

/** Parcels that are held for mailboxes: by mailbox first, since they move when that one has room. */
export const HELD_PREFIX = 'held/';

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
  /** Where the last look for what has no work item ended. */
  private unseen: AsyncIterator<ObjectEntry> | undefined;
  /** Entries of parcels that were put lately, by key. */
  private readonly known = new Map<string, ObjectEntry>();
  /** Whether what was put last before the start has its work items. */
  private isNewestQueued = false;

  constructor(parts: { objects: ObjectStore; queue: InternetQueue; meters: Meters; clock: Clock; quota: Amount }) {
    this.objects = parts.objects;
    this.queue = parts.queue;
    this.quota = new Quota({
      meters: parts.meters,
      clock: parts.clock,
      name: 'outbox',
      limit: parts.quota,
      entriesOf: (peer) => this.list(peer),
    });
  }

  /**
   * Stores a parcel from private gateway `peer` for the node at the recipient's Internet address, and queues it;
   * durable when it resolves.
   *
   * @throws GatewayError OUTBOX_FULL; StoreError
   */
  async put(peer: string, { digest, bytes, expiry, metadata }: ParcelAtRest, destination: string): Promise<void> {
    const entry = await this.store(peer, outboxKey(peer, digest), bytes, {
      expiry,
      metadata: { ...metadata, destination },
    });
    if (this.objects.getAll) {
      this.remember(entry);
    }
    await this.queue.add(entry);
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
   * Stores an object under this private gateway's quota.
   *
   * @throws GatewayError OUTBOX_FULL; StoreError
   */
  async store(peer: string, key: string, ...[bytes, options]: PutArguments): Promise<ObjectEntry> {
    if (!(await this.quota.reserve(peer, bytes.length))) {
      throw new GatewayError('OUTBOX_FULL', `Outbox of ${peer} is full`);
    }
    try {
      return await this.objects.put(key, bytes, options);
    } catch (error) {
      await this.quota.release(peer, bytes.length);
      throw error;
    }
  }

  /** Removes this version of what is stored under this private gateway's quota. */
  async remove(peer: string, { key, version, size }: Pick<ObjectEntry, 'key' | 'version' | 'size'>): Promise<void> {
    this.known.delete(key);
    if (await this.objects.delete(key, version)) {
      await this.quota.release(peer, size);
    }
  }

  private remember(entry: ObjectEntry): void {
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

  private async *list(peer: string): AsyncIterable<ObjectEntry> {
    yield* this.objects.list(outboxPrefix(peer));
    for await (const entry of this.objects.list(HELD_PREFIX)) {
      if (readHeldKey(entry.key).sender === peer) {
        yield entry;
      }
    }
  }
}

type PutArguments = Parameters<ObjectStore['put']> extends [string, ...infer Rest] ? Rest : never;

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

/** Where a parcel is kept that private gateway `sender` has sent and `mailbox` cannot take yet. */
export function heldKey(mailbox: string, sender: string, digest: string): string {
  return `${HELD_PREFIX}${mailbox}/${sender}/${digest}`;
}

/** The reverse of `heldKey`. */
export function readHeldKey(key: string): { mailbox: string; sender: string; digest: string } {
  const [, mailbox = '', sender = '', digest = ''] = key.split('/');
  return { mailbox, sender, digest };
}
