/** `relay-gateway rotate-key` and `rotate-certificate` with keys in Cloud KMS; killed anywhere, and run again. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { suite, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { KeyRotated } from '../../src/services/control/identity-orders.ts';
import type { KmsEmulator, KmsMethod } from '../emulators/kms/kms-emulator.ts';
import { projectRoot, startGateway, temporaryDirectory } from '../support/gateway.ts';
import { IDENTITY_KEY, KEY_RING, startKms } from '../support/kms.ts';
import { OfficialPrivateGateway } from '../support/official-client.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

function setting(context: TestContext, kms: KmsEmulator) {
  const directory = temporaryDirectory();
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const environment = { KEYS: 'gcp-kms', KMS_KEY_RING: KEY_RING, KMS_ENDPOINT: kms.endpoint };
  return {
    directory,
    environment,
    async rotate(): Promise<KeyRotated> {
      const given = { ...environment, DATA_DIR: directory };
      const { code, stdout, stderr } = await runRelayGateway(['rotate-key', '--json'], given);
      assert.equal(code, 0, stderr);
      return JSON.parse(stdout);
    },
    /** Kills the command once KMS has been asked for this by it, before it answers. */
    async killIn(method: KmsMethod, command: readonly string[] = ['rotate-key'], isCarriedOut = false): Promise<void> {
      const before = kms.counts.get(method) ?? 0;
      kms.failAlways(method, isCarriedOut ? { isSilent: true } : { until: new Promise(() => {}) });
      const child = spawn(process.execPath, ['src/cli/main.ts', ...command], {
        cwd: projectRoot,
        env: { PATH: process.env['PATH'], ...environment, DATA_DIR: directory },
        stdio: 'ignore',
      });
      const ended = once(child, 'exit');
      while ((kms.counts.get(method) ?? 0) === before) {
        assert.equal(child.exitCode, null, 'it ended before');
        await delay(20);
      }
      child.kill('SIGKILL');
      await ended;
      kms.recover();
    },
  };
}

suite('Rotation of a key in Cloud KMS', () => {
  test('makes a version that issues, while the one before goes on for who registered under it', async (context) => {
    await using kms = await startKms();
    const { directory, environment, rotate } = setting(context, kms);
    await using gateway = await startGateway({ directory, environment });
    const before = await OfficialPrivateGateway.register(gateway.poweb);
    const { isRotated, keys } = await rotate();
    assert.ok(isRotated);
    assert.deepEqual(
      keys.map(({ state }) => state),
      ['served', 'issues'],
    );
    assert.equal(kms.store.key(IDENTITY_KEY).versions.length, 2);
    const after = await OfficialPrivateGateway.register(gateway.poweb);
    const issuers = [before, after].map(({ registration }) => registration.gatewayCertificate.calculateSubjectId());
    assert.deepEqual(
      await Promise.all(issuers),
      keys.map(({ nodeId }) => nodeId),
    );
    assert.deepEqual(await before.collectAll(), []);
    assert.equal((await rotate()).isRotated, false);
    assert.equal(kms.store.key(IDENTITY_KEY).versions.length, 2);
  });

  // While the version is made, while keys are opened, and while the new one signs its certificate.
  for (const method of ['CreateCryptoKeyVersion', 'GetPublicKey', 'AsymmetricSign'] as const) {
    test(`that is killed in ${method} and run again is one rotation`, async (context) => {
      await using kms = await startKms();
      const { directory, environment, rotate, killIn } = setting(context, kms);
      let first: string;
      {
        await using gateway = await startGateway({ directory, environment });
        first = gateway.nodeId;
      }
      await killIn(method);
      const { keys } = await rotate();
      assert.equal(keys.length, 2);
      assert.equal(keys[0]?.nodeId, first);
      assert.equal(keys[1]?.state, 'issues');
      await using gateway = await startGateway({ directory, environment });
      assert.equal(gateway.nodeId, keys[1]?.nodeId);
      assert.equal(gateway.gateway.identity.issuer().certificate.subjectId, gateway.nodeId);
      assert.equal(gateway.gateway.identity.trusted().length, 2);
      // No version is left over.
      assert.equal(kms.store.key(IDENTITY_KEY).versions.length, 2);
    });
  }

  // While keys are opened, and while the certificate is signed: before it is, and when it is and not told so.
  for (const [method, isCarriedOut] of [
    ['GetPublicKey', false],
    ['AsymmetricSign', false],
    ['AsymmetricSign', true],
  ] as const) {
    const when = isCarriedOut ? 'after' : 'in';
    test(`of the certificate that is killed ${when} ${method} and run again makes one`, async (context) => {
      await using kms = await startKms();
      const { directory, environment, killIn } = setting(context, kms);
      await (await startGateway({ directory, environment }))[Symbol.asyncDispose]();
      await killIn(method, ['rotate-certificate', '--force'], isCarriedOut);
      const given = { ...environment, DATA_DIR: directory };
      const { code, stdout, stderr } = await runRelayGateway(['rotate-certificate', '--force', '--json'], given);
      assert.equal(code, 0, stderr);
      await using gateway = await startGateway({ directory, environment });
      const { identity } = gateway.gateway;
      assert.equal(identity.trusted().length, 2);
      assert.equal(identity.issuer().certificate.serialNumber, JSON.parse(stdout).serialNumber);
    });
  }
});
