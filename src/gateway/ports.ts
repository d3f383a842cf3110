/**
 * What the gateway needs from the world: each port, and what it promises.
 *
 * Glossary: an *object* is a message at rest (parcel, cargo); a *record* is a small document about peers and keys; a
 * *signal* says that something came; a *version* tells one write of a key from the next. Backends keep these promises;
 * `test/ports/` holds every backend to them.
 */
import type { SigningKey } from '../awala/signing-key.ts';
import type { RecordKind } from './record-kinds.ts';

export type { Journal, JournalEntry, JournalEvent } from './journal-entry.ts';
export { RECORD_KINDS, type RecordKind } from './record-kinds.ts';

/** Time, so that the whole gateway can run on a clock that is not the machine's. */
export interface Clock {
  /** The present, in milliseconds since the Unix epoch. */
  now(): number;
}

/** `octets` unpredictable octets. */
export type Random = (octets: number) => Buffer;

/** A store is full or away: nothing was acknowledged, and the peer should come back. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly code: 'STORE_FULL' | 'STORE_AWAY';

  constructor(code: 'STORE_FULL' | 'STORE_AWAY', message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What is told of an object without reading its body. */
export interface ObjectEntry {
  readonly key: string;
  /** Tells this write of the key from earlier and later ones. Opaque. */
  readonly version: string;
  /** When this version was put, in milliseconds; grows with each put of one process, also within a millisecond (fractions count). */
  readonly arrival: number;
  /**
   * When it was put by the store's own clock, in whole milliseconds, so that what different processes put can be told
   * apart; absent where `arrival` is by one clock for all.
   */
  readonly storedAt?: number;
  /** After this instant (milliseconds) the object is never returned. */
  readonly expiry: number;
  /** Octets of the body. */
  readonly size: number;
  /** As given to `put`. */
  readonly metadata: ObjectMetadata;
}

export type ObjectMetadata = Readonly<Record<string, string>>;

export interface StoredObject extends ObjectEntry {
  readonly body: Buffer;
}

export interface PutOptions {
  /** Milliseconds since the epoch. */
  readonly expiry: number;
  /** A few short strings that `list` gives back: ids for logs and acknowledgements. */
  readonly metadata?: ObjectMetadata;
}

/** Keeps messages. Keys are ASCII, up to 512 octets, parts divided by `/`. */
export interface ObjectStore {
  /**
   * Resolves when the bytes would survive a crash of the process and of the machine. Replaces what is under the key,
   * as a new version.
   *
   * @param body must stay as it is until then: it may not be copied
   * @throws StoreError
   */
  put(key: string, body: Uint8Array, options: PutOptions): Promise<ObjectEntry>;

  /**
   * As `put`, unless what is under the key stays.
   *
   * @param stays asked of the newest version, where there is one; nothing newer comes between that and the put
   * @returns undefined where it stays
   * @throws StoreError
   */
  putUnless(
    key: string,
    body: Uint8Array,
    options: PutOptions,
    stays: (there: ObjectEntry) => boolean,
  ): Promise<ObjectEntry | undefined>;

  /**
   * The newest version, or `undefined` if there is none or it expired. Its bytes are verified against their checksum, and
   * the caller's own: nobody else has the memory that they are in.
   *
   * @param listed the entry that the caller has of it, from a list: finding that very version may cost less
   */
  get(key: string, listed?: ObjectEntry): Promise<StoredObject | undefined>;

  /**
   * As `get` with each entry of a list, in its order; only of stores that find many together for less. Bodies may share
   * memory with each other, though with nothing else.
   */
  getAll?(listed: readonly ObjectEntry[]): Promise<(StoredObject | undefined)[]>;

  /** What is told of the newest version without its body, or `undefined` as with `get`. @throws StoreError */
  find(key: string): Promise<ObjectEntry | undefined>;

  /** All live objects whose keys start with `prefix`, in no order that callers may rely on, read in pages. */
  list(prefix: string): AsyncIterable<ObjectEntry>;

  /** As `list`, as many together as are read at once; only of stores that have many for less so. */
  listPages?(prefix: string): AsyncIterable<readonly ObjectEntry[]>;

  /**
   * Removes the object; with a version, only if it is still that one. Idempotent.
   *
   * @returns whether this call removed it
   */
  delete(key: string, version?: string): Promise<boolean>;
}

export type RecordValue = string | number | boolean | Uint8Array | null;

/** A small flat document: up to 64 KiB, fields as Firestore has them. */
export type RecordFields = Readonly<Record<string, RecordValue>>;

export interface StoredRecord {
  readonly key: string;
  /** Changes with each write. Opaque. */
  readonly version: string;
  readonly fields: RecordFields;
  /** After this instant (milliseconds) it is gone; absent where it stays. */
  readonly expiry?: number;
}

/** Keeps small documents, and decides races: what must happen once is decided here. */
export interface Records {
  get(kind: RecordKind, key: string): Promise<StoredRecord | undefined>;

  /** Writes only where there is no live record; false when there is one. Durable when it resolves true. */
  create(kind: RecordKind, key: string, fields: RecordFields, expiry?: number): Promise<boolean>;

  /** Writes whatever is there. Durable when it resolves. */
  put(kind: RecordKind, key: string, fields: RecordFields, expiry?: number): Promise<void>;

  /** Compare-and-set: writes only if the record still has `version`; false otherwise. Durable when it resolves true. */
  replace(kind: RecordKind, key: string, version: string, fields: RecordFields, expiry?: number): Promise<boolean>;

  /** Removes the record; with a version, only if it is still that one (false otherwise). Removing nothing without a version is true. */
  delete(kind: RecordKind, key: string, version?: string): Promise<boolean>;

  /** All live records of a kind whose keys start with `prefix`, in key order. */
  list(kind: RecordKind, prefix?: string): AsyncIterable<StoredRecord>;

  /** All records as they are now, however long reading them takes; absent in a backend that cannot tell. @throws StoreError */
  snapshot?(): Promise<RecordsSnapshot>;
}

/** A record with all that it takes to write it once more. */
export interface RecordCopy {
  readonly kind: RecordKind;
  readonly key: string;
  readonly fields: RecordFields;
  /** Milliseconds; absent where it stays. */
  readonly expiry?: number;
}

/** All records as they were at one instant, for backups. */
export interface RecordsSnapshot extends AsyncDisposable {
  /** That instant, in milliseconds. */
  readonly instant: number;
  /** How many records there are, where that is known beforehand; those that expired may be among them. */
  readonly count: number | undefined;
  /** How many damaged records `read` has left out so far. */
  readonly damaged: number;
  /** All live records, in no particular order; to be read once. @throws StoreError */
  read(): AsyncIterable<RecordCopy>;
}

export interface Subscription {
  close(): void;
}

/** Best-effort fan-out. A lost signal costs latency, never a message: subscribers list again after a gap. */
export interface Signals {
  /** Tells all present subscribers of `channel`, in this and other processes. Never throws, never waits. */
  publish(channel: string, payload: Buffer): void;

  /** Whether anybody would hear what is published now, so that nothing is written for nobody; absent where others may. */
  isHeard?(channel: string): boolean;

  /**
   * Resolves when the subscription is in force: all that is published from then on comes to `listener`, in order.
   *
   * @param onGap called when signals may have been lost; the subscriber lists again
   */
  subscribe(channel: string, listener: (payload: Buffer) => void, onGap: () => void): Promise<Subscription>;
}

/** How much there is of something: how many, and their octets together. */
export interface Amount {
  readonly count: number;
  readonly octets: number;
}

/** Counters shared by replicas, best effort: rates, and how full something is. */
export interface Meters {
  /**
   * Takes one from the allowance of `limit` in any `period` milliseconds under this key.
   *
   * @returns whether there was one left; what is refused is not counted
   */
  take(key: string, limit: number, period: number): Promise<boolean>;

  /**
   * Adds to what is held under this key, unless that would be more than `quota`.
   *
   * @returns `unknown` when nothing is known of the key: it must be counted (`recount`)
   */
  reserve(key: string, amount: Amount, quota: Amount): Promise<'reserved' | 'full' | 'unknown'>;

  /** Takes away what is not held any more. What is unknown stays so. */
  release(key: string, amount: Amount): Promise<void>;

  /** Sets what is held under this key, as it was counted. */
  recount(key: string, amount: Amount): Promise<void>;
}

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
 * truth, and housekeeping queues again what has no item.
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

export interface IdentityKey extends SigningKey {
  /** Names the key in its keeper, e.g. a KMS key version. */
  readonly reference: string;
  /** DER SubjectPublicKeyInfo with `rsaEncryption`. */
  readonly spki: Buffer;
}

/** Keeps the identity keys; their private halves never leave. */
export interface IdentityKeys {
  /** Makes a key pair (RSA 2048) or gives the one that the deployment provides, durable. */
  create(): Promise<IdentityKey>;
  /** Opens a key by its reference. */
  open(reference: string): Promise<IdentityKey>;
}

/** Encrypts small secrets at rest, bound to what they are for. */
export interface KeyWrapping {
  /** @param context what the secret is and whose; `unwrap` must be given the same */
  wrap(secret: Uint8Array, context: string): Promise<Buffer>;
  /** @throws Error when the octets were changed or wrapped for another context */
  unwrap(wrapped: Uint8Array, context: string): Promise<Buffer>;
}

/** Makes a P-256 key pair (RS-018): private half as PKCS#8, public as SubjectPublicKeyInfo, both DER. */
export type NewKeyPair = () => Promise<{ privateKey: Buffer; publicKey: Buffer }>;
