/** Quickstart, below a folder that stands for the machine: with a real authority, systemd's own tools, and the doctor. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { connect } from 'node:tls';
import { parseEnv } from 'node:util';
import { type AcmeServer, NEEDS_ACME_SERVER, startAcmeServer } from '../support/acme-server.ts';
import {
  FREE_PORTS,
  type InProcessGateway,
  spawnGateway,
  startGateway,
  temporaryDirectory,
} from '../support/gateway.ts';
import { needsTool } from '../support/needs-tool.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';
import { startTestResolver, type TestResolver } from '../support/test-resolver.ts';
import { newTlsCertificate } from '../support/tls-certificate.ts';

const ADDRESS = 'gw.example.org';

const SETTINGS_FILE = 'etc/relay-gateway/environment';
const FILES = [
  SETTINGS_FILE,
  'etc/sysusers.d/relay-gateway.conf',
  'usr/local/bin/relay-gateway',
  'etc/systemd/system/relay-gateway.service',
  'etc/systemd/system/relay-gateway-certificate.service',
  'etc/systemd/system/relay-gateway-certificate.timer',
];
const CERTIFICATE = 'var/lib/relay-gateway/certificate/certificate.pem';

interface Step {
  readonly name: string;
  readonly outcome: string;
  readonly detail: string;
  readonly difference?: readonly string[];
  readonly code?: string;
  readonly mend?: string;
}

interface Report {
  readonly healthy: boolean;
  readonly steps: readonly Step[];
  readonly records: readonly string[];
  readonly doctor: { healthy: boolean; steps: readonly { name: string; outcome: string }[] } | null;
}

describe('relay-gateway quickstart', {
  ...NEEDS_ACME_SERVER,
  ...needsTool('systemctl', 'apt-get install systemd'),
}, () => {
  let authority: AcmeServer;
  let resolver: TestResolver;
  let gateway: InProcessGateway;
  let trustFile: string;
  /** What a first run said, and what it left. */
  let first: Awaited<ReturnType<typeof quickstart>>;
  let firstRoot: string;

  before(async () => {
    authority = await startAcmeServer();
    resolver = await startTestResolver();
    // What the doctor finds at the address: this machine knows no other name that leads to itself than localhost.
    const { tls, environment } = authority;
    trustFile = environment['NODE_EXTRA_CA_CERTS'] ?? '';
    gateway = await startGateway({
      environment: { INTERNET_ADDRESS: ADDRESS, TLS_CERT_FILE: tls.certificateFile, TLS_KEY_FILE: tls.keyFile },
    });
    for (const [service, url] of [
      ['_awala-gsc._tcp', gateway.poweb],
      ['_awala-pdc._tcp', gateway.pohttp],
      ['_awala-crc._tcp', gateway.cogrpc],
    ] as const) {
      const name = `${service}.${ADDRESS}`;
      const data = { priority: 0, weight: 0, port: Number(new URL(url).port), target: 'localhost' };
      resolver.set(name, 'SRV', { records: [{ type: 'SRV', name, ttl: 60, data }] });
    }
    resolver.setAddresses('localhost', ['127.0.0.1']);
    resolver.setAddresses(ADDRESS, ['127.0.0.1']);
  });

  before(async () => {
    firstRoot = temporaryDirectory();
    first = await quickstart(firstRoot);
  });

  after(async () => {
    rmSync(firstRoot, { recursive: true, force: true });
    await gateway[Symbol.asyncDispose]();
    await resolver[Symbol.asyncDispose]();
    await authority[Symbol.asyncDispose]();
  });

  test('sets all up, and says what the doctor says; run again, it changes nothing', async (t) => {
    const root = copyFor(t);

    assert.equal(first.code, 0, first.stdout + first.stderr);
    assert.deepEqual(outcomes(first.report), [
      ['machine', 'ok'],
      ['settings', 'done'],
      ['user', 'done'],
      ['command', 'done'],
      ['relay-gateway.service', 'done'],
      ['relay-gateway-certificate.service', 'done'],
      ['relay-gateway-certificate.timer', 'done'],
      ['dns', 'ok'],
      ['certificate', 'done'],
      ['start', 'ok'],
    ]);
    assert.equal(first.report.doctor?.healthy, true);
    assert.ok(first.report.doctor.steps.some(({ name, outcome }) => name === 'tls-cogrpc' && outcome === 'ok'));
    assert.deepEqual(first.report.records, [
      'gw.example.org.                  3600  IN  A     203.0.113.5',
      'gw.example.org.                  3600  IN  AAAA  2001:db8::5',
      '_awala-gsc._tcp.gw.example.org.  3600  IN  SRV   0 0 443 gw.example.org.',
      '_awala-pdc._tcp.gw.example.org.  3600  IN  SRV   0 0 9443 gw.example.org.',
      '_awala-crc._tcp.gw.example.org.  3600  IN  SRV   0 0 8444 gw.example.org.',
    ]);
    assert.equal(statSync(path.join(root, SETTINGS_FILE)).mode & 0o777, 0o600);
    assert.equal(statSync(path.join(root, 'usr/local/bin/relay-gateway')).mode & 0o777, 0o755);
    // As systemd itself sees it.
    assert.match(readFileSync(path.join(root, 'etc/passwd'), 'utf8'), /^relay-gateway:x:/m);
    const wanted = path.join(root, 'etc/systemd/system/multi-user.target.wants');
    assert.deepEqual(readdirSync(wanted), ['relay-gateway.service']);
    const before = contents(root);

    const second = await quickstart(root);

    assert.equal(second.code, 0, second.stdout);
    assert.deepEqual(
      new Set(outcomes(second.report).map(([, outcome]) => outcome)),
      new Set(['ok', 'unchanged']),
      second.stdout,
    );
    assert.deepEqual(contents(root), before);
  });

  test('leaves settings and a certificate with which the gateway serves its address', async (t) => {
    const root = copyFor(t);
    const settings = parseEnv(readFileSync(path.join(root, SETTINGS_FILE), 'utf8'));

    await using served = await spawnGateway({
      directory: path.join(root, settings['DATA_DIR'] ?? ''),
      environment: {
        ...settings,
        ...FREE_PORTS,
        DATA_DIR: path.join(root, settings['DATA_DIR'] ?? ''),
        TLS_CERT_FILE: path.join(root, settings['TLS_CERT_FILE'] ?? ''),
        TLS_KEY_FILE: path.join(root, settings['TLS_KEY_FILE'] ?? ''),
      },
    });

    assert.equal(served.internetAddress, ADDRESS);
    for (const url of [served.poweb, served.pohttp, served.cogrpc]) {
      const socket = connect({
        host: '127.0.0.1',
        port: Number(new URL(url).port),
        servername: ADDRESS,
        ca: readFileSync(trustFile),
        ALPNProtocols: ['h2', 'http/1.1'],
      });
      await once(socket, 'secureConnect');
      assert.ok(socket.authorized);
      socket.destroy();
    }
  });

  test('leaves what somebody has edited, says what differs, and goes by it', async (t) => {
    const root = copyFor(t);
    const file = path.join(root, SETTINGS_FILE);
    appendFileSync(file, 'LOG_LEVEL=debug\nGRACE_PERIOD=90s\n');
    const edited = readFileSync(file, 'utf8');

    const { code, report } = await quickstart(root, ['--set', 'POHTTP_PORT=10443']);

    assert.equal(code, 0);
    assert.equal(readFileSync(file, 'utf8'), edited);
    const settings = stepOf(report, 'settings');
    assert.equal(settings.outcome, 'kept');
    assert.deepEqual(settings.difference, ['- POHTTP_PORT=9443', '+ POHTTP_PORT=10443']);
    // The unit follows the settings that count, and was nobody's.
    const unit = stepOf(report, 'relay-gateway.service');
    assert.deepEqual([unit.outcome, unit.difference], ['done', ['- TimeoutStopSec=40', '+ TimeoutStopSec=105']]);
  });

  test('writes what nobody has edited anew, with what it was told before', async (t) => {
    const root = copyFor(t);

    const { report } = await quickstart(root, ['--set', 'COGRPC_PORT=9444']);

    assert.deepEqual(stepOf(report, 'settings').difference, ['- COGRPC_PORT=8444', '+ COGRPC_PORT=9444']);
    const settings = parseEnv(readFileSync(path.join(root, SETTINGS_FILE), 'utf8'));
    assert.deepEqual([settings['POHTTP_PORT'], settings['COGRPC_PORT']], ['9443', '9444']);
    assert.match(report.records.at(-1) ?? '', /SRV {3}0 0 9444 /);
  });

  test('asks no authority before the DNS has the name, and skips what follows', async (t) => {
    await using empty = await startTestResolver();

    const root = rootFor(t);
    const { code, report } = await quickstart(root, ['--set', `RESOLVER_URL=${empty.url}`]);

    assert.equal(code, 1);
    assert.deepEqual(outcomes(report).slice(-3), [
      ['dns', 'failed'],
      ['certificate', 'skipped'],
      ['start', 'skipped'],
    ]);
    assertFailed(report, 'dns', 'NAME_UNKNOWN', /^Publish the records above/);
    assert.equal(report.doctor, null);
    assert.ok(!existsSync(path.join(root, CERTIFICATE)));
  });

  test('says so when the terms of the authority were not agreed to', async (t) => {
    const { code, report } = await quickstart(rootFor(t), ['--set', 'ACME_TERMS_AGREED=false'], []);

    assert.equal(code, 1);
    assertFailed(report, 'certificate', 'TERMS_NOT_AGREED', /--agree-terms/);
  });

  test('changes the address of no gateway that may have peers', async (t) => {
    const root = copyFor(t);
    const before = contents(root);

    const { code, report } = await quickstart(root, ['--address', 'other.example.org']);

    assert.equal(code, 1);
    assertFailed(report, 'settings', 'ADDRESS_DIFFERS', /Private gateways that registered know only that address/);
    assert.deepEqual(contents(root), before);
  });

  test('says so when settings in the file cannot be used, and touches nothing else', async (t) => {
    const root = copyFor(t);
    appendFileSync(path.join(root, SETTINGS_FILE), 'LOG_LEVEL=loud\n');
    rmSync(path.join(root, CERTIFICATE));

    const { code, report } = await quickstart(root);

    assert.equal(code, 1);
    assertFailed(report, 'settings', 'SETTINGS_BAD', /^Mend \/etc\/relay-gateway\/environment/);
    assert.match(stepOf(report, 'settings').detail, /LOG_LEVEL must be one of/);
    assert.ok(!existsSync(path.join(root, CERTIFICATE)));
  });

  test('renews the certificate when it is run late', async (t) => {
    const root = copyFor(t);
    const file = path.join(root, CERTIFICATE);
    using ending = await newTlsCertificate(ADDRESS, Date.now() + 3_600_000);
    writeFileSync(file, ending.certificate);

    const { report } = await quickstart(root);

    assert.equal(stepOf(report, 'certificate').outcome, 'done', JSON.stringify(stepOf(report, 'certificate')));
    assert.ok(Date.parse(new X509Certificate(readFileSync(file)).validTo) > Date.now() + 86_400_000);
  });

  /** What the first run left, for a test of its own. */
  function copyFor(t: TestContext): string {
    const root = rootFor(t);
    cpSync(firstRoot, root, { recursive: true, preserveTimestamps: true });
    return root;
  }

  /** Runs it with all that the test's surroundings need; `--json` makes the report. */
  async function quickstart(root: string, options: readonly string[] = [], terms = ['--agree-terms']) {
    const { ACME_DIRECTORY: directory, ACME_HTTP_PORT: port } = authority.environment;
    const settings = [
      'BIND_HOST=127.0.0.1',
      'POHTTP_PORT=9443',
      `RESOLVER_URL=${resolver.url}`,
      'ALLOW_PRIVATE_DESTINATIONS=true',
      `ACME_DIRECTORY=${directory}`,
      `ACME_HTTP_PORT=${port}`,
    ].flatMap((setting) => ['--set', setting]);
    const addresses = ['--ip', '203.0.113.5', '--ip', '2001:db8::5'];
    const outcome = await runRelayGateway(
      ['quickstart', '--address', ADDRESS, '--root', root, '--json', ...terms, ...settings, ...addresses, ...options],
      { NODE_EXTRA_CA_CERTS: trustFile },
    );
    assert.equal(outcome.stderr, '');
    return { ...outcome, report: JSON.parse(outcome.stdout) as Report };
  }
});

describe('Without anything around it, relay-gateway quickstart', () => {
  test('prints what it would do, and does nothing', async (t) => {
    const root = rootFor(t);

    const { code, stdout } = await runRelayGateway(['quickstart', '--address', ADDRESS, '--root', root, '--dry-run']);

    assert.equal(code, 0, stdout);
    for (const file of FILES) {
      assert.match(stdout, new RegExp(`^planned .*${file.replaceAll('.', '\\.')}$`, 'm'));
    }
    assert.match(stdout, /^ {4}INTERNET_ADDRESS=gw\.example\.org$/m);
    assert.match(stdout, /^ {2}_awala-gsc\._tcp\.gw\.example\.org\. +3600 +IN +SRV +0 0 443 gw\.example\.org\.$/m);
    assert.deepEqual(readdirSync(root), []);
  });

  test('shows no secret', async (t) => {
    const secret = ['--set', 'REDIS_URL=redis://:hunter2@redis.example:6379'];
    for (const form of [[], ['--json']]) {
      const parameters = ['quickstart', '--address', ADDRESS, '--root', rootFor(t), '--dry-run', ...secret, ...form];
      const { code, stdout } = await runRelayGateway(parameters);
      assert.equal(code, 0, stdout);
      assert.ok(!stdout.includes('hunter2'), stdout);
    }
  });

  test('exits with 2 when it is called wrongly', async () => {
    for (const parameters of [
      [],
      ['--address', 'localhost'],
      ['--address', ADDRESS, '--set', 'NO_SUCH=1'],
      ['--address', ADDRESS, '--set', 'POWEB_PORT=none'],
      ['--address', ADDRESS, '--set', 'POWEB_PORT'],
    ]) {
      const { code, stdout, stderr } = await runRelayGateway(['quickstart', '--dry-run', ...parameters]);
      assert.deepEqual([code, stdout], [2, ''], parameters.join(' '));
      assert.match(stderr, /^error: /);
    }
  });
});

function rootFor(t: TestContext): string {
  const root = temporaryDirectory();
  t.after(() => rmSync(root, { recursive: true, force: true }));
  return root;
}

/** Each file with its text and when it was written. */
function contents(root: string): string[][] {
  return [...FILES, CERTIFICATE].map((file) => {
    const place = path.join(root, file);
    return [file, readFileSync(place, 'utf8'), `${statSync(place).mtimeMs}`];
  });
}

function outcomes({ steps }: Report): string[][] {
  return steps.map(({ name, outcome }) => [name, outcome]);
}

function stepOf({ steps }: Report, name: string): Step {
  const step = steps.find((candidate) => candidate.name === name);
  assert.ok(step, name);
  return step;
}

function assertFailed(report: Report, name: string, code: string, mend: RegExp): void {
  const step = stepOf(report, name);
  assert.deepEqual([step.outcome, step.code], ['failed', code], JSON.stringify(step));
  assert.match(step.mend ?? '', mend);
  assert.equal(report.healthy, false);
}
