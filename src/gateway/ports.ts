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
export type {
  QueueName,
  TakenItem,
  TakeOptions,
  Work,
  WorkGroup,
  WorkItem,
  WorkQueue,
} from './work.ts';

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
   * As `list`, only of those that were put within so many milliseconds before the last put of all that are there; only of
   * stores that find these without a look at the others. The last ones may come meanwhile, and be missing.
   *
   * @throws StoreError
   */
  listNewest?(prefix: string, period: number): AsyncIterable<ObjectEntry>;

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

  /** As `get` with each key, in their order; only of backends that find many together for less. */
  getAll?(kind: RecordKind, keys: readonly string[]): Promise<(StoredRecord | undefined)[]>;

  /**
   * As `put` with each, no key twice; only of backends that write many together for less.
   *
   * @throws StoreError when any of them may not be durable
   */
  putAll?(kind: RecordKind, records: readonly Omit<RecordCopy, 'kind'>[]): Promise<void>;

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
