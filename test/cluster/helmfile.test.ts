/** The helmfile of each environment, by real helmfile: checked, installed, installed again, taken away. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { projectRoot } from '../support/gateway.ts';
import { helmProgram } from '../support/helm.ts';
import { needsTool } from '../support/needs-tool.ts';
import { openRoom, type Room } from './support/cluster.ts';

const run = promisify(execFile);

const needsHelmfile = () => needsTool('helmfile', 'https://github.com/helmfile/helmfile, 1.8.0 or newer');

const REDIS_IMAGE = process.env['CLUSTER_REDIS_IMAGE'] ?? 'local/redis:test';

/** What must never be printed. */
const PLANTED = 'planted-secret-6c1f';

/** Runs helmfile with the values of the test over those of the environment. @throws Error when it fails */
type Helmfile = (environment: string, ...parameters: string[]) => Promise<string>;

/** @param overrides values over those of the environment */
function helmfileIn(context: TestContext, kubeconfig: string, overrides: object = {}): Helmfile {
  const directory = mkdtempSync(path.join(tmpdir(), 'helmfile-'));
  context.after(() => rmSync(directory, { recursive: true }));
  symlinkSync(helmProgram(), path.join(directory, 'helm'));
  const values = path.join(directory, 'overrides.yaml');
  writeFileSync(values, JSON.stringify(overrides));
  return async (environment, ...parameters) => {
    const { stdout, stderr } = await run(
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
    );
    assert.doesNotMatch(stdout + stderr, new RegExp(PLANTED));
    return stdout + stderr;
  };
}

function imageOfTest(): Record<string, string> {
  const [repository = '', tag = ''] = (process.env['CLUSTER_IMAGE'] ?? 'local/relay-gateway:test').split(
    /:(?=[^:/]*$)/,
  );
  return { IMAGE_REPOSITORY: repository, IMAGE_TAG: tag };
}

const podsOf = (room: Room) => room.kubectl('get', 'pods', '--output=jsonpath={range .items[*]}{.metadata.uid} {end}');

suite('helmfile', () => {
  for (const environment of ['development', 'staging', 'production']) {
    test(`finds ${environment} fine, and prints no secret`, needsHelmfile(), async (context) => {
      const helmfile = helmfileIn(context, '/nowhere');
      await helmfile(environment, 'lint');
      const text = await helmfile(environment, 'template');
      assert.match(text, /kind: (StatefulSet|Deployment)/);
    });
  }

  test('installs development with its Redis; a second time changes nothing', needsHelmfile(), async (context) => {
    await using room = await openRoom('helmfile');
    await room.provideVolume('data-gateway-relay-gateway-0');
    await room.kubectl('create', 'secret', 'generic', 'bystander', `--from-literal=password=${PLANTED}`);
    const helmfile = helmfileIn(context, room.kubeconfig, { redis: { image: REDIS_IMAGE } });

    await helmfile('development', 'sync');
    const before = { pods: await podsOf(room), manifest: (await room.helm(['get', 'manifest', 'gateway'])).stdout };
    assert.match(before.manifest, /SIGNALS: redis/);
    await helmfile('development', 'sync');
    assert.deepEqual(
      { pods: await podsOf(room), manifest: (await room.helm(['get', 'manifest', 'gateway'])).stdout },
      before,
    );

    const { code, stdout, stderr } = await room.helm(['test', 'gateway', '--timeout', '3m', '--logs']);
    assert.equal(code, 0, stdout + stderr);

    if ((await room.helm(['plugin', 'list'])).stdout.includes('diff')) {
      await helmfile('development', 'diff', '--suppress-secrets', '--detailed-exitcode');
      await helmfile('development', 'apply', '--suppress-secrets');
    } else {
      context.diagnostic('no helm-diff plugin: diff and apply were not tried');
    }
    await helmfile('development', 'destroy');
    assert.equal(await room.kubectl('get', 'deployments,statefulsets'), '');
  });
});
