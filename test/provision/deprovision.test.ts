/** `relay-gateway deprovision`, against emulators of the cloud: no step by accident, each again after a failure. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { Cloud } from '../../src/provision/cloud.ts';
import { type Environment, readEnvironment } from '../../src/provision/environment.ts';
import { planOf } from '../../src/provision/plan.ts';
import { lockOf, obstacleTo } from '../../src/provision/removal.ts';
import { databaseName, ringName, wantsOf } from '../../src/provision/wants.ts';
import { type FirestoreEmulator, needsFirestore, newProject, startFirestore } from '../support/firestore-emulator.ts';
import { projectRoot } from '../support/gateway.ts';
import { type EmptyCloud, startEmptyCloud } from '../support/provisioned.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

const DAY = 86_400_000;
const ADDRESS = 'staging.gateway.example.org';

const day = (instant: number) => new Date(instant).toISOString().slice(0, 10);

let google: FirestoreEmulator;

/** A provisioned environment, with a message in its bucket. */
async function provisioned(): Promise<EmptyCloud & { readonly environment: Environment }> {
  const cloud = await startEmptyCloud('staging', { documents: google.host, changes: { project: newProject() } });
  const environment = readEnvironment(cloud.file, await readFile(cloud.file, 'utf8'));
  const wants = wantsOf(environment);
  await using access = new Cloud(environment);
  await access.make(planOf(wants, await access.find(wants)), Date.now(), () => undefined);
  cloud.gcs.bucket(environment.bucket).insert({ name: 'mailboxes/a/b' }, Buffer.from('octets'), new URLSearchParams());
  return { ...cloud, environment };
}

async function unlock({ file }: EmptyCloud, until = Date.now() + DAY): Promise<void> {
  await writeFile(file, `${await readFile(file, 'utf8')}\nremovableUntil: ${day(until)}\n`);
}

suite('relay-gateway deprovision', { concurrency: 1, ...needsFirestore() }, () => {
  before(async () => {
    google = await startFirestore();
  });

  after(() => google?.[Symbol.asyncDispose]());

  test('is locked but for a week at most, which the file tells', () => {
    const now = Date.UTC(2027, 0, 10, 12);
    const lockOn = (removableUntil: string | undefined) =>
      lockOf({ name: 'staging', removableUntil } as Environment, now)?.replace(/: .*/, '');
    assert.equal(lockOn(undefined), 'staging is locked');
    assert.equal(lockOn('2027-01-09'), 'staging is locked again');
    assert.equal(lockOn('2027-01-10'), undefined);
    assert.equal(lockOn('2027-01-17'), undefined);
    assert.equal(lockOn('2027-01-19'), 'staging is locked');
    assert.equal(lockOn('2027-13-01'), 'staging is locked again');
  });

  test('does nothing while it is locked, not confirmed, or out of order', async () => {
    await using cloud = await provisioned();
    const before = cloud.state();
    const run = (...more: string[]) => runRelayGateway(['deprovision', '--file', cloud.file, ...more]);
    const told = await run();
    assert.equal(told.code, 0, told.stderr);
    const golden = await readFile(path.join(import.meta.dirname, 'golden', 'deprovision.txt'), 'utf8');
    // Whoever has a kubectl has a context, or none.
    const stdout = told.stdout.replaceAll(cloud.environment.project, 'PROJECT').replace(/(current context), .*/, '$1');
    assert.equal(stdout, golden);
    const locked = await run('--step', 'empty', '--confirm', ADDRESS);
    assert.equal(locked.code, 1);
    assert.match(locked.stderr, /staging is locked/);
    await unlock(cloud);
    const mistaken = await run('--step', 'empty', '--confirm', 'gateway.example.org');
    assert.equal(mistaken.code, 1);
    assert.match(mistaken.stderr, /Nothing was done/);
    const early = await run('--step', 'remove', '--confirm', ADDRESS);
    assert.equal(early.code, 1);
    assert.match(early.stderr, /do --step empty first$/m);
    const wants = wantsOf(cloud.environment);
    await using access = new Cloud(cloud.environment);
    const tooEarly = obstacleTo('destroy-keys', cloud.environment, await access.find(wants), []);
    assert.match(tooEarly ?? '', /do --step remove first$/);
    assert.deepEqual(cloud.state(), before);
  });

  test('empties, removes and destroys, each step also when it is run twice, and provision makes new versions', async () => {
    await using cloud = await provisioned();
    const { environment, gcs, firestore, kms } = cloud;
    await unlock(cloud);
    const run = (step: string) =>
      runRelayGateway(['deprovision', '--file', cloud.file, '--step', step, '--confirm', ADDRESS]);

    assert.equal((await run('empty')).code, 0);
    assert.equal((await run('empty')).code, 0);
    assert.ok(firestore.emptied.includes('identity-keys') && firestore.emptied.includes('leases'));
    const waiting = await run('remove');
    assert.equal(waiting.code, 1);
    assert.match(waiting.stderr, /not empty yet/);
    assert.equal(gcs.bucket(environment.bucket).applyLifecycle(), 1);

    // Killed while its database is being removed.
    const { promise, resolve } = Promise.withResolvers<void>();
    firestore.bar('DeleteDatabase', 1, { reached: resolve, isCarriedOut: true });
    const running = spawn(
      process.execPath,
      ['src/cli/main.ts', 'deprovision', '--file', cloud.file, '--step', 'remove', '--confirm', ADDRESS],
      { cwd: projectRoot, env: { PATH: process.env['PATH'] }, stdio: 'ignore' },
    );
    const closed = once(running, 'close');
    await Promise.race([promise, closed.then(() => assert.fail('It ended before the barrier'))]);
    running.kill('SIGKILL');
    await closed;
    assert.equal((await run('remove')).code, 0);
    assert.throws(() => gcs.bucket(environment.bucket));
    assert.equal(firestore.databases.has(databaseName(environment)), false);
    const ring = ringName(environment);
    for (const key of ['identity', 'session-keys']) {
      assert.deepEqual(kms.admin.policies.get(`${ring}/cryptoKeys/${key}`).bindings, []);
    }
    assert.equal(kms.admin.policies.get(ring).bindings.length, 1);

    assert.equal((await run('destroy-keys')).code, 0);
    const again = await run('destroy-keys');
    assert.equal(again.code, 0);
    assert.match(again.stdout, /^destroy-keys: nothing is left to do$/m);
    const states = () => kms.store.key(`${ring}/cryptoKeys/identity`).versions.map(({ state }) => state);
    assert.deepEqual(states(), ['DESTROY_SCHEDULED']);

    const anew = await runRelayGateway(['provision', '--file', cloud.file]);
    assert.equal(anew.code, 0, anew.stderr);
    assert.deepEqual(states(), ['DESTROY_SCHEDULED', 'ENABLED']);
    assert.match(anew.stdout, /^identity +2 .*ENABLED +0[0-9a-f]{64}$/m);
  });

  test('has an example in its help that works', async () => {
    const help = await runRelayGateway(['deprovision', '--help']);
    const [, example = ''] = /\$ relay-gateway (deprovision .+)$/m.exec(help.stdout) ?? [];
    await using cloud = await startEmptyCloud('development');
    const parameters = example.replace('environments/development.yaml', cloud.file).split(' ');
    assert.ok(parameters.includes(cloud.file));
    const { code, stdout } = await runRelayGateway(parameters);
    assert.equal(code, 0);
    assert.match(stdout, /^remove: nothing is left to do$/m);
  });
});
