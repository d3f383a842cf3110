/**
 * A cloud as `relay-gateway provision` makes it, whose services enforce the rights that it gave: each component of a gateway
 * reaches them in its own name alone.
 */
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { type Component, componentsOf, type Environment, readEnvironment } from '../../src/provision/environment.ts';
import { startFirestoreFront } from '../emulators/firestore/firestore-front.ts';
import type { Policies } from '../emulators/iam.ts';
import type { Cloud } from './cloud.ts';
import { newProject, startFirestore } from './firestore-emulator.ts';
import type { Settings } from './fleet.ts';
import { startGrpcProxy } from './grpc-proxy.ts';
import { type EmptyCloud, startEmptyCloud } from './provisioned.ts';
import { startRedis } from './redis-server.ts';
import { runRelayGateway } from './relay-gateway.ts';

export interface GuardedCloud extends Cloud {
  readonly provisioned: EmptyCloud & { readonly documents: string };
  readonly file: Environment;
  /** Who a component is to IAM. */
  principalOf(component: Component): string;
  /** Settings of a gateway that keeps everything there, in the name of this component. */
  settingsOf(component: Component): Settings;
  /** By name: all that says who may do what. */
  readonly policies: Readonly<Record<string, Policies>>;
}

/** How long the command may take on a machine that is busy, in milliseconds. */
const LIMIT = 100_000;

/**
 * Provisions it by the command, in no name, which may do everything.
 *
 * @param name of the example of an environment's file
 * @param more fields of the file
 */
export async function startGuardedCloud(
  name = 'staging',
  more: Readonly<Record<string, unknown>> = {},
): Promise<GuardedCloud> {
  await using stack = new AsyncDisposableStack();
  const [redis, firestore] = await Promise.all([startRedis(), startFirestore()]);
  stack.use(redis);
  stack.use(firestore);
  const changes = { internetAddress: 'gateway.test', project: newProject(), ...more };
  const cloud = stack.use(await startEmptyCloud(name, { documents: firestore.host, changes }));
  const { code, stderr } = await runRelayGateway(['provision', '--file', cloud.file], {}, LIMIT);
  if (code !== 0) {
    throw new Error(`It cannot be provisioned: ${stderr}`);
  }
  const file = readEnvironment(cloud.file, await readFile(cloud.file, 'utf8'));
  const values = parse(await readFile(cloud.file.replace('.yaml', '.values.yaml'), 'utf8'));
  const { kms, gcs, documents = '' } = cloud;
  const settings = {
    // What the chart sets where a gateway is split.
    ...{ OBJECT_STORE: 'gcs', RECORDS: 'firestore', KEYS: 'gcp-kms', SIGNALS: 'redis', REDIS_URL: redis.url },
    ...(values.gateway.gateway.settings as Settings),
  };

  /** As a metadata server does in a pod: every call gets the credentials of the pod's account. */
  const identified = async (principal: string): Promise<Settings> => {
    const headers = { authorization: `Bearer ${principal}` };
    const [records, keys, messages] = await Promise.all([
      startFirestoreFront(firestore.host, cloud.firestore, cloud.resourceManager.policies, principal),
      startGrpcProxy(new URL(kms.endpoint).host, { headers }),
      gcs.urlFor(principal),
    ]);
    stack.use(records);
    stack.use(keys);
    return {
      FIRESTORE_EMULATOR_HOST: records.host,
      KMS_ENDPOINT: `http://${keys.host}`,
      STORAGE_EMULATOR_HOST: messages,
    };
  };
  const { projectNumber, project, namespace, accounts } = file;
  const pool = `projects/${projectNumber}/locations/global/workloadIdentityPools/${project}.svc.id.goog`;
  const principalOf = (component: Component) =>
    `principal://iam.googleapis.com/${pool}/subject/ns/${namespace}/sa/${accounts[component]}`;
  const places = new Map<Component, Settings>();
  for (const component of componentsOf(file)) {
    places.set(component, await identified(principalOf(component)));
  }
  const resources = stack.move();
  return {
    redis,
    firestore,
    gcs,
    kms,
    environment: settings,
    provisioned: { ...cloud, documents },
    file,
    principalOf,
    settingsOf: (component) => ({ ...settings, ...places.get(component) }),
    policies: { kms: kms.admin.policies, gcs: gcs.policies, projects: cloud.resourceManager.policies },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
