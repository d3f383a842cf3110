/**
 * What one collection has sent: which deliveries await acknowledgement, and which version of each parcel went last, so
 * that a signal or a listing that comes late does not send it again.
 */
import type { TraceIds } from './errors.ts';
import { MINUTE } from './time.ts';

/** How many acknowledged parcels are remembered. */
const MEMORY = 1024;

/** For how long an acknowledged parcel is remembered: far longer than a signal is ever late. */
const MEMORY_TIME = MINUTE;

/** A version of a parcel that was sent. */
export interface SentParcel {
  /** Node id of the private gateway whose mailbox it is in. */
  readonly peer: string;
  readonly key: string;
  readonly version: string;
  /** Octets. */
  readonly size: number;
  readonly ids: TraceIds;
  /** When it was sent, in milliseconds since the epoch. */
  readonly sent: number;
  /** When it was acknowledged and deleted, in milliseconds since the epoch. */
  settled: number | undefined;
}

export class SentParcels {
  /** The version sent last of each parcel, by key, in the order of sending. */
  private readonly byKey = new Map<string, SentParcel>();
  private readonly unacknowledged = new Map<string, SentParcel>();
  private octets = 0;

  /** How many deliveries await acknowledgement. */
  get inFlight(): number {
    return this.unacknowledged.size;
  }

  /** Octets of the parcels that await acknowledgement. */
  get octetsInFlight(): number {
    return this.octets;
  }

  /** True when nothing is remembered. */
  get isEmpty(): boolean {
    return this.byKey.size === 0 && this.unacknowledged.size === 0;
  }

  /** Whether this version of a parcel was sent last; without a version, whether any was. */
  includes(key: string, version?: string): boolean {
    const sent = this.byKey.get(key);
    return sent !== undefined && (version === undefined || sent.version === version);
  }

  add(deliveryId: string, sent: SentParcel): void {
    this.unacknowledged.set(deliveryId, sent);
    this.octets += sent.size;
    this.byKey.delete(sent.key);
    this.byKey.set(sent.key, sent);
    if (this.byKey.size > MEMORY) {
      this.forgetOne();
    }
  }

  /** Takes what awaits acknowledgement under this delivery id; it stays remembered. */
  take(deliveryId: string): SentParcel | undefined {
    const sent = this.unacknowledged.get(deliveryId);
    if (sent) {
      this.unacknowledged.delete(deliveryId);
      this.octets -= sent.size;
    }
    return sent;
  }

  /** Forgets what was settled long before `now`. */
  forget(now: number): void {
    for (const [key, { settled }] of this.byKey) {
      if (settled !== undefined && now - settled >= MEMORY_TIME) {
        this.byKey.delete(key);
      }
    }
  }

  private forgetOne(): void {
    for (const [key, { settled }] of this.byKey) {
      if (settled !== undefined) {
        this.byKey.delete(key);
        return;
      }
    }
  }
}
