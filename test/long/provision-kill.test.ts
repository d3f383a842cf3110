/** `relay-gateway provision`, killed while the cloud has one of its calls in hand, and run again. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { suite, test } from 'node:test';
import type { KmsMethod } from '../emulators/kms/kms-emulator.ts';
import { projectRoot } from '../support/gateway.ts';
import { type EmptyCloud, startEmptyCloud } from '../support/provisioned.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

type Reached = () => void;

/** Has a call stay in hand, carried out or not. */
type Barrier = (cloud: EmptyCloud, reached: Reached) => void;

const never = new Promise<never>(() => undefined);

/** The calls before the one in question go well. */
function ofKms(method: KmsMethod, count: number, isCarriedOut: boolean): Barrier {
  return ({ kms }, reached) => {
    kms.fail(method, {}, count - 1);
    kms.fail(method, { reached, ...(isCarriedOut ? { isSilent: true } : { until: never }) });
  };
}

const BARRIERS: Readonly<Record<string, Barrier>> = {
  'before its key ring is made': ofKms('CreateKeyRing', 1, false),
  'when its first key is made, and not told so': ofKms('CreateCryptoKey', 1, true),
  'before its second key is made': ofKms('CreateCryptoKey', 2, false),
  'before its bucket is made': ({ gcs }, reached) => {
    void gcs.faults.hold('buckets.insert').reached.then(reached);
  },
  'when its database is made, and not told so': ({ firestore }, reached) =>
    firestore.bar('CreateDatabase', 1, { reached, isCarriedOut: true }),
  'in the middle of its TTL policies': ({ firestore }, reached) =>
    firestore.bar('UpdateField', 20, { reached, isCarriedOut: false }),
  'when it has given the second right, and is not told so': ofKms('SetIamPolicy', 2, true),
  'before it gives the last right on a key': ofKms('SetIamPolicy', 6, false),
};

async function killAt(cloud: EmptyCloud, barrier: Barrier): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  barrier(cloud, resolve);
  const running = spawn(process.execPath, ['src/cli/main.ts', 'provision', '--file', cloud.file], {
    cwd: projectRoot,
    env: { PATH: process.env['PATH'] },
    stdio: 'ignore',
  });
  const closed = once(running, 'close');
  await Promise.race([
    promise,
    closed.then(([code]) => assert.fail(`It ended before the barrier, with exit code ${code}`)),
  ]);
  running.kill('SIGKILL');
  const [, signal] = await closed;
  assert.equal(signal, 'SIGKILL');
}

suite('relay-gateway provision that is killed', { concurrency: 1 }, () => {
  let whole: unknown;

  test('has an end that it comes to when nobody kills it', async () => {
    await using cloud = await startEmptyCloud('staging');
    const { code, stderr } = await runRelayGateway(['provision', '--file', cloud.file]);
    assert.equal(code, 0, stderr);
    whole = cloud.state();
  });

  for (const [when, barrier] of Object.entries(BARRIERS)) {
    test(`${when}, comes to the same end when it is run again`, async () => {
      await using cloud = await startEmptyCloud('staging');
      await killAt(cloud, barrier);
      const { code, stderr, stdout } = await runRelayGateway(['provision', '--file', cloud.file]);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^32 as wanted$/m);
      assert.deepEqual(cloud.state(), whole);
    });
  }

  test('before it has a new version encrypt, of a key whose versions are destroyed, does so when it is run again', async () => {
    await using cloud = await startEmptyCloud('staging');
    assert.equal((await runRelayGateway(['provision', '--file', cloud.file])).code, 0);
    const key = 'projects/relay-gateway-staging/locations/europe-west1/keyRings/gateway/cryptoKeys/session-keys';
    const { versions } = cloud.kms.store.key(key);
    for (const version of versions) {
      version.state = 'DESTROYED';
    }
    cloud.kms.store.key(key).primary = `${key}/cryptoKeyVersions/1`;
    await killAt(cloud, ofKms('UpdateCryptoKeyPrimaryVersion', 1, false));
    assert.deepEqual(
      versions.map(({ state }) => state),
      ['DESTROYED', 'ENABLED'],
    );
    const { code, stderr } = await runRelayGateway(['provision', '--file', cloud.file]);
    assert.equal(code, 0, stderr);
    assert.equal(cloud.kms.store.key(key).primary, `${key}/cryptoKeyVersions/2`);
    assert.equal(versions.length, 2);
  });
});
