/** Work and the queues of it. A port, as those in `ports.ts`. */

/** What kinds of work there are. */
export type QueueName =
  /** Parcels in outboxes, for Internet nodes; grouped by destination. */
  | 'internet-delivery'
  /** Cargo to be opened; grouped by private gateway. */
  | 'cargo';

/** Something to be done: the object that it is about. */
export interface Work {
  /** Of the object; a queue has one item a key at most. */
  readonly key: string;
  /** What shares its fate and is bounded together: a destination, a peer. Up to 1,024 printable ASCII characters. */
  readonly group: string;
  /** Octets of the object, so that workers can bound what they have in memory. */
  readonly size: number;
  /** After this instant (milliseconds) the item is never taken. */
  readonly expiry: number;
}

export interface WorkItem extends Work {
  /** How many times it was postponed. */
  readonly attempts: number;
  /** When it is to be taken, in milliseconds, unless its group rests for longer. */
  readonly due: number;
}

/** An item in a worker's hand. */
export interface TakenItem extends WorkItem {
  /** Proves that it is still in this worker's hand. Opaque. */
  readonly lease: string;
}

/** How things stand with the items of one group. */
export interface WorkGroup {
  readonly group: string;
  readonly count: number;
  /** When the next item is to be taken, in milliseconds; now or earlier for those that wait for a worker. */
  readonly due: number;
  /** Until when none of its items is taken; 0 where it does not rest. */
  readonly rest: number;
}

export interface TakeOptions {
  /** At most so many items. */
  readonly count: number;
  /** For so many milliseconds nobody else takes them. Work that may last for longer is renewed meanwhile. */
  readonly lease: number;
  /**
   * How many more items of this group the caller may have in hand, besides those that are about to be given to it; asked
   * afresh whenever something changed.
   */
  readonly room: (group: string, taken: readonly TakenItem[]) => number;
}

/**
 * Hands out work to competing workers. It carries keys, never bodies, and may lose everything: the object store is the
 * truth, and housekeeping queues again what has no item. What a queue in the memory of a process loses with it was added
 * within the last ten seconds, or could not be written: a start looks for that first.
 *
 * An item whose worker died is taken again once its lease has run out, so work must be fit to be repeated. Leases are
 * short, and workers renew them while they work.
 */
export interface WorkQueue {
  /** Adds an item, due now; one that is there stays as it is, but is not ended by a worker that took it before. */
  add(queue: QueueName, work: Work): Promise<void>;

  /** Adds those that have no item. @returns how many they were */
  addMissing(queue: QueueName, work: readonly Work[]): Promise<number>;

  /**
   * Takes items that are due, oldest first within a group; resolves as soon as there is one, or with none when the
   * signal aborts.
   *
   * @throws StoreError
   */
  take(queue: QueueName, options: TakeOptions, signal: AbortSignal): Promise<TakenItem[]>;

  /**
   * Has nobody else take these for so many milliseconds from now, also where a lease has run out and nobody has taken the
   * item yet.
   *
   * @returns those that are in this hand no longer, and are not renewed: taken by others, ended or removed
   * @throws StoreError
   */
  renew(queue: QueueName, items: readonly TakenItem[], lease: number): Promise<TakenItem[]>;

  /** The work is done. @returns false when the item was not in this hand any more, or was added again meanwhile */
  finish(queue: QueueName, item: TakenItem): Promise<boolean>;

  /** The work failed: to be taken again at `due` (milliseconds). */
  postpone(queue: QueueName, item: TakenItem, due: number): Promise<boolean>;

  /** Gives the item back as it was: the worker stops. */
  release(queue: QueueName, item: TakenItem): Promise<void>;

  /** Has none of the group's items taken until then (milliseconds). */
  rest(queue: QueueName, group: string, until: number): Promise<void>;

  /** Ends the group's rest and makes all of its items due now. */
  hasten(queue: QueueName, group: string): Promise<void>;

  /** Takes the item out, whoever has it in hand. */
  remove(queue: QueueName, key: string): Promise<void>;

  /** All live items, of one group where it is named, in no particular order. */
  list(queue: QueueName, group?: string): AsyncIterable<WorkItem>;

  /** All groups that have items, in no particular order. */
  groups(queue: QueueName): AsyncIterable<WorkGroup>;

  /**
   * Since when the item has been due that has waited for longest and is in nobody's hand, in milliseconds; undefined when
   * nothing is due. Looks at a few groups only, those whose turn is next, so that watching costs little.
   *
   * @throws StoreError
   */
  oldestDue(queue: QueueName): Promise<number | undefined>;
}
