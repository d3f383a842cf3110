/**
 * The outbox of a private gateway: its parcels that wait for delivery to the Internet, and those that are held until
 * their recipient's mailbox takes them, under one quota.
 */
import { GatewayError } from './errors.ts';
import type { ParcelAtRest } from './parcel-at-rest.ts';
import type { Amount, Clock, Meters, ObjectEntry, ObjectStore } from './ports.ts';
import { Quota } from './quota.ts';

/** Parcels that are held for mailboxes: by mailbox first, since they move when that one has room. */
export const HELD_PREFIX = 'held/';

export class Outbox {
  private readonly objects: ObjectStore;
  private readonly quota: Quota;

  constructor(parts: { objects: ObjectStore; meters: Meters; clock: Clock; quota: Amount }) {
    this.objects = parts.objects;
    this.quota = new Quota({
      meters: parts.meters,
      clock: parts.clock,
      name: 'outbox',
      limit: parts.quota,
      entriesOf: (peer) => this.list(peer),
    });
  }

  /**
   * Stores a parcel from private gateway `peer` for the node at the recipient's Internet address; durable when it
   * resolves.
   *
   * @throws GatewayError OUTBOX_FULL; StoreError
   */
  async put(peer: string, { digest, bytes, expiry, metadata }: ParcelAtRest, destination: string): Promise<void> {
    await this.store(peer, `${outboxPrefix(peer)}${digest}`, bytes, {
      expiry,
      metadata: { ...metadata, destination },
    });
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
    if (await this.objects.delete(key, version)) {
      await this.quota.release(peer, size);
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
  return `outbox/${peer}/`;
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
