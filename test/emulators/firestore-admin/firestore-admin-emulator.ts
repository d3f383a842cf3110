/**
 * An emulator of Firestore's admin API over gRPC, from the protocol buffers that the vendor's client ships: databases,
 * TTL policies and exemptions from indexing, each by an operation that takes a while.
 */
import { createRequire } from 'node:module';
import {
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceClientConstructor,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';

type Message = Record<string, unknown>;

const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const ALREADY_EXISTS = 6;
const FAILED_PRECONDITION = 9;

export type FirestoreAdminMethod =
  | 'GetDatabase'
  | 'CreateDatabase'
  | 'ListFields'
  | 'UpdateField'
  | 'GetOperation'
  | 'UpdateDatabase'
  | 'DeleteDatabase'
  | 'BulkDeleteDocuments';

/** A field that has settings of its own. */
interface Field {
  readonly name: string;
  indexConfig?: { indexes: unknown[]; usesAncestorConfig: boolean };
  ttlConfig?: { state: 'CREATING' | 'ACTIVE' };
}

interface Operation {
  /** Done at the second look. */
  looks: number;
  finish(): { type: string; value: Message };
}

class Refused extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** What a call meets: it is told when it comes; then it is not carried out, or not answered. */
export interface Barrier {
  readonly reached: () => void;
  readonly isCarriedOut: boolean;
}

export class FirestoreAdminEmulator implements AsyncDisposable {
  readonly databases = new Map<string, Message>();
  readonly fields = new Map<string, Field>();
  /** The collections whose documents were deleted last. */
  emptied: readonly string[] = [];
  /** What was called, in order. */
  readonly calls: FirestoreAdminMethod[] = [];
  /** By method: the barrier that the call after so many others meets. */
  private readonly barriers = new Map<FirestoreAdminMethod, { left: number; barrier: Barrier }>();
  private readonly operations = new Map<string, Operation>();
  private readonly server = new Server();
  private boundPort = 0;

  static async start(): Promise<FirestoreAdminEmulator> {
    const emulator = new FirestoreAdminEmulator();
    emulator.serve();
    await new Promise<void>((resolve, reject) => {
      emulator.server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
        emulator.boundPort = port;
        return error ? reject(error) : resolve();
      });
    });
    return emulator;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.boundPort}`;
  }

  /** The call number `count` of the method, from 1, counted from now, meets the barrier. */
  bar(method: FirestoreAdminMethod, count: number, barrier: Barrier): void {
    this.barriers.set(method, { left: count, barrier });
  }

  /** Lets the time pass that all operations take, also those that nobody asks about any more. */
  settle(): void {
    for (const { finish } of this.operations.values()) {
      finish();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.forceShutdown();
  }

  private serve(): void {
    const protos = createRequire(import.meta.url)('@google-cloud/firestore-api/build/protos/protos.json');
    const definition = fromJSON(protos, { longs: String, enums: String, defaults: true, oneofs: true });
    const { google } = loadPackageDefinition(definition) as unknown as {
      google: {
        firestore: { admin: { v1: { FirestoreAdmin: ServiceClientConstructor } } };
        longrunning: { Operations: ServiceClientConstructor };
      };
    };
    this.server.addService(google.firestore.admin.v1.FirestoreAdmin.service, {
      GetDatabase: this.handler('GetDatabase', ({ name }) => this.database(String(name))),
      CreateDatabase: this.handler('CreateDatabase', (request) => this.createDatabase(request)),
      UpdateDatabase: this.handler('UpdateDatabase', (request) => this.updateDatabase(request)),
      DeleteDatabase: this.handler('DeleteDatabase', ({ name }) => this.deleteDatabase(String(name))),
      BulkDeleteDocuments: this.handler('BulkDeleteDocuments', (request) => this.bulkDelete(request)),
      ListFields: this.handler('ListFields', (request) => this.listFields(request)),
      UpdateField: this.handler('UpdateField', (request) => this.updateField(request)),
    });
    this.server.addService(google.longrunning.Operations.service, {
      GetOperation: this.handler('GetOperation', ({ name }) => this.look(String(name))),
    });
  }

  private handler(method: FirestoreAdminMethod, answer: (request: Message) => Message) {
    return ({ request }: ServerUnaryCall<Message, Message>, reply: sendUnaryData<Message>) => {
      this.calls.push(method);
      const waiting = this.barriers.get(method);
      const barrier = waiting && --waiting.left === 0 ? waiting.barrier : undefined;
      try {
        const message = barrier && !barrier.isCarriedOut ? {} : answer(request);
        if (barrier) {
          barrier.reached();
          return;
        }
        reply(null, message);
      } catch (error) {
        const { code = 13, message } = error as Refused;
        reply({ code, details: message });
      }
    };
  }

  private database(name: string): Message {
    const database = this.databases.get(name);
    if (!database) {
      throw new Refused(NOT_FOUND, `Database ${name} does not exist.`);
    }
    return database;
  }

  /** https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.admin.v1#createdatabaserequest */
  private createDatabase({ parent, databaseId, database }: Message): Message {
    const name = `${parent}/databases/${databaseId}`;
    if (this.databases.has(name)) {
      throw new Refused(ALREADY_EXISTS, `Database ${name} already exists.`);
    }
    const made = { ...(database as Message), name };
    this.databases.set(name, made);
    return this.begin(`${name}/operations`, () => ({ type: 'Database', value: made }));
  }

  private updateDatabase({ database }: Message): Message {
    const { name, deleteProtectionState } = database as Message;
    const changed = { ...this.database(String(name)), deleteProtectionState };
    this.databases.set(String(name), changed);
    return this.begin(`${name}/operations`, () => ({ type: 'Database', value: changed }));
  }

  /** https://cloud.google.com/firestore/docs/manage-databases#delete_protection */
  private deleteDatabase(name: string): Message {
    const database = this.database(name);
    if (database['deleteProtectionState'] !== 'DELETE_PROTECTION_DISABLED') {
      throw new Refused(FAILED_PRECONDITION, `Database ${name} has delete protection.`);
    }
    this.databases.delete(name);
    return this.begin(`${name}/operations`, () => ({ type: 'Database', value: database }));
  }

  private bulkDelete({ name, collectionIds }: Message): Message {
    this.database(String(name));
    return this.begin(`${name}/operations`, () => {
      this.emptied = collectionIds as string[];
      return { type: 'BulkDeleteDocumentsResponse', value: {} };
    });
  }

  /** Only what has settings of its own, for the one filter that there is. */
  private listFields({ parent, filter }: Message): Message {
    const database = String(parent).split('/collectionGroups/')[0] ?? '';
    this.database(database);
    if (!/^indexConfig\.usesAncestorConfig[:=]false OR ttlConfig:\*$/.test(String(filter))) {
      throw new Refused(INVALID_ARGUMENT, 'Only fields that have been explicitly overridden can be listed.');
    }
    const fields = [...this.fields.values()].filter(({ name }) => name.startsWith(`${database}/`));
    return { fields, nextPageToken: '' };
  }

  /** https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.admin.v1#updatefieldrequest */
  private updateField({ field, updateMask }: Message): Message {
    const { name } = field as Field;
    const paths = (updateMask as { paths: string[] } | null)?.paths ?? ['index_config'];
    const database = name.split('/collectionGroups/')[0] ?? '';
    this.database(database);
    const there = this.fields.get(name) ?? { name };
    if (paths.includes('index_config')) {
      there.indexConfig = { indexes: [], usesAncestorConfig: false };
    }
    if (paths.includes('ttl_config')) {
      there.ttlConfig = { state: 'CREATING' };
    }
    this.fields.set(name, there);
    return this.begin(`${database}/operations`, () => {
      if (there.ttlConfig) {
        there.ttlConfig.state = 'ACTIVE';
      }
      return { type: 'Field', value: { name } };
    });
  }

  private begin(parent: string, finish: Operation['finish']): Message {
    const name = `${parent}/${this.operations.size + 1}`;
    this.operations.set(name, { looks: 0, finish });
    return { name, done: false };
  }

  private look(name: string): Message {
    const operation = this.operations.get(name);
    if (!operation) {
      throw new Refused(NOT_FOUND, `Operation ${name} does not exist.`);
    }
    operation.looks++;
    if (operation.looks < 2) {
      return { name, done: false };
    }
    const { type, value } = operation.finish();
    return {
      name,
      done: true,
      response: { type_url: `type.googleapis.com/google.firestore.admin.v1.${type}`, value: encoded(type, value) },
    };
  }
}

const { protos: vendor } = createRequire(import.meta.url)('@google-cloud/firestore-api');

function encoded(type: string, value: Message): Buffer {
  const message = vendor.google.firestore.admin.v1[type];
  return message.encode(message.fromObject(value)).finish();
}
