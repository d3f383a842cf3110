/**
 * The cluster of `KUBECONFIG`, whichever that is: a namespace of the test's own, and a user with rights in it alone.
 *
 * | variable | default | |
 * |---|---|---|
 * | `KUBECONFIG` | (none) | a cluster on which the test may make namespaces and, where it has no storage class, volumes |
 * | `CLUSTER_IMAGE` | `local/relay-gateway:test` | the gateway's image, as the cluster's nodes have or find it |
 */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { CHART, helmProgram } from '../../support/helm.ts';
import { isTimeout, withPatience } from './busy.ts';

const run = promisify(execFile);

/** How long a command may take, in milliseconds. */
const LIMIT = 600_000;

/** Between two attempts to evict a pod, in milliseconds. */
const EVICTION_PAUSE = 1000;

const IMAGE = process.env['CLUSTER_IMAGE'] ?? 'local/relay-gateway:test';

/** The user and group of the image. */
const USER = 65_532;

/**
 * Values of pods that ask for little and end soon: there is one small machine for all. Asking for less CPU, they would start last
 * of all that this machine does.
 */
export const SMALL_PODS = {
  resources: { requests: { cpu: '60m', memory: '96Mi' } },
  drain: { waitSeconds: 3, graceSeconds: 10 },
};

/** The components of a gateway that is split. */
export const COMPONENTS = ['collection', 'cogrpc', 'ops', 'pohttp', 'poweb', 'worker'] as const;

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A namespace, as somebody with rights in it alone sees it. */
export interface Room extends AsyncDisposable {
  readonly namespace: string;
  /** The file by which that user reaches the cluster. */
  readonly kubeconfig: string;
  /** Values by which the chart finds the image, and clients its doors. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Runs kubectl in the namespace. @throws Error with what it said, when it fails */
  kubectl(...parameters: string[]): Promise<string>;
  /** Has a pod evicted, as a node does that is emptied: as soon as its budget allows. */
  evict(pod: string): Promise<void>;
  /** Runs helm in the namespace, whatever becomes of it. */
  helm(parameters: readonly string[], values?: unknown): Promise<Outcome>;
  /** What the doctor says, who is the chart's `helm test`. */
  examine(): Promise<Outcome>;
  /** An address of the cluster's node. */
  node(): Promise<string>;
  /** Where clients outside of the cluster find a Service of type NodePort. */
  nodePort(service: string): Promise<{ host: string; port: number }>;
  /** A volume for a claim of this name, where the cluster makes none by itself. */
  provideVolume(claim: string): Promise<void>;
}

function kubeconfigOfTest(): string {
  const file = process.env['KUBECONFIG'];
  if (!file) {
    throw new Error('KUBECONFIG must name a cluster to install into');
  }
  return file;
}

async function command(program: string, parameters: readonly string[], input?: string): Promise<Outcome> {
  const child = spawn(program, parameters, { stdio: ['pipe', 'pipe', 'pipe'], timeout: LIMIT });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  child.on('error', reject).on('close', (code) => resolve(code ?? 1));
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  return { code: await promise, stdout, stderr };
}

/** Runs kubectl as the cluster's administrator. */
export async function admin(...parameters: string[]): Promise<string> {
  return (await run(helmProgram('kubectl'), ['--kubeconfig', kubeconfigOfTest(), ...parameters], { timeout: LIMIT }))
    .stdout;
}

/** Makes objects, or changes them, as the cluster's administrator. @throws Error with what kubectl said */
export async function apply(...manifests: object[]): Promise<void> {
  const parameters = ['--kubeconfig', kubeconfigOfTest(), 'apply', '-f', '-'];
  const { code, stderr } = await command(
    helmProgram('kubectl'),
    parameters,
    manifests.map((manifest) => JSON.stringify(manifest)).join('\n---\n'),
  );
  if (code !== 0) {
    throw new Error(stderr);
  }
}

/** Makes a namespace that enforces restricted pods, and a user who may do there what its owners may, and nothing else. */
export async function openRoom(purpose: string): Promise<Room> {
  const namespace = `relay-${purpose}-${randomBytes(3).toString('hex')}`;
  const directory = mkdtempSync(path.join(tmpdir(), 'cluster-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  await apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } });
  stack.defer(async () => void (await admin('delete', 'namespace', namespace, '--wait', '--timeout=300s')));
  await apply(
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'installer', namespace } },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: 'installer', namespace },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'admin' },
      subjects: [{ kind: 'ServiceAccount', name: 'installer', namespace }],
    },
  );
  const kubeconfig = path.join(directory, 'kubeconfig');
  const token = (await admin('--namespace', namespace, 'create', 'token', 'installer', '--duration=2h')).trim();
  const config = JSON.parse(await admin('config', 'view', '--minify', '--flatten', '--output=json'));
  const context = { name: 'installer', context: { cluster: config.clusters[0].name, user: 'installer', namespace } };
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      ...config,
      users: [{ name: 'installer', user: { token } }],
      contexts: [context],
      'current-context': 'installer',
    }),
    { mode: 0o600 },
  );
  const kubectl = async (...parameters: string[]) => {
    const program = helmProgram('kubectl');
    const outcome = await command(program, ['--kubeconfig', kubeconfig, '--namespace', namespace, ...parameters]);
    if (outcome.code !== 0) {
      throw new Error(`kubectl ${parameters.join(' ')}: ${outcome.stderr}`);
    }
    return outcome.stdout;
  };
  const evict = async (pod: string) => {
    const deadline = performance.now() + LIMIT;
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: pod, namespace } };
    const at = `/api/v1/namespaces/${namespace}/pods/${pod}/eviction`;
    const parameters = ['--kubeconfig', kubeconfig, 'create', '--raw', at, '--filename', '-'];
    for (;;) {
      const { code, stderr } = await command(helmProgram('kubectl'), parameters, JSON.stringify(eviction));
      if (code === 0) {
        return;
      }
      // The budget is counted anew a little after the pods are: kubectl drain, too, asks again.
      if (!stderr.includes('disruption budget') || performance.now() > deadline) {
        throw new Error(stderr);
      }
      await wait(EVICTION_PAUSE);
    }
  };
  const [repository = '', tag = ''] = IMAGE.split(/:(?=[^:/]*$)/);
  const resources = stack.move();
  const helm = (parameters: readonly string[], values?: unknown) =>
    command(
      helmProgram(),
      ['--kubeconfig', kubeconfig, '--namespace', namespace, ...parameters, ...(values ? ['--values', '-'] : [])],
      values ? JSON.stringify(values) : undefined,
    );
  return {
    namespace,
    kubeconfig,
    kubectl,
    evict,
    helm,
    examine: () =>
      withPatience(
        () => helm(['test', 'gateway', '--timeout', '5m', '--logs']),
        ({ code, stdout }) => code !== 0 && isTimeout(stdout),
      ),
    values: {
      image: { repository, tag },
      components: Object.fromEntries(
        ['poweb', 'collection', 'pohttp', 'cogrpc'].map((door) => [door, { service: { type: 'NodePort' } }]),
      ),
    },
    node: nodeAddress,
    async nodePort(service) {
      const port = Number(await kubectl('get', 'service', service, '--output=jsonpath={.spec.ports[0].nodePort}'));
      return { host: await nodeAddress(), port };
    },
    async provideVolume(claim) {
      const classes = JSON.parse(await admin('get', 'storageclasses', '--output=json')) as {
        items: { metadata: { annotations?: Record<string, string> } }[];
      };
      const isDefault = 'storageclass.kubernetes.io/is-default-class';
      if (!classes.items.some(({ metadata }) => metadata.annotations?.[isDefault] === 'true')) {
        resources.use(await handmadeVolume(namespace, claim));
      }
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

function nodeAddress(): Promise<string> {
  return admin('get', 'nodes', '--output=jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}');
}

/** A folder of the cluster's node as a volume. It goes with the test. */
async function handmadeVolume(namespace: string, claim: string): Promise<AsyncDisposable> {
  const name = `${namespace}-${claim}`;
  const folder = `/var/tmp/${name}`;
  await onNode(name, `fs.mkdirSync('/host/${name}'); fs.chownSync('/host/${name}', ${USER}, ${USER})`);
  await apply({
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name },
    spec: {
      capacity: { storage: '20Gi' },
      accessModes: ['ReadWriteOnce'],
      persistentVolumeReclaimPolicy: 'Retain',
      claimRef: { namespace, name: claim },
      hostPath: { path: folder },
    },
  });
  return {
    async [Symbol.asyncDispose]() {
      await admin('delete', 'persistentvolume', name, '--wait=false');
      await onNode(name, `fs.rmSync('/host/${name}', { recursive: true })`);
    },
  };
}

/** Runs a line of JavaScript as root on the node, in a pod that sees `/var/tmp`. */
async function onNode(name: string, script: string): Promise<void> {
  const namespace = 'default';
  await apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: {
      restartPolicy: 'Never',
      containers: [
        {
          name: 'node',
          image: IMAGE,
          imagePullPolicy: 'IfNotPresent',
          command: ['node', '--eval', script],
          securityContext: { runAsUser: 0 },
          volumeMounts: [{ name: 'host', mountPath: '/host' }],
        },
      ],
      volumes: [{ name: 'host', hostPath: { path: '/var/tmp' } }],
    },
  });
  try {
    await admin(
      '--namespace',
      namespace,
      'wait',
      `pod/${name}`,
      '--for=jsonpath={.status.phase}=Succeeded',
      '--timeout=180s',
    );
  } finally {
    await admin('--namespace', namespace, 'delete', 'pod', name, '--wait');
  }
}

export { CHART };
