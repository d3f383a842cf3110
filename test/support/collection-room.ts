/** Collections without a door, on real embedded stores that a test can hold and let go. */
import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import type { CollectionOptions, CollectionOutlet, ParcelCollection } from '../../src/gateway/parcel-collection.ts';
import { ParcelCollections } from '../../src/gateway/parcel-collections.ts';
import { ParcelStorage } from '../../src/gateway/parcel-storage.ts';
import { DAY } from '../../src/gateway/time.ts';
import { type GatewayRoom, openGatewayRoom } from './gateway-room.ts';
import { Barriers, HeldSignals, heldObjects } from './held-stores.ts';

/** What was sent over a collection and is not taken by the test yet. */
export interface Delivered {
  readonly deliveryId: string;
  readonly parcel: Buffer;
}

/** The far end of a collection. */
export class Outlet implements CollectionOutlet {
  readonly delivered: Delivered[] = [];
  isComplete = false;
  failure: Error | undefined;
  private wake: (() => void) | undefined;

  async deliver(deliveryId: string, parcel: Buffer): Promise<void> {
    this.delivered.push({ deliveryId, parcel });
    this.wake?.();
  }

  supersede(): void {
    this.fail(new Error('Superseded'));
  }

  complete(): void {
    this.isComplete = true;
    this.wake?.();
  }

  fail(error: Error): void {
    this.failure = error;
    this.wake?.();
  }

  /** Takes the next delivery. @throws what the collection failed with */
  async next(): Promise<Delivered> {
    await this.until(() => this.delivered.length > 0);
    return this.delivered.shift() as Delivered;
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.failure) {
        throw this.failure;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.wake = resolve;
      await promise;
    }
  }
}

export interface CollectionRoom extends AsyncDisposable {
  readonly room: GatewayRoom;
  readonly barriers: Barriers;
  readonly signals: HeldSignals;
  readonly collections: ParcelCollections;
  /** Node id of the private gateway whose mailbox `put` fills. */
  readonly peer: string;
  /** Puts a parcel with octets of its own into the mailbox; gives its octets. */
  put(messageId?: string): Promise<Buffer>;
  collect(options?: Partial<CollectionOptions>, peers?: string[]): { collection: ParcelCollection; outlet: Outlet };
  countWaiting(): Promise<number>;
  /** Resolves when no parcel waits any more. */
  emptied(): Promise<void>;
}

const PEER = `0${'a'.repeat(64)}`;

export async function openCollectionRoom(): Promise<CollectionRoom> {
  const room = await openGatewayRoom();
  const { backends, identity, clock } = room;
  const barriers = new Barriers();
  const signals = new HeldSignals(backends.signals, barriers);
  const storage = new ParcelStorage({
    objects: heldObjects(backends.objects, barriers),
    signals,
    records: backends.records,
    work: backends.work,
    meters: backends.meters,
    clock,
  });
  // A test opens as many of the one private gateway as it likes.
  const certificates = new CertificateCache();
  const collections = new ParcelCollections({ identity, storage, certificates, clock, openPerPeer: 0 });
  let puts = 0;
  const countWaiting = async () => (await Array.fromAsync(backends.objects.list(`mailboxes/${PEER}/`))).length;
  // The mailbox is known to be empty, or the first put would count it, and wait for a listing that the test holds.
  await backends.meters.recount(`mailbox/${PEER}`, { count: 0, octets: 0 });
  return {
    room,
    barriers,
    signals,
    collections,
    peer: PEER,
    async put(messageId = randomUUID()) {
      // Nothing beyond this point reads a parcel, so these may be any octets, each parcel's its own.
      const bytes = Buffer.from(`parcel ${++puts}: ${messageId}`);
      const metadata = { trace: 'test', parcel: messageId };
      await storage.mailboxes.put(PEER, { digest: messageId, bytes, expiry: clock.now() + DAY, metadata });
      return bytes;
    },
    collect(options = {}, peers = [PEER]) {
      const outlet = new Outlet();
      const collection = collections.open(peers, { untilEmpty: false, window: 1, ...options }, outlet);
      return { collection, outlet };
    },
    countWaiting,
    async emptied() {
      while ((await countWaiting()) > 0) {
        // Reads alone would not let the event loop turn, and what deletes would never come to it.
        await setImmediate();
      }
    },
    [Symbol.asyncDispose]: () => room[Symbol.asyncDispose](),
  };
}
