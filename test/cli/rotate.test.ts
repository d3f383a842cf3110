/** `relay-gateway rotate-certificate` and `rotate-key`, while the gateway runs and while it does not. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { suite, type TestContext, test } from 'node:test';
import type { CertificateRotated, KeyRotated } from '../../src/services/control/identity-orders.ts';
import type { IdentityReport } from '../../src/services/control/identity-report.ts';
import { startGateway, temporaryDirectory } from '../support/gateway.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

function newDirectory(context: TestContext): string {
  const directory = temporaryDirectory();
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function ask<Answer>(directory: string, ...parameters: string[]): Promise<Answer> {
  const { code, stdout, stderr } = await runRelayGateway([...parameters, '--json'], { DATA_DIR: directory });
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

suite('Rotation by command', () => {
  test('of the key changes nothing as a dry run, is done once, and is told in the log', async (context) => {
    const directory = newDirectory(context);
    const lines: Record<string, unknown>[] = [];
    await using gateway = await startGateway({
      directory,
      log: { write: (json) => void lines.push(JSON.parse(json)) },
    });
    const { identity } = gateway.gateway;
    const first = identity.id;
    const dry = await ask<KeyRotated>(directory, 'rotate-key', '--dry-run');
    assert.deepEqual([dry.isRotated, dry.isDryRun, dry.keys.length], [true, true, 1]);
    assert.equal(identity.id, first);

    const done = await ask<KeyRotated>(directory, 'rotate-key');
    assert.equal(done.isRotated, true);
    assert.notEqual(identity.id, first);
    const again = await ask<KeyRotated>(directory, 'rotate-key');
    assert.deepEqual([again.isRotated, again.keys], [false, done.keys]);
    const told = lines.filter(({ msg }) => msg === 'Identity key rotated by order of the operator');
    assert.deepEqual(
      told.map(({ nodeId, earlier }) => [nodeId, earlier]),
      [[identity.id, [first]]],
    );
    const report = await ask<IdentityReport>(directory, 'identity');
    assert.deepEqual(
      report.keys.map(({ nodeId, state }) => [nodeId, state]),
      [
        [first, 'served'],
        [identity.id, 'issues'],
      ],
    );
    assert.equal((await ask<KeyRotated>(directory, 'rotate-key', '--force')).keys.length, 3);
  });

  test('is done on the stores where no gateway runs, and the gateway that starts then has it', async (context) => {
    const directory = newDirectory(context);
    const { keys } = await ask<KeyRotated>(directory, 'rotate-key');
    assert.equal(keys.length, 2);
    await using gateway = await startGateway({ directory });
    assert.equal(gateway.nodeId, keys[1]?.nodeId);
  });

  test('of the certificate makes one only where it is due, or forced', async (context) => {
    const directory = newDirectory(context);
    {
      // That was 40 days ago: 140 are left.
      await using _past = await startGateway({ directory, clock: { now: () => Date.now() - 40 * 86_400_000 } });
    }
    // Opening the stores renews as housekeeping does.
    const due = await ask<CertificateRotated>(directory, 'rotate-certificate');
    assert.equal(due.isRotated, true);
    const again = await ask<CertificateRotated>(directory, 'rotate-certificate');
    assert.deepEqual([again.isRotated, again.serialNumber], [false, due.serialNumber]);
    assert.ok(Date.parse(due.notAfter) > Date.now() + 170 * 86_400_000);
    const dry = await ask<CertificateRotated>(directory, 'rotate-certificate', '--force', '--dry-run');
    assert.deepEqual([dry.isRotated, dry.serialNumber], [true, due.serialNumber]);
    const forced = await ask<CertificateRotated>(directory, 'rotate-certificate', '--force');
    assert.ok(forced.isRotated);
    assert.notEqual(forced.serialNumber, due.serialNumber);
    const { certificates } = await ask<IdentityReport>(directory, 'identity');
    assert.equal(certificates.find(({ issues }) => issues)?.serialNumber, forced.serialNumber);
  });

  test('of the certificate is done by the gateway that runs, when it is due', async (context) => {
    const directory = newDirectory(context);
    let time = Date.now();
    await using gateway = await startGateway({ directory, clock: { now: () => time } });
    const { serialNumber } = gateway.gateway.identity.issuer().certificate;
    assert.equal((await ask<CertificateRotated>(directory, 'rotate-certificate')).isRotated, false);
    time += 31 * 86_400_000;
    assert.equal((await ask<CertificateRotated>(directory, 'rotate-certificate', '--dry-run')).isRotated, true);
    assert.equal(gateway.gateway.identity.issuer().certificate.serialNumber, serialNumber);
    const rotated = await ask<CertificateRotated>(directory, 'rotate-certificate');
    assert.equal(rotated.isRotated, true);
    assert.equal(gateway.gateway.identity.issuer().certificate.serialNumber, rotated.serialNumber);
    assert.notEqual(rotated.serialNumber, serialNumber);
    assert.equal((await ask<CertificateRotated>(directory, 'rotate-certificate')).isRotated, false);
  });

  for (const command of ['rotate-certificate', 'rotate-key']) {
    test(`: the example in the help of ${command} works`, async (context) => {
      const { stdout } = await runRelayGateway([command, '--help']);
      const example = /\$ relay-gateway (.+)/.exec(stdout)?.[1];
      assert.ok(example, stdout);
      const { code, stdout: told } = await runRelayGateway(example.split(' '), { DATA_DIR: newDirectory(context) });
      assert.equal(code, 0);
      assert.match(told, /would be made|No new certificate is due/);
    });
  }
});
