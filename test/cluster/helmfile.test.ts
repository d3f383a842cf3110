/** The helmfile of each environment, by real helmfile: checked, installed, installed again, taken away. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { newRecoveryKey } from '../../src/backup/recovery-key.ts';
import { needsCloud, startCloud } from '../support/cloud.ts';
import { projectRoot } from '../support/gateway.ts';
import { helmProgram, readManifests } from '../support/helm.ts';
import { needsTool } from '../support/needs-tool.ts';
import { newTlsCertificate } from '../support/tls-certificate.ts';
import { COMPONENTS, openRoom, type Room, SMALL_PODS } from './support/cluster.ts';
import { provideForeignKinds } from './support/foreign-kinds.ts';
import { openHostPorts } from './support/host-ports.ts';

const run = promisify(execFile);

const needsHelmfile = () => needsTool('helmfile', 'https://github.com/helmfile/helmfile, 1.8.0 or newer');

const REDIS_IMAGE = process.env['CLUSTER_REDIS_IMAGE'] ?? 'local/redis:test';

/** What must never be printed. */
const PLANTED = 'planted-secret-6c1f';

/** helm-diff's exit code where something would change. */
const DIFFERENT = 2;

interface Environment extends AsyncDisposable {
  /** Values over those of the environment, by which it runs on one machine. */
  readonly overrides: { readonly gateway?: object; readonly redis?: object };
  /** What is installed: an object's kind and name. */
  readonly expected: readonly string[];
}

interface Ended {
  readonly code: number;
  readonly text: string;
}

/** Runs helmfile, with values over those of the environment, whatever becomes of it; it prints no secret. */
type Helmfile = (environment: string, parameters: readonly string[], overrides?: object) => Promise<Ended>;

function helmfileIn(context: TestContext, kubeconfig: string): Helmfile {
  const directory = mkdtempSync(path.join(tmpdir(), 'helmfile-'));
  context.after(() => rmSync(directory, { recursive: true }));
  symlinkSync(helmProgram(), path.join(directory, 'helm'));
  const values = path.join(directory, 'overrides.yaml');
  return async (environment, parameters, overrides = {}) => {
    writeFileSync(values, JSON.stringify(overrides));
    const { code, stdout, stderr } = await run(
      'helmfile',
      ['--environment', environment, '--state-values-file', values, ...parameters],
      {
        cwd: projectRoot,
        maxBuffer: 64 * 1024 ** 2,
        env: {
          PATH: `${directory}:${process.env['PATH']}`,
          HOME: directory,
          KUBECONFIG: kubeconfig,
          HELM_PLUGINS: process.env['HELM_PLUGINS'] ?? '',
          ...imageOfTest(),
        },
      },
    ).then(
      (output) => ({ code: 0, ...output }),
      (error) => error as { code: number; stdout: string; stderr: string },
    );
    const text = stdout + stderr;
    assert.doesNotMatch(text, new RegExp(PLANTED));
    return { code, text };
  };
}

/** @throws AssertionError with what it said, where it failed */
async function well(ended: Promise<Ended>): Promise<string> {
  const { code, text } = await ended;
  assert.equal(code, 0, text);
  return text;
}

function imageOfTest(): Record<string, string> {
  const [repository = '', tag = ''] = (process.env['CLUSTER_IMAGE'] ?? 'local/relay-gateway:test').split(
    /:(?=[^:/]*$)/,
  );
  return { IMAGE_REPOSITORY: repository, IMAGE_TAG: tag };
}

/** One pod, beside a Redis of the helmfile's. */
async function prepareDevelopment(room: Room): Promise<Environment> {
  await room.provideVolume('data-gateway-relay-gateway-0');
  await room.kubectl('create', 'secret', 'generic', 'bystander', `--from-literal=password=${PLANTED}`);
  return {
    overrides: { redis: { image: REDIS_IMAGE } },
    expected: ['Deployment redis', 'StatefulSet gateway-relay-gateway', 'NetworkPolicy gateway-relay-gateway-single'],
    [Symbol.asyncDispose]: async () => {},
  };
}

/** On emulators of what docs/operate.md has made before, in the Secrets that it has made. */
async function prepareCloud(room: Room, moreExpected: readonly string[]): Promise<Environment> {
  await using stack = new AsyncDisposableStack();
  stack.use(await provideForeignKinds());
  const cloud = stack.use(await startCloud());
  const host = stack.use(await openHostPorts(await room.node()));
  const { REDIS_URL = '', ...environment } = cloud.environment;
  const redis = new Redis(REDIS_URL);
  await redis.config('SET', 'requirepass', PLANTED);
  redis.disconnect();
  const url = (await host.translate(REDIS_URL)).replace('redis://', `redis://:${PLANTED}@`);
  await room.kubectl('create', 'secret', 'generic', 'relay-redis', `--from-literal=url=${url}`);
  using tls = await newTlsCertificate('pods');
  await room.kubectl(
    'create',
    'secret',
    'tls',
    'relay-pods-tls',
    `--cert=${tls.certificateFile}`,
    `--key=${tls.keyFile}`,
  );
  const settings: Record<string, string> = {};
  for (const [variable, value] of Object.entries(environment)) {
    settings[variable] = await host.translate(value);
  }
  settings['RECOVERY_PUBLIC_KEY'] = (await newRecoveryKey()).publicHalf;
  const resources = stack.move();
  return {
    overrides: {
      gateway: {
        gateway: { settings },
        // No backup is due while the test looks on.
        backup: { schedule: '0 0 29 2 *' },
        pods: SMALL_PODS,
        // The chart's own are longer than the test has patience for.
        components: Object.fromEntries(COMPONENTS.map((name) => [name, SMALL_PODS])),
      },
    },
    expected: [
      ...COMPONENTS.flatMap((name) =>
        ['Deployment', 'NetworkPolicy', 'PodDisruptionBudget', 'ServiceAccount'].map(
          (kind) => `${kind} gateway-relay-gateway-${name}`,
        ),
      ),
      ...['poweb', 'collection', 'pohttp', 'cogrpc'].map((door) => `BackendConfig gateway-relay-gateway-${door}`),
      ...['Ingress', 'FrontendConfig', 'ManagedCertificate', 'ServiceMonitor', 'PrometheusRule'].map(
        (kind) => `${kind} gateway-relay-gateway`,
      ),
      ...['CronJob', 'ServiceAccount'].map((kind) => `${kind} gateway-relay-gateway-backup`),
      ...moreExpected,
    ],
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

const PREPARED: Readonly<Record<string, (room: Room) => Promise<Environment>>> = {
  development: prepareDevelopment,
  staging: (room) => prepareCloud(room, []),
  production: (room) =>
    prepareCloud(
      room,
      ['poweb', 'collection', 'pohttp', 'cogrpc', 'worker'].map(
        (name) => `HorizontalPodAutoscaler gateway-relay-gateway-${name}`,
      ),
    ),
};

/** What an installation that changes nothing leaves as it was. */
async function stateOf(room: Room): Promise<object> {
  const { stdout: manifest } = await room.helm(['get', 'manifest', 'gateway']);
  const pods = await room.kubectl(
    'get',
    'pods',
    '--selector=app.kubernetes.io/managed-by=Helm',
    '--output=jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {end}',
  );
  return { manifest, pods };
}

/** Resolves when autoscalers have given each its least number of pods, which they do without a measure, and all are ready. */
async function settled(room: Room): Promise<void> {
  const { items } = JSON.parse(await room.kubectl('get', 'horizontalpodautoscalers', '--output=json')) as {
    items: { metadata: { name: string }; spec: { minReplicas: number } }[];
  };
  for (const { metadata, spec } of items) {
    const scaled = `--for=jsonpath={.status.currentReplicas}=${spec.minReplicas}`;
    await room.kubectl('wait', `horizontalpodautoscaler/${metadata.name}`, scaled, '--timeout=300s');
  }
  for (const component of COMPONENTS) {
    await room.kubectl('rollout', 'status', `deployment/gateway-relay-gateway-${component}`, '--timeout=300s');
  }
}

/** That the cluster's API server knows each field of what was installed, and would take it once more. */
async function acceptsStrictly(context: TestContext, room: Room, expected: readonly string[]): Promise<void> {
  const { stdout } = await room.helm(['get', 'manifest', 'gateway']);
  const redis = await room.helm(['get', 'manifest', 'redis']);
  const text = redis.code === 0 ? `${stdout}\n---\n${redis.stdout}` : stdout;
  const there = new Set(readManifests(text).map(({ kind, metadata }) => `${kind} ${metadata.name}`));
  assert.deepEqual(
    expected.filter((object) => !there.has(object)),
    [],
  );
  const directory = mkdtempSync(path.join(tmpdir(), 'manifest-'));
  context.after(() => rmSync(directory, { recursive: true }));
  const file = path.join(directory, 'manifest.yaml');
  writeFileSync(file, text);
  const taken = await room.kubectl(
    'apply',
    '--dry-run=server',
    '--validate=strict',
    '--output=name',
    '--filename',
    file,
  );
  assert.equal(taken.trim().split('\n').length, there.size);
}

suite('helmfile', () => {
  for (const [environment, prepare] of Object.entries(PREPARED)) {
    test(`finds ${environment} fine, and prints no secret`, needsHelmfile(), async (context) => {
      const helmfile = helmfileIn(context, '/nowhere');
      await well(helmfile(environment, ['lint']));
      assert.match(await well(helmfile(environment, ['template'])), /kind: (StatefulSet|Deployment)/);
    });

    const needs = environment === 'development' ? needsHelmfile() : { ...needsHelmfile(), ...needsCloud() };
    test(`installs ${environment}; a second time changes nothing`, needs, async (context) => {
      await using room = await openRoom(environment);
      await using prepared = await prepare(room);
      const { overrides, expected } = prepared;
      const helmfile = helmfileIn(context, room.kubeconfig);

      const begun = performance.now();
      await well(helmfile(environment, ['sync'], overrides));
      context.diagnostic(`installed in ${Math.round(performance.now() - begun)} ms`);
      await acceptsStrictly(context, room, expected);
      if (environment === 'development') {
        const { code, stdout, stderr } = await room.examine();
        assert.equal(code, 0, stdout + stderr);
      } else {
        await settled(room);
      }

      const before = await stateOf(room);
      await well(helmfile(environment, ['sync'], overrides));
      assert.deepEqual(await stateOf(room), before);

      if ((await room.helm(['plugin', 'list'])).stdout.includes('diff')) {
        await well(helmfile(environment, ['diff', '--suppress-secrets', '--detailed-exitcode'], overrides));
        await well(helmfile(environment, ['apply', '--suppress-secrets'], overrides));
        assert.deepEqual(await stateOf(room), before);
        const changed = withSetting(overrides, 'CARGO_COUNT', '1234');
        const { code, text } = await helmfile(environment, ['diff', '--detailed-exitcode'], changed);
        assert.equal(code, DIFFERENT, text);
        assert.match(text, /\+ +CARGO_COUNT: .?1234/);
        await well(helmfile(environment, ['apply', '--suppress-secrets'], changed));
        const after = await well(helmfile(environment, ['diff', '--detailed-exitcode'], changed));
        assert.doesNotMatch(after, /1234/);
      } else {
        context.diagnostic('no helm-diff plugin: diff and apply were not tried');
      }
      await well(helmfile(environment, ['destroy'], overrides));
      assert.equal(await room.kubectl('get', 'deployments,statefulsets,horizontalpodautoscalers'), '');
    });
  }
});

function withSetting(overrides: Environment['overrides'], variable: string, value: string): object {
  const gateway = (overrides.gateway ?? {}) as { gateway?: { settings?: object } };
  const settings = { ...gateway.gateway?.settings, [variable]: value };
  return { ...overrides, gateway: { ...gateway, gateway: { ...gateway.gateway, settings } } };
}
