/**
 * The outbox: parcels from private gateways that wait for delivery to the Internet.
 */
import type { Parcel } from '../awala/ramf/parcel.ts';
import type { TraceIds } from './errors.ts';
import { parcelDigest, parcelMetadata } from './mailbox.ts';
import type { ObjectStore } from './ports.ts';

export class Outbox {
  private readonly objects: ObjectStore;

  constructor(parts: { objects: ObjectStore }) {
    this.objects = parts.objects;
  }

  /**
   * Stores a parcel from private gateway `peer` for the node at the recipient's Internet address; durable when it
   * resolves.
   */
  async put(peer: string, parcel: Parcel, destination: string, ids: TraceIds): Promise<void> {
    await this.objects.put(`outbox/${peer}/${parcelDigest(parcel)}`, parcel.raw, {
      expiry: parcel.expiry,
      metadata: { ...parcelMetadata(parcel, ids), destination },
    });
  }
}
