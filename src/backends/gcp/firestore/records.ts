/**
 * Records in Firestore: a collection for each kind, a document for each record.
 *
 * Races are decided by preconditions: that there is no document, or that it is still as it was updated last. No
 * transactions: one write costs one call.
 *
 * Source: https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#precondition
 */
import {
  type Clock,
  type Random,
  RECORD_KINDS,
  type RecordFields,
  type RecordKind,
  type Records,
  type RecordsSnapshot,
  type StoredRecord,
  StoreError,
} from '../../../gateway/ports.ts';
import type { CallBounds } from '../calls.ts';
import { type Operation, startOperation } from './calls.ts';
import { type Document, hasMark, readExpiry, readFields, type Timestamp, writeDocument } from './document-fields.ts';
import type { DocumentNames } from './document-names.ts';
import type { FirestoreClient, Write, WriteOutcome } from './firestore-client.ts';

/** Documents of the first page of a list, since many a reader needs no more; each page has thrice as many as the last. */
const FIRST_PAGE = 100;
const LARGEST_PAGE = 1000;

const MARK_OCTETS = 12;

/** How often a record that expired or went away under our hands is tried anew, within the bound on the whole. */
const MOST_ROUNDS = 10;

export interface FirestoreRecordsParts {
  readonly client: FirestoreClient;
  readonly names: DocumentNames;
  readonly bounds: CallBounds;
  readonly clock: Clock;
  readonly random: Random;
}

export class FirestoreRecords implements Records, AsyncDisposable {
  private readonly client: FirestoreClient;
  private readonly names: DocumentNames;
  private readonly bounds: CallBounds;
  private readonly clock: Clock;
  private readonly random: Random;

  constructor(parts: FirestoreRecordsParts) {
    this.client = parts.client;
    this.names = parts.names;
    this.bounds = parts.bounds;
    this.clock = parts.clock;
    this.random = parts.random;
  }

  async get(kind: RecordKind, key: string): Promise<StoredRecord | undefined> {
    const name = this.names.ofRecord(kind, key);
    const document = await this.read(this.operation('read', kind, key), name);
    return document && this.isLive(document) ? readRecord(key, document) : undefined;
  }

  async create(kind: RecordKind, key: string, fields: RecordFields, expiry?: number): Promise<boolean> {
    const { update, name, mark } = this.newDocument(kind, key, fields, expiry);
    const operation = this.operation('create', kind, key);
    let currentDocument: Write['currentDocument'] = { exists: false };
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const { isWritten } = await this.write(operation, { update, currentDocument });
      if (isWritten) {
        return true;
      }
      const there = await this.read(operation, name);
      if (there && this.isLive(there)) {
        // It may be ours, by an attempt that was not answered.
        return hasMark(there, mark);
      }
      // What expired is replaced by whoever does so first.
      currentDocument = there ? { updateTime: there.updateTime as Timestamp } : { exists: false };
    }
    throw new StoreError('STORE_AWAY', `Firestore could not create ${kind}/${key}: it changes too fast`);
  }

  async put(kind: RecordKind, key: string, fields: RecordFields, expiry?: number): Promise<void> {
    const { update } = this.newDocument(kind, key, fields, expiry);
    await this.write(this.operation('write', kind, key), { update });
  }

  async replace(
    kind: RecordKind,
    key: string,
    version: string,
    fields: RecordFields,
    expiry?: number,
  ): Promise<boolean> {
    const { update, name, mark } = this.newDocument(kind, key, fields, expiry);
    const updateTime = this.liveVersion(version);
    if (!updateTime) {
      return false;
    }
    const operation = this.operation('replace', kind, key);
    const outcome = await this.write(operation, { update, currentDocument: { updateTime } });
    if (outcome.isWritten || !outcome.isUnclear) {
      return outcome.isWritten;
    }
    const there = await this.read(operation, name);
    return there !== undefined && hasMark(there, mark);
  }

  async delete(kind: RecordKind, key: string, version?: string): Promise<boolean> {
    const name = this.names.ofRecord(kind, key);
    const operation = this.operation('delete', kind, key);
    if (version === undefined) {
      await this.write(operation, { delete: name });
      return true;
    }
    const updateTime = this.liveVersion(version);
    if (!updateTime) {
      return false;
    }
    const outcome = await this.write(operation, { delete: name, currentDocument: { updateTime } });
    if (!outcome.isWritten && outcome.isUnclear && !(await this.read(operation, name))) {
      throw new StoreError('STORE_AWAY', `Firestore did not say who deleted ${kind}/${key}`);
    }
    return outcome.isWritten;
  }

  list(kind: RecordKind, prefix = ''): AsyncIterable<StoredRecord> {
    return this.listAt(undefined, kind, prefix);
  }

  /** As of the moment of the call, for an hour: so long does Firestore keep what was changed. */
  async snapshot(): Promise<RecordsSnapshot> {
    const readTime = await this.client.time(this.operation('read', 'configuration', 'time'));
    const instant = Number(readTime.seconds) * 1000 + Math.floor((readTime.nanos ?? 0) / 1e6);
    const listAt = (kind: RecordKind) => this.listAt(readTime, kind, '');
    return {
      ...{ instant, count: undefined, damaged: 0 },
      async *read() {
        for (const kind of RECORD_KINDS) {
          for await (const { key, fields, expiry } of listAt(kind)) {
            yield { kind, key, fields, ...(expiry !== undefined && { expiry }) };
          }
        }
      },
      async [Symbol.asyncDispose]() {},
    };
  }

  /** @param readTime as of when; undefined for now, page by page */
  private async *listAt(
    readTime: Timestamp | undefined,
    kind: RecordKind,
    prefix: string,
  ): AsyncIterable<StoredRecord> {
    const before = this.names.afterPrefix(kind, prefix);
    let from = this.names.startingWith(kind, prefix);
    for (let limit = FIRST_PAGE, isAfter = false; ; limit = Math.min(3 * limit, LARGEST_PAGE), isAfter = true) {
      const range = { collection: kind, from, isAfter, before, limit, readTime };
      const page = await this.client.range(this.operation('list', kind, prefix), range);
      for (const document of page) {
        if (this.isLive(document)) {
          yield readRecord(this.names.keyOf(document.name as string), document);
        }
      }
      if (page.length < limit) {
        return;
      }
      from = page.at(-1)?.name as string;
    }
  }

  /** Resolves when Firestore answers. @throws StoreError */
  async check(): Promise<void> {
    await this.get('configuration', 'check');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
  }

  private operation(verb: string, kind: RecordKind, key: string): Operation {
    return startOperation(`${verb} ${kind}/${key}`, this.bounds);
  }

  private read(operation: Operation, name: string): Promise<Document | undefined> {
    return this.client.get(operation, name);
  }

  private write(operation: Operation, write: Write): Promise<WriteOutcome> {
    return this.client.write(operation, write);
  }

  private newDocument(
    kind: RecordKind,
    key: string,
    fields: RecordFields,
    expiry: number | undefined,
  ): { name: string; update: Document; mark: Buffer } {
    const name = this.names.ofRecord(kind, key);
    const mark = this.random(MARK_OCTETS);
    return { name, update: writeDocument(name, fields, expiry, mark), mark };
  }

  private isLive(document: Document): boolean {
    return (readExpiry(document) ?? Number.POSITIVE_INFINITY) >= this.clock.now();
  }

  /** When the record with this version was updated; undefined when it has expired, or the version is none of ours. */
  private liveVersion(version: string): Timestamp | undefined {
    const [, seconds, nanos, expiry] = /^(\d+)\.(\d+)(?:\.(\d+))?$/.exec(version) ?? [];
    const isLive = expiry === undefined || Number(expiry) >= this.clock.now();
    return seconds !== undefined && isLive ? { seconds, nanos: Number(nanos) } : undefined;
  }
}

/** The version holds when the document was updated, and when it expires. */
function readRecord(key: string, document: Document): StoredRecord {
  const { seconds, nanos } = document.updateTime as Timestamp;
  const expiry = readExpiry(document);
  const version = `${seconds}.${nanos}${expiry === undefined ? '' : `.${expiry}`}`;
  return { key, version, fields: readFields(document), ...(expiry !== undefined && { expiry }) };
}
