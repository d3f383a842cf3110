/**
 * `relay-gateway deprovision --step stop`: a gateway at work is not emptied, helmfile is called as a person would call it, and
 * what it leaves at work is noticed. The program that is found as helmfile ends a real process, or does not.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { Redis } from 'ioredis';
import { needsCloud } from '../support/cloud.ts';
import { projectRoot, type SpawnedGateway, spawnGateway } from '../support/gateway.ts';
import { type GuardedCloud, startGuardedCloud } from '../support/guarded-cloud.ts';
import { type CommandOutcome, runRelayGateway } from '../support/relay-gateway.ts';

const ADDRESS = 'gateway.test';
/** How long a command may take on a machine that is busy, in milliseconds. */
const LIMIT = 100_000;
const HELMFILE = path.join(projectRoot, 'helmfile.yaml');
const PLACE = '--kube-context test-cluster --namespace relay';
const DESTROY = `helmfile --file ${HELMFILE} --environment staging ${PLACE} destroy`;

suite('relay-gateway deprovision --step stop', { concurrency: 1, ...needsCloud() }, () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'relay-gateway-stop-'));
  const called = path.join(folder, 'called');
  let cloud: GuardedCloud;
  let gateway: SpawnedGateway;

  before(async () => {
    cloud = await startGuardedCloud();
    const { file } = cloud.provisioned;
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
    const text = await readFile(file, 'utf8');
    await writeFile(file, `${text.replace(/^context:.*$/m, '')}\ncontext: test-cluster\nremovableUntil: ${tomorrow}\n`);
    provide('kubectl', 'exit 0');
    const environment = { ...cloud.settingsOf('poweb'), SERVICES: 'poweb,ops', HOUSEKEEPING_PERIOD: '1s' };
    gateway = await spawnGateway({ environment });
    // It tells that it lives soon after it is ready.
    while (!(await run('--dry-run')).stdout.includes('at work: poweb,ops (')) {}
  });

  after(async () => {
    await gateway?.[Symbol.asyncDispose]();
    await cloud?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A program of this name for the commands to find, which notes how it was called. */
  function provide(name: 'helmfile' | 'kubectl', script: string): void {
    const program = path.join(folder, name);
    writeFileSync(program, `#!/bin/sh\nPATH=/usr/bin:/bin\necho "${name} $*" >> ${called}\n${script}\n`);
    chmodSync(program, 0o755);
  }

  const parameters = (...more: string[]) => [
    ...['deprovision', '--file', cloud.provisioned.file, '--helmfile', HELMFILE, '--confirm', ADDRESS],
    ...more,
  ];
  const run = (...more: string[]): Promise<CommandOutcome> =>
    runRelayGateway(parameters(...more), { PATH: folder }, LIMIT);
  const calls = () => readFileSync(called, 'utf8').trim().split('\n');

  test('is what comes first: a gateway at work is not emptied', async () => {
    const { code, stderr } = await run('--step', 'empty');
    assert.equal(code, 1);
    assert.match(stderr, /^The gateway is at work \(.*poweb,ops \([0-9a-f]{16}\), until .*\): do --step stop first$/m);
  });

  test('tells what to run where there is no helmfile', async () => {
    const { code, stderr } = await run('--step', 'stop');
    assert.equal(code, 1);
    assert.match(stderr, /There is no helmfile on the PATH/);
    assert.ok(stderr.includes(`\n  ${DESTROY}\n`), stderr);
    const elsewhere = await run('--step', 'stop', '--helmfile', path.join(folder, 'helmfile.yaml'));
    assert.equal(elsewhere.code, 1);
    assert.match(elsewhere.stderr, /say where by --helmfile/);
  });

  test('ends with what helmfile says, and does nothing else', async () => {
    provide('helmfile', 'echo "no cluster" >&2; exit 3');
    const { code, stderr } = await run('--step', 'stop');
    assert.equal(code, 1);
    assert.match(stderr, /^no cluster$.* ended with 3: mend what it says/ms);
  });

  test('notices who goes on, and what is left in the cluster', async () => {
    provide('helmfile', 'exit 0');
    const onGoing = await run('--step', 'stop', '--wait', '1s');
    assert.equal(onGoing.code, 1);
    assert.match(onGoing.stderr, /Still there after 1 s: .*poweb,ops \([0-9a-f]{16}\), until /);
    provide('kubectl', 'case "$*" in *configmaps*) echo gateway.test;; *) echo ingress/relay;; esac');
    const left = await run('--step', 'stop', '--wait', '1s');
    assert.equal(left.code, 1);
    assert.match(left.stderr, /Still there after 1 s: .*; ingress\/relay\./);
  });

  test('takes nothing away that is for another Internet address, or without being told the cluster', async () => {
    provide('kubectl', 'case "$*" in *configmaps*) echo production.example.org;; esac');
    rmSync(called);
    const others = await run('--step', 'stop');
    assert.equal(others.code, 1);
    assert.match(others.stderr, /in test-cluster is for production\.example\.org, not for gateway\.test$/m);
    assert.ok(!calls().some((call) => call.startsWith('helmfile')));
    const file = path.join(folder, 'environment.yaml');
    writeFileSync(file, readFileSync(cloud.provisioned.file, 'utf8').replace(/^context:.*$/m, ''));
    const nowhere = await runRelayGateway(
      [...['deprovision', '--file', file, '--helmfile', HELMFILE], ...['--confirm', ADDRESS, '--step', 'stop']],
      { PATH: folder },
      LIMIT,
    );
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /does not say in which cluster it is: add `context:`/);
  });

  test('is killed while helmfile is at work, and comes to its end when it is run again, and once more', async () => {
    provide('kubectl', 'exit 0');
    provide('helmfile', 'while :; do sleep 1; done');
    rmSync(called);
    const noted = watched(called);
    const running = spawn(process.execPath, ['src/cli/main.ts', ...parameters('--step', 'stop')], {
      cwd: projectRoot,
      env: { PATH: folder },
      stdio: 'ignore',
      detached: true,
    });
    const closed = once(running, 'close');
    await Promise.race([noted('helmfile'), closed.then(() => assert.fail('It ended before helmfile was called'))]);
    // With what it runs, as a terminal does that goes.
    process.kill(-(running.pid as number), 'SIGKILL');
    await closed;
    assert.equal((await fetch(`${gateway.ops}/livez`)).status, 200);

    provide('helmfile', `kill -TERM ${gateway.process.pid} 2>/dev/null; exit 0`);
    rmSync(called);
    const ended = await run('--step', 'stop');
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stdout, /^done: no process of the gateway is at work$/m);
    assert.deepEqual(await gateway.exited, { code: 0, signal: null });
    assert.ok(calls().includes(DESTROY));
    const selector = 'app.kubernetes.io/instance=gateway,app.kubernetes.io/component!=doctor';
    const listing = `get pods,services,ingresses --selector ${selector} --output name`;
    assert.ok(calls().includes(`kubectl --context test-cluster --namespace relay ${listing}`));

    const again = await run('--step', 'stop');
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stdout, /^stop: no process of the gateway is at work$/m);
    // With what it had in Redis, and nobody else's.
    const { url } = cloud.redis;
    const keys = async () => (await redis.keys('*')).sort();
    const redis = new Redis(url);
    await redis.set('of-somebody-else', 'relay-gateway:gateway.test:');
    await redis.set('relay-gateway:gateway.test:meter:a', '1');
    await redis.set('{relay-gateway:gateway.test:cargo}:due', '1');
    await redis.set('relay-gateway:other.gateway.test:meter:a', '1');
    const emptied = await runRelayGateway(parameters('--step', 'empty'), { PATH: folder, REDIS_URL: url });
    assert.equal(emptied.code, 0, emptied.stderr);
    assert.deepEqual(await keys(), ['of-somebody-else', 'relay-gateway:other.gateway.test:meter:a']);
    assert.equal((await run('--step', 'empty')).code, 0);
    redis.disconnect();
  });

  /** Resolves when the program was called that notes its calls in this file. */
  function watched(file: string): (name: string) => Promise<void> {
    const has = (name: string) => existsSync(file) && readFileSync(file, 'utf8').includes(`${name} --file`);
    return (name) =>
      new Promise((resolve) => {
        const watcher = watch(path.dirname(file), () => {
          if (has(name)) {
            watcher.close();
            resolve();
          }
        });
      });
  }
});
