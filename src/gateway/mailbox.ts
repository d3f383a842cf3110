/**
 * Mailboxes: where parcels wait for private gateways, one each.
 *
 * A parcel with the same recipient, sender and message id replaces the one that waits (RS-001).
 */
import { createHash } from 'node:crypto';
import type { Parcel } from '../awala/ramf/parcel.ts';
import type { TraceIds } from './errors.ts';
import { readParcelSignal, writeParcelSignal } from './parcel-signal.ts';
import type { ObjectEntry, ObjectMetadata, ObjectStore, Signals, StoredObject, Subscription } from './ports.ts';

/** Tells collectors of a parcel that came; with its bytes where it is small. */
export interface ParcelArrival {
  readonly entry: ObjectEntry;
  readonly body: Buffer | undefined;
}

export class Mailboxes {
  private readonly objects: ObjectStore;
  private readonly signals: Signals;

  constructor(parts: { objects: ObjectStore; signals: Signals }) {
    this.objects = parts.objects;
    this.signals = parts.signals;
  }

  /** Puts a parcel into the mailbox of private gateway `peer` and tells its collectors; durable when it resolves. */
  async put(peer: string, parcel: Parcel, ids: TraceIds): Promise<void> {
    const entry = await this.objects.put(`${mailboxPrefix(peer)}${parcelDigest(parcel)}`, parcel.raw, {
      expiry: parcel.expiry,
      metadata: parcelMetadata(parcel, ids),
    });
    this.signals.publish(channel(peer), writeParcelSignal(entry, parcel.raw));
  }

  /** All parcels that wait for `peer`, in no particular order. */
  list(peer: string): AsyncIterable<ObjectEntry> {
    return this.objects.list(mailboxPrefix(peer));
  }

  /** The newest version under the key of an entry, or undefined when it is gone. */
  read(key: string): Promise<StoredObject | undefined> {
    return this.objects.get(key);
  }

  /** Removes this version of a parcel: its next hop has it. */
  remove(key: string, version: string): Promise<void> {
    return this.objects.delete(key, version);
  }

  /** Resolves when every parcel that `peer` gets from then on is told to `listener`. */
  subscribe(peer: string, listener: (arrival: ParcelArrival) => void, onGap: () => void): Promise<Subscription> {
    return this.signals.subscribe(channel(peer), (payload) => listener(readParcelSignal(payload)), onGap);
  }
}

/** What tells a parcel from every other: its recipient, its sender and its message id (RS-001). */
export function parcelDigest(parcel: Parcel): string {
  return createHash('sha256')
    .update(`${parcel.recipient.id}\0${parcel.sender.subjectId}\0${parcel.messageId}`)
    .digest('base64url');
}

/** The ids that travel with a stored parcel, for logs. */
export function parcelMetadata(parcel: Parcel, ids: TraceIds): ObjectMetadata {
  return {
    trace: ids.trace,
    parcel: parcel.messageId,
    sender: parcel.sender.subjectId,
    recipient: parcel.recipient.id,
  };
}

/** The reverse of `parcelMetadata`. */
export function storedParcelIds(entry: ObjectEntry): TraceIds {
  const { trace = '', parcel = '', sender = '', recipient = '' } = entry.metadata;
  return { trace, parcel, sender, recipient };
}

function mailboxPrefix(peer: string): string {
  return `mailboxes/${peer}/`;
}

function channel(peer: string): string {
  return `mailbox/${peer}`;
}
