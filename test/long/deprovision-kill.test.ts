/** `relay-gateway deprovision`, each step killed while the cloud has one of its calls in hand, and run again, twice. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, suite, test } from 'node:test';
import { type Environment, readEnvironment } from '../../src/provision/environment.ts';
import { REMOVAL_STEPS, type RemovalStep } from '../../src/provision/removal.ts';
import { databaseName, ringName } from '../../src/provision/wants.ts';
import type { FirestoreAdminMethod } from '../emulators/firestore-admin/firestore-admin-emulator.ts';
import type { KmsMethod } from '../emulators/kms/kms-emulator.ts';
import { type FirestoreEmulator, needsFirestore, newProject, startFirestore } from '../support/firestore-emulator.ts';
import { projectRoot } from '../support/gateway.ts';
import { type EmptyCloud, startEmptyCloud } from '../support/provisioned.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

type Reached = () => void;
type Barrier = (cloud: EmptyCloud, reached: Reached) => void;

const STEPS = REMOVAL_STEPS.filter((step) => step !== 'stop');
const ADDRESS = 'staging.gateway.example.org';

const never = new Promise<never>(() => undefined);

const ofFirestore =
  (method: FirestoreAdminMethod, isCarriedOut: boolean): Barrier =>
  ({ firestore }, reached) =>
    firestore.bar(method, 1, { reached, isCarriedOut });

const ofKms =
  (method: KmsMethod, count: number, isCarriedOut: boolean): Barrier =>
  ({ kms }, reached) => {
    kms.fail(method, {}, count - 1);
    kms.fail(method, { reached, ...(isCarriedOut ? { isSilent: true } : { until: never }) });
  };

const ofStorage =
  (operation: 'buckets.patch' | 'buckets.delete' | 'buckets.setIamPolicy'): Barrier =>
  ({ gcs }, reached) =>
    void gcs.faults.hold(operation).reached.then(reached);

/** By step: three moments or more. */
const BARRIERS: Readonly<Record<string, Readonly<Record<string, Barrier>>>> = {
  empty: {
    'before the lifecycle is changed': ofStorage('buckets.patch'),
    'before documents are deleted': ofFirestore('BulkDeleteDocuments', false),
    'when documents are being deleted, and not told so': ofFirestore('BulkDeleteDocuments', true),
  },
  remove: {
    'when it has taken the first right on a key, and is not told so': ofKms('SetIamPolicy', 1, true),
    'before it takes the third right on a key': ofKms('SetIamPolicy', 3, false),
    'before it takes the right on the bucket': ofStorage('buckets.setIamPolicy'),
    'before the bucket goes': ofStorage('buckets.delete'),
    'when the delete protection is off, and not told so': ofFirestore('UpdateDatabase', true),
  },
  'destroy-keys': {
    'before the first version is scheduled': ofKms('DestroyCryptoKeyVersion', 1, false),
    'when the first version is scheduled, and not told so': ofKms('DestroyCryptoKeyVersion', 1, true),
    'before the second version is scheduled': ofKms('DestroyCryptoKeyVersion', 2, false),
  },
};

suite('relay-gateway deprovision that is killed', { concurrency: 1, ...needsFirestore() }, () => {
  let google: FirestoreEmulator;

  before(async () => {
    google = await startFirestore();
  });

  after(() => google?.[Symbol.asyncDispose]());

  /** A provisioned environment that is unlocked, with a message in its bucket. */
  async function unlocked(): Promise<EmptyCloud & { readonly environment: Environment }> {
    const cloud = await startEmptyCloud('staging', { documents: google.host, changes: { project: newProject() } });
    const made = await runRelayGateway(['provision', '--file', cloud.file]);
    assert.equal(made.code, 0, made.stderr);
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
    await writeFile(cloud.file, `${await readFile(cloud.file, 'utf8')}\nremovableUntil: ${tomorrow}\n`);
    const environment = readEnvironment(cloud.file, await readFile(cloud.file, 'utf8'));
    const message = Buffer.from('octets');
    cloud.gcs.bucket(environment.bucket).insert({ name: 'mailboxes/a/b' }, message, new URLSearchParams());
    return { ...cloud, environment };
  }

  const parameters = ({ file }: EmptyCloud, step: RemovalStep) => [
    ...['deprovision', '--file', file, '--step', step, '--confirm', ADDRESS],
  ];

  async function run(cloud: EmptyCloud & { readonly environment: Environment }, step: RemovalStep): Promise<void> {
    const { code, stderr } = await runRelayGateway(parameters(cloud, step));
    assert.equal(code, 0, stderr);
    if (step === 'empty') {
      cloud.gcs.bucket(cloud.environment.bucket).applyLifecycle();
    }
  }

  async function killAt(cloud: EmptyCloud, step: RemovalStep, barrier: Barrier): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    barrier(cloud, resolve);
    const running = spawn(process.execPath, ['src/cli/main.ts', ...parameters(cloud, step)], {
      cwd: projectRoot,
      env: { PATH: process.env['PATH'] },
      stdio: 'ignore',
    });
    const closed = once(running, 'close');
    await Promise.race([promise, closed.then(() => assert.fail('It ended before the barrier'))]);
    running.kill('SIGKILL');
    const [, signal] = await closed;
    assert.equal(signal, 'SIGKILL');
  }

  for (const [killed, moments] of Object.entries(BARRIERS)) {
    for (const [moment, barrier] of Object.entries(moments)) {
      test(`in step ${killed}, ${moment}, comes to the same end`, async () => {
        await using cloud = await unlocked();
        const { environment, firestore, gcs, kms, resourceManager } = cloud;
        for (const step of STEPS) {
          if (step === killed) {
            await killAt(cloud, step, barrier);
          }
          await run(cloud, step);
          if (step === killed && step !== 'empty') {
            await run(cloud, step);
          }
        }
        const ring = ringName(environment);
        assert.throws(() => gcs.bucket(environment.bucket));
        assert.equal(firestore.databases.has(databaseName(environment)), false);
        assert.ok(firestore.emptied.includes('private-gateways'));
        assert.deepEqual(resourceManager.policies.get(`projects/${environment.project}`).bindings, []);
        for (const key of ['identity', 'session-keys']) {
          assert.deepEqual(kms.admin.policies.get(`${ring}/cryptoKeys/${key}`).bindings, [], key);
          const states = kms.store.key(`${ring}/cryptoKeys/${key}`).versions.map(({ state }) => state);
          assert.deepEqual(states, ['DESTROY_SCHEDULED'], key);
        }
      });
    }
  }
});
