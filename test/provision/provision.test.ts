/** `relay-gateway provision`, against emulators of the cloud, by the vendors' clients. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { parse } from 'yaml';
import { projectRoot } from '../support/gateway.ts';
import { type EmptyCloud, startEmptyCloud } from '../support/provisioned.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

const CHANGING = /^(Create|Update|Set|buckets\.(insert|patch|setIamPolicy))/;

/** Names of the calls that changed something since the last time, in order; of all services but the Resource Manager. */
function changes({ kms, gcs, firestore }: EmptyCloud): string[] {
  const calls = [...kms.requests.map(({ method }) => method), ...gcs.operations, ...firestore.calls];
  kms.resetCounts();
  gcs.operations.length = 0;
  firestore.calls.length = 0;
  return calls.filter((call) => CHANGING.test(call));
}

suite('relay-gateway provision', { concurrency: 1 }, () => {
  test('makes an environment, shows it, and finds nothing to do the second time', async () => {
    await using cloud = await startEmptyCloud('staging');
    const run = (...more: string[]) => runRelayGateway(['provision', '--file', cloud.file, ...more]);

    const dry = await run('--dry-run');
    assert.equal(dry.code, 0, dry.stderr);
    assert.match(dry.stdout, /^make {2}bucket {7}relay-gateway-staging-messages$/m);
    assert.match(dry.stdout, /^32 to make$/m);
    assert.deepEqual(changes(cloud), []);

    const made = await run();
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, /^32 as wanted$/m);
    assert.match(made.stdout, /^identity +1 +europe-west1 +RSA_SIGN_PSS_2048_SHA256 +ENABLED +0[0-9a-f]{64}$/m);
    assert.match(made.stdout, /SRV +0 0 443 poweb\.staging\.gateway\.example\.org\.$/m);
    assert.equal(changes(cloud).length, 63);
    const values = parse(await readFile(cloud.file.replace('.yaml', '.values.yaml'), 'utf8'));
    assert.equal(values.gateway.gateway.settings.GCS_BUCKET, 'relay-gateway-staging-messages');
    const state = cloud.state();

    const again = await run('--json');
    assert.equal(again.code, 0, again.stderr);
    assert.ok(JSON.parse(again.stdout).steps.every(({ state: found }: { state: string }) => found === 'there'));
    assert.deepEqual(changes(cloud), []);
    assert.deepEqual(cloud.state(), state);

    // Somebody turns versioning on, and lets a stranger sign.
    const bucket = cloud.gcs.bucket('relay-gateway-staging-messages');
    bucket.metadata = { ...bucket.metadata, versioning: { enabled: true } };
    const ring = 'projects/relay-gateway-staging/locations/europe-west1/keyRings/gateway';
    const policy = cloud.kms.admin.policies.get(`${ring}/cryptoKeys/identity`);
    policy.bindings.push({ role: 'roles/cloudkms.signer', members: ['user:eve@example.com'] });
    cloud.kms.admin.policies.set(`${ring}/cryptoKeys/identity`, policy);
    const drifted = await run('--check');
    assert.equal(drifted.code, 1);
    assert.match(drifted.stdout, /^ +versioning is on instead of off$/m);
    assert.match(
      drifted.stdout,
      /^extra +binding +user:eve@example\.com has roles\/cloudkms\.signer on cryptoKeys\/identity$/m,
    );
    assert.deepEqual(changes(cloud), []);
  });

  test('asks before it acts on production', async () => {
    await using cloud = await startEmptyCloud('production');
    const run = async (answer: string) => {
      const process_ = spawn(process.execPath, ['src/cli/main.ts', 'provision', '--file', cloud.file], {
        cwd: projectRoot,
        env: { PATH: process.env['PATH'] },
      });
      process_.stdin.end(answer);
      const [stdout, stderr, [code]] = await Promise.all([
        text(process_.stdout),
        text(process_.stderr),
        once(process_, 'close'),
      ]);
      return { stdout, stderr, code };
    };
    const refused = await run('yes\n');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /acts on production.*Nothing was done/s);
    assert.deepEqual(changes(cloud), []);
    const agreed = await run('production\n');
    assert.equal(agreed.code, 0, agreed.stderr);
    assert.match(agreed.stdout, /^32 as wanted$/m);
  });

  test('needs no Cloud KMS where development keeps its keys on the volume of its pod', async () => {
    const changes = {
      ...{ keyRing: undefined, administrators: undefined, keys: 'local' },
      accounts: { single: 'relay-gateway', backup: 'relay-gateway-backup' },
    };
    await using cloud = await startEmptyCloud('development', { changes });
    const run = (...more: string[]) => runRelayGateway([...more, '--file', cloud.file]);
    const made = await run('provision');
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, /^21 as wanted$/m);
    assert.equal((await run('provision', '--check')).code, 0);
    assert.equal(cloud.kms.requests.length, 0);
    const values = parse(await readFile(cloud.file.replace('.yaml', '.values.yaml'), 'utf8'));
    assert.equal(values.gateway.mode, 'single');
  });

  test('tells each fault of the file, and exits with 2 before it asks the cloud anything', async () => {
    await using cloud = await startEmptyCloud('staging');
    await writeFile(
      cloud.file,
      (await readFile(cloud.file, 'utf8')).replace('relay-gateway-staging-messages', 'Bucket!'),
    );
    const { code, stderr } = await runRelayGateway(['provision', '--file', cloud.file]);
    assert.equal(code, 2);
    assert.match(stderr, /staging\.yaml cannot be used:\n {2}bucket must be the name of a bucket/);
    assert.equal(cloud.kms.requests.length, 0);
    const usage = await runRelayGateway(['provision', '--auditor', 'user:a@example.com', '--environment', 'staging']);
    assert.equal(usage.code, 2);
    assert.match(usage.stderr, /--auditor and --until go together/);
  });

  test('has an example in its help that works', async () => {
    const help = await runRelayGateway(['provision', '--help']);
    const [, example = ''] = /\$ relay-gateway (provision .+)$/m.exec(help.stdout) ?? [];
    assert.match(example, /--file environments\/development\.yaml/);
    await using cloud = await startEmptyCloud('development');
    const parameters = example.replace(path.join('environments', 'development.yaml'), cloud.file).split(' ');
    const { code, stdout } = await runRelayGateway(parameters);
    assert.equal(code, 0);
    assert.match(stdout, /^32 to make$/m);
  });
});
