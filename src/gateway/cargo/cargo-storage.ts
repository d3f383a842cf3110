/**
 * Cargo that waits to be opened, by the private gateway that sent it, within a quota; and the queue of those who open it.
 */
import type { Amount, Clock, Meters, ObjectEntry, ObjectStore, StoredObject, Work, WorkQueue } from '../ports.ts';
import { StoreError } from '../ports.ts';
import { Quota } from '../quota.ts';

/** What one private gateway may have waiting, unless configured otherwise. */
export const DEFAULT_CARGO_QUOTA: Amount = { count: 10_000, octets: 1024 * 1024 * 1024 };

export const CARGO_QUEUE = 'cargo';

const PREFIX = 'cargo/';

/** How many are queued again in one step. */
const BATCH = 256;

/** A cargo as it is stored. */
export interface CargoAtRest {
  /** Tells the cargo from every other of its sender: up to 64 characters of base64url. */
  readonly digest: string;
  readonly bytes: Buffer;
  /** Milliseconds since the epoch. */
  readonly expiry: number;
  /** The id of the call that brought it. */
  readonly trace: string;
}

export class CargoStorage {
  private readonly objects: ObjectStore;
  private readonly queue: WorkQueue;
  private readonly quota: Quota;

  constructor(parts: { objects: ObjectStore; queue: WorkQueue; meters: Meters; clock: Clock; quota?: Amount }) {
    this.objects = parts.objects;
    this.queue = parts.queue;
    this.quota = new Quota({
      meters: parts.meters,
      clock: parts.clock,
      name: 'cargo',
      limit: parts.quota ?? DEFAULT_CARGO_QUOTA,
      entriesOf: (peer) => this.objects.list(`${PREFIX}${peer}/`),
    });
  }

  /**
   * Stores cargo of private gateway `peer` and queues it; durable when it resolves. The same cargo again replaces it.
   *
   * @returns false when the peer is at its quota
   * @throws StoreError
   */
  async put(peer: string, { digest, bytes, expiry, trace }: CargoAtRest): Promise<boolean> {
    if (!(await this.quota.reserve(peer, bytes.length))) {
      return false;
    }
    let entry: ObjectEntry;
    try {
      entry = await this.objects.put(`${PREFIX}${peer}/${digest}`, bytes, { expiry, metadata: { trace } });
    } catch (error) {
      await this.quota.release(peer, bytes.length);
      throw error;
    }
    try {
      await this.queue.add(CARGO_QUEUE, workOf(entry));
    } catch (error) {
      if (!(error instanceof StoreError)) {
        throw error;
      }
      // It is safe, and will be queued again by housekeeping.
    }
    return true;
  }

  /** @returns undefined when it is gone. @throws StoreError */
  read(key: string): Promise<StoredObject | undefined> {
    return this.objects.get(key);
  }

  /** Removes this version: all in it was taken care of. @throws StoreError */
  async remove({ key, version, size }: Pick<ObjectEntry, 'key' | 'version' | 'size'>): Promise<void> {
    if (await this.objects.delete(key, version)) {
      await this.quota.release(cargoSender(key), size);
    }
  }

  /** Queues what waits and is not queued. To be called at the start, and by housekeeping. @throws StoreError */
  async requeue(): Promise<void> {
    let batch: Work[] = [];
    for await (const entry of this.objects.list(PREFIX)) {
      batch.push(workOf(entry));
      if (batch.length >= BATCH) {
        await this.queue.addMissing(CARGO_QUEUE, batch);
        batch = [];
      }
    }
    await this.queue.addMissing(CARGO_QUEUE, batch);
  }
}

/** Node id of the private gateway that signed the cargo under this key. */
export function cargoSender(key: string): string {
  return key.split('/', 2)[1] ?? '';
}

function workOf({ key, size, expiry }: ObjectEntry): Work {
  return { key, group: cargoSender(key), size, expiry };
}
