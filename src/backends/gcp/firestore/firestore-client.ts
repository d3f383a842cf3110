/**
 * What the gateway asks of Firestore: of one document at a time, or a range of names.
 *
 * Source: https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1
 */
import protos from '@google-cloud/firestore-api/protos';
import { StoreError } from '../../../gateway/ports.ts';
import { type CallOptions, GrpcService, method } from '../grpc-service.ts';
import { callFirestore, type Operation } from './calls.ts';
import type { Document, Timestamp } from './document-fields.ts';
import { isRefusal, isUnclear } from './errors.ts';

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

const { v1 } = protos.google.firestore;

const SERVICE = '/google.firestore.v1.Firestore';
const GET = method(`${SERVICE}/BatchGetDocuments`, v1.BatchGetDocumentsRequest, v1.BatchGetDocumentsResponse);
const QUERY = method(`${SERVICE}/RunQuery`, v1.RunQueryRequest, v1.RunQueryResponse);
const COMMIT = method(`${SERVICE}/Commit`, v1.CommitRequest, v1.CommitResponse);

const GOOGLES = 'https://firestore.googleapis.com';

export class FirestoreClient implements AsyncDisposable {
  private readonly database: string;
  private readonly service: GrpcService;

  /**
   * @param parts.database its whole name
   * @param parts.emulator HOST:PORT of an emulator, which is spoken to without TLS and credentials
   */
  constructor({ database, emulator }: { database: string; emulator?: string | undefined }) {
    this.database = database;
    this.service = new GrpcService(emulator === undefined ? GOOGLES : `http://${emulator}`);
  }

  /** @throws StoreError STORE_AWAY, as all others */
  async get(operation: Operation, name: string): Promise<Document | undefined> {
    return (await this.lookUp(operation, name))?.found ?? undefined;
  }

  /** The database's own time, up to which all writes that were answered are seen. */
  async time(operation: Operation): Promise<Timestamp> {
    const answer = await this.lookUp(operation, `${this.database}/documents/configuration/time`);
    if (!answer?.readTime) {
      throw new StoreError('STORE_AWAY', `Firestore could not ${operation.what}: it did not tell the time`);
    }
    return answer.readTime;
  }

  async write(operation: Operation, write: Write): Promise<WriteOutcome> {
    const { database } = this;
    let wasUnclear = false;
    return this.call(operation, { database }, async (options) => {
      const before = wasUnclear;
      // Until it is known what becomes of this attempt, which may be given up before that.
      wasUnclear = true;
      try {
        await this.service.ask(COMMIT, { database, writes: [write] }, options);
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
    const parent = `${this.database}/documents`;
    const request = { parent, structuredQuery, ...(readTime && { readTime }) };
    const answers = await this.call(operation, { parent }, (options) =>
      this.service.askForAll(QUERY, request, options),
    );
    return answers.flatMap(({ document }) => document ?? []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.service[Symbol.asyncDispose]();
  }

  /** Unlike `GetDocument`, this tells a document that is not there from a database that is not there. */
  private async lookUp(operation: Operation, name: string) {
    const { database } = this;
    const [answer] = await this.call(operation, { database }, (options) =>
      this.service.askForAll(GET, { database, documents: [name] }, options),
    );
    return answer;
  }

  private call<Answer>(
    operation: Operation,
    routing: CallOptions['routing'],
    attempt: (options: CallOptions) => Promise<Answer>,
  ): Promise<Answer> {
    const headers = { 'google-cloud-resource-prefix': this.database };
    return callFirestore(operation, (timeout) => attempt({ timeout, routing, headers }));
  }
}
