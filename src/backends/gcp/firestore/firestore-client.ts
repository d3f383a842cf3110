/**
 * What the gateway asks of Firestore, over the vendor's generated client: of one document at a time, or a range of names.
 */
import { FirestoreClient as VendorClient } from '@google-cloud/firestore-api';
import { credentials } from '@grpc/grpc-js';
import { StoreError } from '../../../gateway/ports.ts';
import { LateError } from '../calls.ts';
import { CHANNEL } from '../channel.ts';
import { callFirestore, type Operation } from './calls.ts';
import type { Document, Timestamp } from './document-fields.ts';
import { isRefusal, isUnclear } from './errors.ts';

type CallOptions = NonNullable<Parameters<VendorClient['runQuery']>[1]>;
type VendorSettings = NonNullable<ConstructorParameters<typeof VendorClient>[0]>;

/** A write of one document. */
export interface Write {
  /** The whole document, in place of what is there. */
  readonly update?: Document;
  /** The name of a document to be removed. */
  readonly delete?: string;
  /** What must be so, or nothing is written. */
  readonly currentDocument?: { readonly exists: boolean } | { readonly updateTime: Timestamp };
}

/** What became of a write. */
export interface WriteOutcome {
  readonly isWritten: boolean;
  /** Whether an earlier attempt, which was not answered, may have been carried out. */
  readonly isUnclear: boolean;
}

/** Documents of a collection by their names, from the first to before the last. */
export interface NameRange {
  readonly collection: string;
  readonly from: string;
  /** Whether `from` itself is left out. */
  readonly isAfter: boolean;
  readonly before: string;
  readonly limit: number;
  /** As they were then, within the last hour; undefined for as they are. */
  readonly readTime: Timestamp | undefined;
}

/** The client makes no attempts of its own, so that those of `callFirestore` are all there are. */
const ONCE = { retry: null, retryRequestOptions: { retries: 0, noResponseRetries: 0 } };

export class FirestoreClient implements AsyncDisposable {
  private readonly database: string;
  private readonly settings: VendorSettings;
  private client: Promise<VendorClient> | undefined;

  /**
   * @param parts.database its whole name
   * @param parts.emulator HOST:PORT of an emulator, which is spoken to without TLS and credentials
   */
  constructor({ project, database, emulator }: { project: string; database: string; emulator?: string | undefined }) {
    this.database = database;
    this.settings = { projectId: project, ...CHANNEL, ...(emulator !== undefined && elsewhere(emulator)) };
  }

  /** @throws StoreError STORE_AWAY, as all others */
  async get(operation: Operation, name: string): Promise<Document | undefined> {
    // Unlike `GetDocument`, this tells a document that is not there from a database that is not there.
    const [answer] = await this.call(operation, (client, options) =>
      collect<{ found?: Document }>(client.batchGetDocuments({ database: this.database, documents: [name] }, options)),
    );
    return answer?.found ?? undefined;
  }

  /** The database's own time, up to which all writes that were answered are seen. */
  async time(operation: Operation): Promise<Timestamp> {
    const name = `${this.database}/documents/configuration/time`;
    const [answer] = await this.call(operation, (client, options) =>
      collect<{ readTime?: Timestamp }>(
        client.batchGetDocuments({ database: this.database, documents: [name] }, options),
      ),
    );
    if (!answer?.readTime) {
      throw new StoreError('STORE_AWAY', `Firestore could not ${operation.what}: it did not tell the time`);
    }
    return answer.readTime;
  }

  async write(operation: Operation, write: Write): Promise<WriteOutcome> {
    let wasUnclear = false;
    return this.call(operation, async (client, options) => {
      const before = wasUnclear;
      // Until it is known what becomes of this attempt, which may be given up before that.
      wasUnclear = true;
      try {
        await client.commit({ database: this.database, writes: [write] }, options);
        return { isWritten: true, isUnclear: before };
      } catch (error) {
        wasUnclear = before || isUnclear(error);
        if (isRefusal(error)) {
          return { isWritten: false, isUnclear: before };
        }
        throw error;
      }
    });
  }

  async range(operation: Operation, range: NameRange): Promise<Document[]> {
    const { collection, from, isAfter, before, limit, readTime } = range;
    const field = { fieldPath: '__name__' };
    const bound = (op: 'GREATER_THAN' | 'GREATER_THAN_OR_EQUAL' | 'LESS_THAN', referenceValue: string) => ({
      fieldFilter: { field, op, value: { referenceValue } },
    });
    const structuredQuery = {
      from: [{ collectionId: collection }],
      where: {
        compositeFilter: {
          op: 'AND' as const,
          filters: [bound(isAfter ? 'GREATER_THAN' : 'GREATER_THAN_OR_EQUAL', from), bound('LESS_THAN', before)],
        },
      },
      orderBy: [{ field, direction: 'ASCENDING' as const }],
      limit: { value: limit },
    };
    const answers = await this.call(operation, (client, options) =>
      collect<{ document?: Document | null }>(
        client.runQuery(
          { parent: `${this.database}/documents`, structuredQuery, ...(readTime && { readTime }) },
          options,
        ),
      ),
    );
    return answers.flatMap(({ document }) => document ?? []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.client?.catch(() => undefined))?.close();
  }

  private call<Answer>(
    operation: Operation,
    attempt: (client: VendorClient, options: CallOptions) => Promise<Answer>,
  ): Promise<Answer> {
    return callFirestore(operation, async (timeout) => {
      const end = performance.now() + timeout;
      const client = await this.connected();
      const left = end - performance.now();
      if (left <= 0) {
        // Nobody waits for it any more: what was given up must not be written later.
        throw new LateError(timeout);
      }
      const headers = { 'google-cloud-resource-prefix': this.database };
      return attempt(client, { ...ONCE, timeout: left, otherArgs: { headers } });
    });
  }

  /** One that failed to find its credentials would fail for ever, and reject where nobody listens: it is made anew. */
  private connected(): Promise<VendorClient> {
    if (!this.client) {
      const made = new VendorClient(this.settings);
      const client = made.initialize().then(() => made);
      this.client = client;
      client.catch(() => {
        this.client = undefined;
      });
    }
    return this.client;
  }
}

function elsewhere(emulator: string): VendorSettings {
  const { hostname, port } = new URL(`http://${emulator}`);
  return {
    apiEndpoint: hostname,
    port: Number(port) || 80,
    sslCreds: credentials.createInsecure(),
    // Nothing is looked for then that Google would know us by.
    clientOptions: { universeDomain: 'googleapis.com' },
  };
}

/** All that the stream gives, if it ends well. */
async function collect<Answer>(stream: AsyncIterable<unknown>): Promise<Answer[]> {
  return (await Array.fromAsync(stream)) as Answer[];
}
