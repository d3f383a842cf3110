/** A cloud without anything in it, and an environment's file for it. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import { startFirestoreFront } from '../emulators/firestore/firestore-front.ts';
import { FirestoreAdminEmulator } from '../emulators/firestore-admin/firestore-admin-emulator.ts';
import { type GcsEmulator, startGcsEmulator } from '../emulators/gcs/gcs-emulator.ts';
import { KmsEmulator } from '../emulators/kms/kms-emulator.ts';
import {
  type ResourceManagerEmulator,
  startResourceManager,
} from '../emulators/resource-manager/resource-manager-emulator.ts';
import { projectRoot } from './gateway.ts';
import { committedKeys } from './kms.ts';

export interface EmptyCloud extends AsyncDisposable {
  readonly kms: KmsEmulator;
  readonly gcs: GcsEmulator;
  readonly firestore: FirestoreAdminEmulator;
  readonly resourceManager: ResourceManagerEmulator;
  /** HOST:PORT where documents are, guarded by the policies; undefined where there are none. */
  readonly documents: string | undefined;
  /** The environment's file, in a folder of its own. */
  readonly file: string;
  /** All that is there, in an order of its own. */
  state(): unknown;
}

/**
 * @param name of the example whose file is taken, with the emulators' places in it
 * @param options.documents HOST:PORT of Google's emulator of Firestore, for a database that can be used
 * @param options.changes fields of the file
 */
export async function startEmptyCloud(
  name: string,
  { documents, changes = {} }: { documents?: string; changes?: Readonly<Record<string, unknown>> } = {},
): Promise<EmptyCloud> {
  await using stack = new AsyncDisposableStack();
  const kms = stack.use(await KmsEmulator.start({ supply: committedKeys() }));
  const gcs = stack.use(await startGcsEmulator({ bucket: 'of-somebody-else' }));
  const firestore = stack.use(await FirestoreAdminEmulator.start());
  const resourceManager = stack.use(await startResourceManager());
  const front =
    documents === undefined
      ? undefined
      : stack.use(await startFirestoreFront(documents, firestore, resourceManager.policies));
  const folder = await mkdtemp(path.join(tmpdir(), 'relay-gateway-provision-'));
  stack.defer(() => rm(folder, { recursive: true }));
  const text = await readFile(path.join(projectRoot, 'environments', `${name}.yaml`), 'utf8');
  const example = { ...parse(text), ...changes };
  const endpoints = {
    kms: kms.endpoint,
    storage: gcs.url,
    firestore: front ? `http://${front.host}` : firestore.endpoint,
    resourceManager: resourceManager.endpoint,
  };
  const file = path.join(folder, `${name}.yaml`);
  await writeFile(file, stringify({ ...example, endpoints }));
  const { project, location, keyRing, bucket, database } = example;
  const ring = `projects/${project}/locations/${location}/keyRings/${keyRing}`;
  const resources = stack.move();
  return {
    kms,
    gcs,
    firestore,
    resourceManager,
    documents: front?.host,
    file,
    state() {
      firestore.settle();
      return {
        keys: ['identity', 'session-keys'].map((key) => {
          const { versions, traits, purpose } = kms.store.key(`${ring}/cryptoKeys/${key}`);
          return {
            purpose,
            traits: { ...traits, rotationPeriod: undefined },
            versions: versions.map(({ state }) => state),
          };
        }),
        bucket: gcs.bucket(bucket).metadata,
        database: firestore.databases.get(`projects/${project}/databases/${database}`),
        fields: [...firestore.fields.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
        policies: [
          ...[ring, `${ring}/cryptoKeys/identity`, `${ring}/cryptoKeys/session-keys`].map((resource) =>
            kms.admin.policies.get(resource),
          ),
          gcs.policies.get(`gs://${bucket}`),
          resourceManager.policies.get(`projects/${project}`),
        ].map(({ bindings }) => bindings),
      };
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
