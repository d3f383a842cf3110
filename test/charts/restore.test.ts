/** A gateway from its backup, as the chart has it: a Job on the stores, and no pod beside it. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { readConfig } from '../../src/config.ts';
import { type Manifest, render, template } from '../support/helm.ts';
import { type PodSpec, podsOf, propertyFaults } from './manifest-properties.ts';
import { schemaFaults } from './manifest-schemas.ts';
import { VALUE_SETS } from './value-sets.ts';

const RESTORE = { from: 'gs://relay-backups/last.backup', recoveryKeySecret: 'recovery-key' };

/** With all that would run by itself on stores that are not there yet. */
const SETS = {
  single: 'one pod on a claim made by hand, watched and backed up',
  split: 'split behind a Gateway, backed up',
} as const;

type Volumes = readonly {
  readonly name: string;
  readonly persistentVolumeClaim?: { readonly claimName: string };
  readonly secret?: { readonly secretName: string; readonly defaultMode: number };
}[];

const rendered = (mode: keyof typeof SETS, values: object = {}): Promise<Manifest[]> =>
  render({ values: { ...VALUE_SETS[SETS[mode]], ...values, restore: RESTORE } });

/** The one Job there is. */
function jobOf(manifests: readonly Manifest[]): { name: string; spec: PodSpec; volumes: Volumes } {
  const jobs = podsOf(manifests).filter(({ owner }) => owner.kind === 'Job' || owner.kind === 'CronJob');
  assert.deepEqual(
    jobs.map(({ owner }) => owner.kind),
    ['Job'],
  );
  const [job] = jobs;
  assert.ok(job);
  return { name: job.owner.metadata.name, spec: job.spec, volumes: job.spec.volumes as Volumes };
}

/** How many pods each of the gateway's workloads has. */
const replicas = (manifests: readonly Manifest[]) =>
  manifests
    .filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet')
    .map(({ spec }) => (spec as { replicas?: number }).replicas);

suite('The chart, told to restore a backup,', { concurrency: 2 }, () => {
  for (const mode of ['single', 'split'] as const) {
    test(`has a Job do so, with the gateway's settings and the key from its Secret, and no other pod: ${mode}`, async () => {
      const manifests = await rendered(mode, {
        ...(mode === 'split' && { pods: { autoscaling: { enabled: true } } }),
      });
      assert.deepEqual(schemaFaults(manifests), []);
      const faults = propertyFaults(manifests);
      assert.deepEqual(
        faults.filter((fault) => !fault.endsWith(' may have no pod at all')),
        [],
      );
      assert.deepEqual(replicas(manifests), mode === 'single' ? [0] : [0, 0, 0, 0, 0, 0]);
      assert.ok(!manifests.some(({ kind }) => kind === 'HorizontalPodAutoscaler'));

      const { name, spec, volumes } = jobOf(manifests);
      assert.equal(name, 'gateway-relay-gateway-restore-1');
      const [container] = spec.containers;
      const { args, env = [], volumeMounts = [] } = container ?? assert.fail();
      const key = '/recovery-key/recovery.key';
      assert.deepEqual(args, ['restore', '--from', RESTORE.from, '--recovery-key', key]);
      assert.deepEqual(
        volumeMounts.map(({ mountPath }) => mountPath),
        ['/data', '/recovery-key'],
      );
      const secret = volumes.find(({ name: volume }) => volume === 'recovery-key')?.secret;
      assert.deepEqual(secret, { secretName: 'recovery-key', defaultMode: 0o440 });
      const environment = Object.fromEntries(
        env.map(({ name: variable, value = 'redis://redis' }) => [variable, value]),
      );
      // Those sets have none that could be used.
      environment['RECOVERY_PUBLIC_KEY'] = '';
      assert.equal(readConfig(environment).internetAddress, 'gateway.example.org');
      // No pod is there that it could be put beside.
      assert.equal(spec.affinity, undefined);
    });
  }

  test('does so on the volume of the one pod, or with the account of the workers', async () => {
    const single = jobOf(await rendered('single'));
    assert.equal(single.volumes.find(({ name }) => name === 'data')?.persistentVolumeClaim?.claimName, 'stores');
    assert.equal(single.spec.serviceAccountName, 'gateway-relay-gateway-single');
    const split = jobOf(await rendered('split'));
    assert.equal(split.volumes.find(({ name }) => name === 'data')?.persistentVolumeClaim, undefined);
    assert.equal(split.spec.serviceAccountName, 'by-hand');
  });

  test('refuses to without a key, and from where no pod could read it', async () => {
    for (const [restore, told] of [
      [{ ...RESTORE, recoveryKeySecret: '' }, /restore\.recoveryKeySecret must name/],
      [{ ...RESTORE, from: '/data/last.backup' }, /restore\/from/],
      [{ ...RESTORE, from: 'gs://relay-backups/' }, /restore\/from/],
    ] as const) {
      const { code, stderr } = await template({ values: { ...VALUE_SETS['one pod'], restore } });
      assert.notEqual(code, 0);
      assert.match(stderr, told);
    }
  });
});
