/**
 * The parcels that wait for one collection: oldest first, bounded, one place for each parcel however often it is
 * replaced.
 */
import type { TraceIds } from './errors.ts';
import type { QueueRoom, RoomUser } from './queue-room.ts';

/** How many waiting parcels a collection keeps in mind; when these are sent, it lists again. */
export const QUEUE_CAPACITY = 512;

/** How many of them are kept with their bytes, where these came inside a signal; others are read in their turn. */
const BODY_CAPACITY = 16;

/** How many are kept in any case: with none the collection could not go on. */
const LEAST_KEPT = 4;

/** What one takes in memory but for its bytes, in octets; measured. */
const PARCEL_OCTETS = 512;

export interface QueuedParcel {
  readonly key: string;
  /** Undefined when several versions were heard of: only the store knows which one counts. */
  readonly version: string | undefined;
  /** Node id of the private gateway whose mailbox it is in. */
  readonly peer: string;
  readonly arrival: number;
  readonly expiry: number;
  /** Octets. */
  readonly size: number;
  /** The parcel, if it came inside a signal. */
  readonly body: Buffer | undefined;
  /** Known together with the body. */
  readonly ids: TraceIds | undefined;
}

export class ParcelQueue implements RoomUser {
  private readonly room: QueueRoom;
  /** By arrival, oldest first. */
  private readonly parcels: QueuedParcel[] = [];
  private readonly byKey = new Map<string, QueuedParcel>();
  private bodies = 0;
  private leftOut = false;

  /** @param room what all queues of the process share */
  constructor(room: QueueRoom) {
    this.room = room;
  }

  get size(): number {
    return this.parcels.length;
  }

  /** True when there was no room for all: newer parcels than those in the queue wait in the mailbox. */
  get isTruncated(): boolean {
    return this.leftOut;
  }

  /** Forgets that parcels were left out: what is added from now on includes all that wait. */
  expectAll(): void {
    this.leftOut = false;
  }

  /**
   * Puts a parcel in its place. Of more than there is room for, the newest are left out; once some are, so is every
   * newer one, lest it overtake them.
   */
  add(parcel: QueuedParcel): void {
    const waiting = this.byKey.get(parcel.key);
    if (!waiting) {
      this.insert(parcel);
    } else if (waiting.version !== parcel.version) {
      // Which of the two replaced the other cannot be told: signals of several processes and a listing may cross.
      this.remove(this.parcels.indexOf(waiting));
      const arrival = Math.max(waiting.arrival, parcel.arrival);
      this.insert({ ...parcel, version: undefined, arrival, body: undefined, ids: undefined });
    }
  }

  /** Takes the oldest. */
  shift(): QueuedParcel | undefined {
    if (this.parcels.length === 0) {
      return undefined;
    }
    this.room.touch(this);
    return this.remove(0);
  }

  /** Leaves out all but the oldest few, and their bytes: others need the memory. */
  shrink(): void {
    while (this.parcels.length > LEAST_KEPT) {
      this.leftOut = true;
      this.remove(this.parcels.length - 1);
    }
    for (const parcel of this.parcels.filter(({ body }) => body)) {
      this.replace(parcel, withoutBody(parcel));
    }
  }

  /** Forgets all: the collection is over. */
  clear(): void {
    while (this.parcels.length > 0) {
      this.remove(this.parcels.length - 1);
    }
  }

  private insert(parcel: QueuedParcel): void {
    const isFull = this.parcels.length >= QUEUE_CAPACITY;
    this.leftOut ||= isFull;
    if (this.leftOut) {
      // All that were left out are newer than the newest here.
      const newest = this.parcels.at(-1);
      if (!newest || parcel.arrival >= newest.arrival) {
        return;
      }
      if (isFull) {
        this.remove(this.parcels.length - 1);
      }
    }
    const hasRoomForBody = parcel.body === undefined || this.bodies < BODY_CAPACITY;
    const placed = hasRoomForBody ? parcel : withoutBody(parcel);
    if (placed.body) {
      this.bodies++;
    }
    this.parcels.splice(this.placeOf(placed.arrival), 0, placed);
    this.byKey.set(placed.key, placed);
    this.room.take(this, octetsOf(placed));
  }

  private remove(index: number): QueuedParcel {
    const [parcel] = this.parcels.splice(index, 1) as [QueuedParcel];
    this.byKey.delete(parcel.key);
    if (parcel.body) {
      this.bodies--;
    }
    this.room.give(octetsOf(parcel));
    if (this.parcels.length === 0) {
      this.room.leave(this);
    }
    return parcel;
  }

  /** Puts a smaller one in the place of another. */
  private replace(parcel: QueuedParcel, smaller: QueuedParcel): void {
    this.parcels[this.parcels.indexOf(parcel)] = smaller;
    this.byKey.set(smaller.key, smaller);
    this.bodies--;
    this.room.give(octetsOf(parcel) - octetsOf(smaller));
  }

  /** Behind all that came before. */
  private placeOf(arrival: number): number {
    let low = 0;
    let high = this.parcels.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.parcels[middle] as QueuedParcel).arrival <= arrival) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}

function withoutBody(parcel: QueuedParcel): QueuedParcel {
  return { ...parcel, body: undefined, ids: undefined };
}

function octetsOf({ body }: QueuedParcel): number {
  return PARCEL_OCTETS + (body?.length ?? 0);
}
