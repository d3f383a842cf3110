/**
 * What stands before Google's emulator of Firestore, which knows no rights: it lets through what IAM gives the principal of
 * each call, refuses all else with PERMISSION_DENIED, and has calls of the admin API answered by the emulator of that.
 *
 * Source of which method needs which permission: https://cloud.google.com/firestore/docs/security/iam
 */
import { createRequire } from 'node:module';
import { type Fate, type GrpcProxy, type ProxiedCall, startGrpcProxy } from '../../support/grpc-proxy.ts';
import type { FirestoreAdminEmulator } from '../firestore-admin/firestore-admin-emulator.ts';
import { type Policies, principalOf } from '../iam.ts';

const NOT_FOUND = 5;
const PERMISSION_DENIED = 7;
const UNIMPLEMENTED = 12;

/** Length and compression come before each message (gRPC over HTTP/2). */
const FRAME_HEADER = 5;

const { protos } = createRequire(import.meta.url)('@google-cloud/firestore-api');

interface Write {
  readonly delete?: string;
  readonly currentDocument?: { readonly exists?: boolean; readonly updateTime?: unknown } | null;
}

interface Request {
  readonly name?: string;
  readonly database?: string | { readonly name?: string };
  readonly parent?: string;
  readonly field?: { readonly name?: string };
  readonly writes?: readonly Write[];
}

interface Method {
  /** Name of the request's message. */
  readonly message: string;
  /** Without `datastore.`. */
  permissions(request: Request): readonly string[];
}

const needs = (message: string, ...permissions: string[]): Method => ({ message, permissions: () => permissions });

/** Those that the gateway and its commands use; of others nothing is known. */
const METHODS: Readonly<Record<string, Method>> = {
  '/google.firestore.v1.Firestore/BatchGetDocuments': needs('v1.BatchGetDocumentsRequest', 'entities.get'),
  '/google.firestore.v1.Firestore/RunQuery': needs('v1.RunQueryRequest', 'entities.get', 'entities.list'),
  '/google.firestore.v1.Firestore/Commit': {
    message: 'v1.CommitRequest',
    permissions: ({ writes = [] }) => (writes.length === 0 ? ['databases.get'] : writes.flatMap(ofWrite)),
  },
  '/google.firestore.admin.v1.FirestoreAdmin/GetDatabase': needs(
    'admin.v1.GetDatabaseRequest',
    'databases.getMetadata',
  ),
  '/google.firestore.admin.v1.FirestoreAdmin/CreateDatabase': needs(
    'admin.v1.CreateDatabaseRequest',
    'databases.create',
  ),
  '/google.firestore.admin.v1.FirestoreAdmin/UpdateDatabase': needs(
    'admin.v1.UpdateDatabaseRequest',
    'databases.update',
  ),
  '/google.firestore.admin.v1.FirestoreAdmin/DeleteDatabase': needs(
    'admin.v1.DeleteDatabaseRequest',
    'databases.delete',
  ),
  '/google.firestore.admin.v1.FirestoreAdmin/BulkDeleteDocuments': needs(
    'admin.v1.BulkDeleteDocumentsRequest',
    'databases.bulkDelete',
  ),
  '/google.firestore.admin.v1.FirestoreAdmin/ListFields': needs('admin.v1.ListFieldsRequest', 'indexes.list'),
  '/google.firestore.admin.v1.FirestoreAdmin/UpdateField': needs('admin.v1.UpdateFieldRequest', 'indexes.update'),
};

/** Whoever has begun an operation may look at it; its name is a secret of theirs. */
const OPERATIONS = '/google.longrunning.Operations/';

function ofWrite({ delete: deleted, currentDocument }: Write): string[] {
  if (deleted) {
    return ['entities.delete'];
  }
  if (currentDocument?.exists === false) {
    return ['entities.create'];
  }
  const isUpdate = currentDocument?.exists === true || Boolean(currentDocument?.updateTime);
  return isUpdate ? ['entities.update'] : ['entities.create', 'entities.update'];
}

/**
 * @param documents HOST:PORT of Google's emulator
 * @param policies those of the projects, which have all rights on databases
 * @param account in whose name every call is, as from a pod with that account; by default each call says in whose
 */
export async function startFirestoreFront(
  documents: string,
  admin: FirestoreAdminEmulator,
  policies: Policies,
  account?: string,
): Promise<GrpcProxy> {
  const proxy = await startGrpcProxy(documents, {
    // What it lets through is its own doing; Google's emulator takes nobody else's token.
    headers: { authorization: 'Bearer owner' },
    elsewhere: { target: new URL(admin.endpoint).host, paths: ['/google.firestore.admin.', OPERATIONS] },
  });
  proxy.decide = (_method, call) =>
    fateOf(call, { admin, policies, principal: account ?? principalOf(call.headers.authorization) });
  return proxy;
}

function fateOf(
  { headers, request }: ProxiedCall,
  { admin, policies, principal }: { admin: FirestoreAdminEmulator; policies: Policies; principal: string | undefined },
): Fate {
  const path = `${headers[':path']}`;
  const method = METHODS[path];
  if (!method) {
    return path.startsWith(OPERATIONS) ? 'pass' : { status: UNIMPLEMENTED, message: `Not emulated: ${path}` };
  }
  const message: Request = method.message
    .split('.')
    .reduce((within, name) => within[name], protos.google.firestore)
    .decode(request.subarray(FRAME_HEADER));
  const database = databaseOf(message);
  const ancestry = [database, database.split('/databases')[0] ?? ''];
  for (const permission of method.permissions(message)) {
    if (!policies.allows(principal, `datastore.${permission}`, ancestry)) {
      return { status: PERMISSION_DENIED, message: 'Missing or insufficient permissions.' };
    }
  }
  if (path.startsWith('/google.firestore.v1.') && !admin.databases.has(database)) {
    return { status: NOT_FOUND, message: `The database ${database} does not exist.` };
  }
  return 'pass';
}

/** What a call is about: a database, or the project in which one is to be. */
function databaseOf({ name, database, parent, field }: Request): string {
  const text = [database, name, field?.name, parent].find((given) => typeof given === 'string' && given !== '');
  const given = text ?? (typeof database === 'object' ? database.name : '');
  return /^projects\/[^/]+(\/databases\/[^/]+)?/.exec(`${given}`)?.[0] ?? '';
}
