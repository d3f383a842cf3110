/**
 * Mailboxes: where parcels wait for private gateways, one each, within a quota.
 *
 * A parcel with the same recipient, sender and message id replaces the one that waits (RS-001).
 */
import { shareMemory } from './give-back.ts';
import type { ParcelAtRest } from './parcel-at-rest.ts';
import { readParcelSignal, writeParcelSignal } from './parcel-signal.ts';
import type { Amount, Clock, Meters, ObjectEntry, ObjectStore, Signals, StoredObject, Subscription } from './ports.ts';
import { Quota } from './quota.ts';

/** Tells collectors of a parcel that came; with its bytes where it is small. */
export interface ParcelArrival {
  readonly entry: ObjectEntry;
  readonly body: Buffer | undefined;
}

export class Mailboxes {
  private readonly objects: ObjectStore;
  private readonly signals: Signals;
  private readonly quota: Quota;
  private onRoom: (peer: string) => void = () => undefined;

  constructor(parts: { objects: ObjectStore; signals: Signals; meters: Meters; clock: Clock; quota: Amount }) {
    this.objects = parts.objects;
    this.signals = parts.signals;
    this.quota = new Quota({
      meters: parts.meters,
      clock: parts.clock,
      name: 'mailbox',
      limit: parts.quota,
      entriesOf: (peer) => this.list(peer),
    });
  }

  /**
   * Puts a parcel into the mailbox of private gateway `peer` and tells its collectors; durable when it resolves.
   *
   * @param stays asked of the version that is there: where it is to stay, nothing is done. Without it, none is.
   * @returns false when the mailbox has no room
   * @throws StoreError
   */
  async put(
    peer: string,
    { digest, bytes, expiry, metadata }: ParcelAtRest,
    stays?: (there: ObjectEntry) => boolean,
  ): Promise<boolean> {
    if (!(await this.quota.reserve(peer, bytes.length))) {
      return false;
    }
    const key = `${mailboxPrefix(peer)}${digest}`;
    const entry = await this.quota.putReserved(peer, bytes.length, () =>
      stays
        ? this.objects.putUnless(key, bytes, { expiry, metadata }, stays)
        : this.objects.put(key, bytes, { expiry, metadata }),
    );
    if (!entry) {
      return true;
    }
    const collectors = channel(peer);
    if (this.signals.isHeard?.(collectors) ?? true) {
      this.signals.publish(collectors, writeParcelSignal(entry, bytes));
    }
    return true;
  }

  /** All parcels that wait for `peer`, in no particular order. */
  list(peer: string): AsyncIterable<ObjectEntry> {
    return this.objects.list(mailboxPrefix(peer));
  }

  /** As `list`, as many together as the store has at once. */
  async *listPages(peer: string): AsyncIterable<readonly ObjectEntry[]> {
    if (this.objects.listPages) {
      yield* this.objects.listPages(mailboxPrefix(peer));
      return;
    }
    for await (const entry of this.list(peer)) {
      yield [entry];
    }
  }

  /** The newest version of a parcel by its digest, without its bytes; undefined when it is not there. */
  find(peer: string, digest: string): Promise<ObjectEntry | undefined> {
    return this.objects.find(`${mailboxPrefix(peer)}${digest}`);
  }

  /** The newest version under the key of an entry, or undefined when it is gone. */
  read(key: string): Promise<StoredObject | undefined> {
    return this.objects.get(key);
  }

  /** As `read`, with each entry of a list, in its order; bodies may share memory with each other. @throws StoreError */
  async readAll(listed: readonly ObjectEntry[]): Promise<(StoredObject | undefined)[]> {
    if (!this.objects.getAll) {
      return Promise.all(listed.map((entry) => this.objects.get(entry.key, entry)));
    }
    const all = await this.objects.getAll(listed);
    shareMemory(all.flatMap((stored) => stored?.body ?? []));
    return all;
  }

  /** Removes this version of a parcel: its next hop has it. @throws StoreError */
  async remove(peer: string, { key, version, size }: Pick<ObjectEntry, 'key' | 'version' | 'size'>): Promise<void> {
    if (await this.objects.delete(key, version)) {
      await this.quota.release(peer, size);
      this.onRoom(peer);
    }
  }

  /** Has `listener` told of each mailbox that has got room; one listener, which must not throw. */
  whenRoom(listener: (peer: string) => void): void {
    this.onRoom = listener;
  }

  /** Resolves when every parcel that `peer` gets from then on is told to `listener`. */
  subscribe(peer: string, listener: (arrival: ParcelArrival) => void, onGap: () => void): Promise<Subscription> {
    return this.signals.subscribe(channel(peer), (payload) => listener(readParcelSignal(payload)), onGap);
  }
}

function mailboxPrefix(peer: string): string {
  return `mailboxes/${peer}/`;
}

function channel(peer: string): string {
  return `mailbox/${peer}`;
}
