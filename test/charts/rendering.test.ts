/** What the chart renders, by real helm, for all sorts of values. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { suite, test } from 'node:test';
import { parse } from 'yaml';
import { CHART, type Manifest, render } from '../support/helm.ts';
import { type Container, openPods, type PodSpec, podsOf, propertyFaults } from './manifest-properties.ts';
import { schemaFaults } from './manifest-schemas.ts';
import { ENVIRONMENTS, VALUE_SETS } from './value-sets.ts';

const renderings = new Map<string, Promise<Manifest[]>>();

/** Each set once, however many tests look at it. */
function rendered(name: string): Promise<Manifest[]> {
  const rendering = renderings.get(name) ?? render({ values: VALUE_SETS[name] });
  renderings.set(name, rendering);
  return rendering;
}

suite('The chart', { concurrency: 2 }, () => {
  for (const name of Object.keys(VALUE_SETS)) {
    test(`renders what Kubernetes takes and what is safe: ${name}`, async () => {
      const manifests = await rendered(name);
      assert.ok(podsOf(manifests).some(({ isService }) => isService));
      assert.deepEqual(schemaFaults(manifests), []);
      assert.deepEqual(propertyFaults(manifests), []);
    });
  }

  test('bounds whom pods may speak to, unless it is told not to', async () => {
    for (const name of ['one pod', 'split', 'with clients, watchers and ways out of its own']) {
      assert.deepEqual(openPods(await rendered(name)), []);
    }
    assert.equal(openPods(await rendered('without policies of the network, under the longest of names')).length, 1);
  });

  test('brings all alerts and dashboards that there are, as they are', async () => {
    const manifests = await rendered('split on GKE, scaled, watched and visited by the doctor');
    const boards = globSync('dashboards/*.json', { cwd: CHART });
    assert.ok(boards.length > 0);
    for (const board of boards) {
      const texts = manifests.map((manifest) => (manifest['data'] as Record<string, string>)?.[path.basename(board)]);
      const text = texts.find((found) => found !== undefined) ?? '';
      assert.deepEqual(JSON.parse(text), JSON.parse(readFileSync(path.join(CHART, board), 'utf8')));
    }
    const rules = manifests.find(({ kind }) => kind === 'PrometheusRule')?.['spec'] as { groups: unknown[] };
    const files = globSync('rules/*.yaml', { cwd: CHART }).sort();
    const groups = files.flatMap(
      (file) => (parse(readFileSync(path.join(CHART, file), 'utf8')) as typeof rules).groups,
    );
    assert.ok(groups.length > 0);
    assert.deepEqual(rules.groups, groups);
  });

  for (const [name, values] of Object.entries(ENVIRONMENTS)) {
    test(`renders what Kubernetes takes and what is safe in the environment ${name}`, async () => {
      const manifests = await render({ values });
      assert.deepEqual(schemaFaults(manifests), []);
      assert.deepEqual(propertyFaults(manifests), []);
      const { containers } = firstPod(manifests);
      assert.equal(containers[0]?.env?.find(({ name: variable }) => variable === 'REDIS_URL')?.value, undefined);
    });
  }

  test('of Redis, for development, renders what Kubernetes takes, and the Secret that the gateway refers to', async () => {
    const manifests = await render({ chart: path.join(CHART, '../redis') });
    assert.deepEqual(schemaFaults(manifests), []);
    assert.ok(manifests.some(({ kind }) => kind === 'Secret'));
    const { containers, securityContext } = firstPod(manifests);
    assert.equal(securityContext?.runAsNonRoot, true);
    assert.equal(containers[0]?.securityContext?.readOnlyRootFilesystem, true);
  });
});

/** A copy of the rendering in which one thing is changed. */
function changed(manifests: readonly Manifest[], change: (copy: Manifest[]) => void): Manifest[] {
  const copy = structuredClone(manifests) as Manifest[];
  change(copy);
  return copy;
}

type Writable<Value> = { -readonly [Key in keyof Value]: Writable<Value[Key]> };

const firstPod = (manifests: Manifest[]) =>
  podsOf(manifests).find(({ isService }) => isService)?.spec as Writable<PodSpec>;
const firstContainer = (manifests: Manifest[]) => firstPod(manifests).containers[0] as Writable<Container>;
const first = (manifests: Manifest[], kind: string) =>
  manifests.find((manifest) => manifest.kind === kind)?.['spec'] as Record<string, Record<string, never>>;

/** What each change must be found as. */
const FAULTS: Readonly<Record<string, (manifests: Manifest[]) => void>> = {
  'may run as root': (m) => delete firstPod(m).securityContext?.runAsNonRoot,
  'has no user that is not root': (m) => Object.assign(firstPod(m).securityContext ?? {}, { runAsUser: 0 }),
  'has no seccomp profile': (m) => delete firstPod(m).securityContext?.seccompProfile,
  "is given Kubernetes' credentials": (m) => delete firstPod(m).automountServiceAccountToken,
  'shares a namespace with its node': (m) => Object.assign(firstPod(m), { hostPID: true }),
  'mounts a folder of its node': (m) =>
    Object.assign(firstPod(m), { volumes: [{ name: 'x', hostPath: { path: '/' } }] }),
  'has no affinity': (m) => delete firstPod(m).affinity,
  'may gain privileges': (m) => delete firstContainer(m).securityContext?.allowPrivilegeEscalation,
  'runs as root': (m) => Object.assign(firstContainer(m).securityContext ?? {}, { runAsUser: 0 }),
  'can write its image': (m) => delete firstContainer(m).securityContext?.readOnlyRootFilesystem,
  'keeps capabilities': (m) => delete firstContainer(m).securityContext?.capabilities?.drop,
  'has no limit of memory': (m) => delete firstContainer(m).resources?.limits?.['memory'],
  'has no limit of cpu': (m) => delete firstContainer(m).resources?.limits?.['cpu'],
  'requests no memory': (m) => delete firstContainer(m).resources?.requests?.['memory'],
  'has a secret in it': (m) => firstContainer(m).env?.unshift({ name: 'REDIS_URL', value: 'redis://:secret@redis' }),
  'has no readiness probe': (m) => delete firstContainer(m).readinessProbe,
  'is killed before its grace is over': (m) => Object.assign(firstPod(m), { terminationGracePeriodSeconds: 30 }),
  'takes old pods away before new ones serve': (m) =>
    Object.assign(first(m, 'Deployment')['strategy']?.['rollingUpdate'] ?? {}, { maxUnavailable: 1 }),
  'may have no pod at all': (m) => Object.assign(first(m, 'Deployment'), { replicas: 0 }),
  'has no disruption budget of its own': (m) =>
    m.splice(
      m.findIndex(({ kind }) => kind === 'PodDisruptionBudget'),
      1,
    ),
  'selects no pod': (m) => Object.assign(first(m, 'Service')['selector'] ?? {}, { nobody: 'has this' }),
  'gives nobody rights': (m) => m.push({ apiVersion: 'v1', kind: 'ClusterRole', metadata: { name: 'x' } }),
};

suite('A rendering', () => {
  for (const [fault, change] of Object.entries(FAULTS)) {
    test(`is found out where it ${fault}`, async () => {
      const faults = propertyFaults(changed(await rendered('split'), change));
      assert.equal(faults.length, 1, faults.join('\n'));
      assert.match(faults.join(), new RegExp(`${fault}$`));
    });
  }

  const misspelt: Readonly<Record<string, (manifests: Manifest[]) => void>> = {
    'a field that Kubernetes does not have': (m) => Object.assign(firstContainer(m), { imagePullPolice: 'Always' }),
    'a number where a text belongs': (m) => Object.assign(firstContainer(m), { image: 5 }),
    'no selector': (m) => delete first(m, 'Deployment')['selector'],
    'two objects of one name': (m) => m.push(structuredClone(m[0] as Manifest)),
  };
  for (const [fault, change] of Object.entries(misspelt)) {
    test(`is found out with ${fault}`, async () => {
      const faults = schemaFaults(changed(await rendered('split'), change));
      assert.equal(faults.length, 1, faults.join('\n'));
    });
  }
});
