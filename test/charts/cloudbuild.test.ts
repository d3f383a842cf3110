/** What Cloud Build's steps call, with which words, and when not: each tool is one that only notes its call. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { projectRoot } from '../support/gateway.ts';

const run = promisify(execFile);

const REGISTRY = 'registry.example.org/relay';
const IMAGE = `${REGISTRY}/relay-gateway`;
const DIGEST = `sha256:${'ab'.repeat(32)}`;
const BASE_DIGEST = `sha256:${'cd'.repeat(32)}`;

/** Tools that note each call and do nothing; `crane digest` knows the base, and the image once it was pushed. */
const TOOL = `#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
case "$(basename "$0") $*" in
  "crane digest node:"*) echo ${BASE_DIGEST} ;;
  "crane digest ${IMAGE}:"*) if [ -e "$PUSHED" ]; then echo ${DIGEST}; else exit 1; fi ;;
  "docker push "*) touch "$PUSHED" ;;
  "cosign verify "*) [ -z "$UNSIGNED" ] ;;
  "jq "*) echo 0.1.0 ;;
esac
`;

interface Build {
  /** Runs a step as Cloud Build does. */
  step(name: 'build-image' | 'deploy'): Promise<void>;
  /** What was called, a line each. */
  calls(): string[];
}

function build(
  context: TestContext,
  action: string,
  environments: string,
  state: { isPushed?: boolean; isUnsigned?: boolean } = {},
): Build {
  const directory = mkdtempSync(path.join(tmpdir(), 'cloudbuild-'));
  context.after(() => rmSync(directory, { recursive: true }));
  const tools = path.join(directory, 'tools');
  mkdirSync(tools);
  for (const tool of ['crane', 'docker', 'cosign', 'jq', 'gcloud', 'kubectl', 'helmfile']) {
    writeFileSync(path.join(tools, tool), TOOL);
    chmodSync(path.join(tools, tool), 0o755);
  }
  const calls = path.join(directory, 'calls');
  const pushed = path.join(directory, 'pushed');
  writeFileSync(calls, '');
  mkdirSync(path.join(directory, 'environments'));
  for (const environment of ['development', 'staging', 'production']) {
    const text = `name: ${environment}\nnamespace: relay\ncontext: gke_some-${environment}_europe-west4_relay\n`;
    writeFileSync(path.join(directory, 'environments', `${environment}.yaml`), text);
  }
  if (state.isPushed) {
    writeFileSync(pushed, '');
  }
  return {
    async step(name) {
      await run(path.join(projectRoot, 'cloudbuild', name), {
        cwd: directory,
        env: {
          PATH: `${tools}:${process.env['PATH']}`,
          CALLS: calls,
          PUSHED: pushed,
          UNSIGNED: state.isUnsigned ? 'yes' : '',
          COMMIT_SHA: '0123abc',
          _ACTION: action,
          _ENVIRONMENTS: environments,
          _REGISTRY: REGISTRY,
          _BASE: 'node:26-bookworm-slim',
          _SIGNING_KEY: 'gcpkms://key',
        },
      });
    },
    calls: () => readFileSync(calls, 'utf8').split('\n').filter(Boolean),
  };
}

const helmfile = (environment: string, action: string) =>
  `helmfile --environment ${environment} --kube-context gke_some-${environment}_europe-west4_relay --namespace relay ${action} --suppress-secrets`;

const called = (calls: readonly string[], words: string) => calls.filter((call) => call.startsWith(words));

suite('Cloud Build', () => {
  test('of a pull request builds, pushes nothing, and shows what would change without secrets', async (context) => {
    const { step, calls } = build(context, 'diff', 'development staging production');
    await step('build-image');
    await step('deploy');
    assert.equal(called(calls(), 'docker build').length, 1);
    assert.deepEqual(called(calls(), 'docker push'), []);
    assert.deepEqual(called(calls(), 'cosign'), []);
    assert.deepEqual(called(calls(), 'helmfile'), [
      helmfile('development', 'diff'),
      helmfile('staging', 'diff'),
      helmfile('production', 'diff'),
    ]);
  });

  test('of main builds on the base that it looked up, signs what it pushed, and deploys that', async (context) => {
    const { step, calls } = build(context, 'apply', 'development staging');
    await step('build-image');
    const [built = ''] = called(calls(), 'docker build');
    assert.match(built, new RegExp(`--build-arg BASE=node@${BASE_DIGEST}`));
    assert.match(built, new RegExp(`--label org.opencontainers.image.base.digest=${BASE_DIGEST}`));
    assert.match(built, /--build-arg REVISION=0123abc/);
    assert.deepEqual(called(calls(), 'cosign sign'), [`cosign sign --yes --key gcpkms://key ${IMAGE}@${DIGEST}`]);
    await step('deploy');
    assert.deepEqual(called(calls(), 'cosign verify'), [`cosign verify --key gcpkms://key ${IMAGE}@${DIGEST}`]);
    assert.deepEqual(called(calls(), 'helmfile'), [helmfile('development', 'apply'), helmfile('staging', 'apply')]);
  });

  test('of production deploys the image that staging runs, and builds none', async (context) => {
    const { step, calls } = build(context, 'apply', 'production', { isPushed: true });
    await step('build-image');
    await step('deploy');
    assert.deepEqual(called(calls(), 'docker'), []);
    assert.deepEqual(called(calls(), 'helmfile'), [helmfile('production', 'apply')]);
    assert.deepEqual(called(calls(), 'gcloud'), [
      'gcloud container clusters get-credentials relay --project some-production --location europe-west4',
    ]);
  });

  test('deploys nothing that is not signed', async (context) => {
    const { step, calls } = build(context, 'apply', 'staging', { isPushed: true, isUnsigned: true });
    await step('build-image');
    await assert.rejects(step('deploy'));
    assert.deepEqual(called(calls(), 'helmfile'), []);
  });

  test('does nothing else than it is told', async (context) => {
    const { step, calls } = build(context, 'destroy', 'staging', { isPushed: true });
    await assert.rejects(step('deploy'));
    assert.deepEqual(calls(), []);
  });

  test('has the steps that there are', () => {
    const { steps, substitutions } = parse(readFileSync(path.join(projectRoot, 'cloudbuild.yaml'), 'utf8')) as {
      steps: { args: string[] }[];
      substitutions: Record<string, string>;
    };
    assert.deepEqual(
      steps.map(({ args }) => args),
      [['cloudbuild/build-image'], ['cloudbuild/deploy']],
    );
    for (const { args } of steps) {
      assert.ok(existsSync(path.join(projectRoot, args[0] ?? '')));
    }
    // A trigger that says nothing changes nothing.
    assert.equal(substitutions['_ACTION'], 'diff');
  });
});
