/** The doctor who knows only an Internet address, and what it says of the DNS and of TLS. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { Answer } from 'dns-packet';
import { type InProcessGateway, startGateway } from '../support/gateway.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';
import { SERVER_FAILURE, startTestResolver, type TestAnswer, type TestResolver } from '../support/test-resolver.ts';
import { newTlsCertificate, type TlsCertificate } from '../support/tls-certificate.ts';

const HOUR = 3_600_000;

/** That of the test's gateway. */
const ADDRESS = 'gateway.test';

const DOORS = { poweb: '_awala-gsc._tcp', pohttp: '_awala-pdc._tcp', cogrpc: '_awala-crc._tcp' };

type Door = keyof typeof DOORS;

interface Step {
  readonly name: string;
  readonly outcome: string;
  readonly detail: string;
  readonly code?: string;
  readonly mend?: string;
}

describe('relay-gateway ping --address', { concurrency: 2 }, () => {
  let tls: TlsCertificate;
  let gateway: InProcessGateway;

  before(async () => {
    tls = await newTlsCertificate('localhost');
    gateway = await startGateway({ environment: { TLS_CERT_FILE: tls.certificateFile, TLS_KEY_FILE: tls.keyFile } });
  });

  after(async () => {
    await gateway[Symbol.asyncDispose]();
    tls[Symbol.dispose]();
  });

  test('finds the doors by their SRV records, and examines them all', async () => {
    await using resolver = await resolverOf(gateway);

    const { code, steps } = await examine(resolver, tls);

    assert.equal(code, 0, JSON.stringify(steps));
    assert.deepEqual(
      steps.map(({ name }) => name),
      [
        ...['dns-poweb', 'dns-pohttp', 'dns-cogrpc', 'machine-clock', 'probe', 'clock'],
        ...['tls-poweb', 'tls-pohttp', 'tls-cogrpc'],
        ...['connection-parameters', 'pre-registration', 'registration', 'endpoint'],
        ...['poweb-delivery', 'pohttp-delivery', 'collection', 'deletion'],
        ...['cargo-delivery', 'cargo-collection', 'cargo-refusal'],
      ],
    );
    const { port } = new URL(gateway.poweb);
    assert.equal(steps[0]?.detail, `localhost:${port}, authenticated; 127.0.0.1`);
    assert.match(stepOf(steps, 'tls-cogrpc').detail, /^trusted, by localhost, until \d{4}-\d\d-\d\d \(\d days\)/);
  });

  const faults: readonly [string, TestAnswer | undefined, string, RegExp][] = [
    [
      'there is no record',
      undefined,
      'SERVICE_MISSING',
      /^Publish one, such as: _awala-pdc\._tcp\.gateway\.test\. 3600/,
    ],
    ['the service is told not to be there', { records: [srv('pohttp', '.', 0)] }, 'SERVICE_MISSING', /^Publish one/],
    ['the zone is not signed', { isAuthenticated: false }, 'NAME_UNAUTHENTICATED', /DNSSEC.*DS record/],
    ['its signatures are wrong', { code: SERVER_FAILURE }, 'DNS_FAILED', /DNSSEC signatures/],
  ];
  for (const [what, answer, code, mend] of faults) {
    test(`says so when ${what}, and examines what it finds`, async () => {
      await using resolver = await resolverOf(gateway);
      const records = [srv('pohttp', 'localhost', portOf(gateway, 'pohttp'))];
      const absence = { code: 3 };
      resolver.set(`${DOORS.pohttp}.${ADDRESS}`, 'SRV', answer ? { records, ...answer } : absence);

      const outcome = await examine(resolver, tls);

      assert.equal(outcome.code, 1);
      assertFailed(outcome.steps, 'dns-pohttp', code, mend);
      const others = outcome.steps.filter(({ name }) => name !== 'dns-pohttp');
      assert.ok(others.every((step) => step.outcome === 'ok'));
      // Where it is told where the door is, it is examined all the same.
      assert.equal(
        others.some(({ name }) => name === 'pohttp-delivery'),
        code === 'NAME_UNAUTHENTICATED',
      );
    });
  }

  test('says so when there are several records, of which clients take any', async () => {
    await using resolver = await resolverOf(gateway);
    const records = [srv('cogrpc', 'localhost', portOf(gateway, 'cogrpc')), srv('cogrpc', 'other.test', 443)];
    resolver.set(`${DOORS.cogrpc}.${ADDRESS}`, 'SRV', { records });

    const { steps } = await examine(resolver, tls);

    assertFailed(steps, 'dns-cogrpc', 'SERVICE_AMBIGUOUS', /^Publish exactly one/);
  });

  test('says so when the host has no address', async () => {
    await using resolver = await resolverOf(gateway);
    resolver.setAddresses('localhost', []);

    const { steps } = await examine(resolver, tls);

    assertFailed(steps, 'dns-poweb', 'NAME_UNKNOWN', /^Publish its A record/);
  });

  test("says so when this machine's clock is wrong", async () => {
    await using resolver = await resolverOf(gateway, { clockAhead: HOUR });

    const { steps } = await examine(resolver, tls);

    assertFailed(steps, 'machine-clock', 'CLOCKS_DIFFER', /^Have it set by NTP/);
    assert.equal(stepOf(steps, 'machine-clock').detail, "this machine's clock is 3600 s behind the resolver's");
  });

  test('asks a resolver that is away only once', async () => {
    const { code, steps } = await examine({ url: 'http://127.0.0.1:1/dns-query' }, tls);

    assert.equal(code, 1);
    assertFailed(steps, 'dns-poweb', 'RESOLVER_AWAY', /--resolver/);
    assert.ok(steps.slice(1).every(({ outcome }) => outcome === 'skipped'));
  });

  test('says so when another gateway is there', async () => {
    await using other = await startGateway({
      environment: {
        TLS_CERT_FILE: tls.certificateFile,
        TLS_KEY_FILE: tls.keyFile,
        INTERNET_ADDRESS: 'other.test',
      },
    });
    await using resolver = await resolverOf(other);

    const { steps } = await examine(resolver, tls);

    assertFailed(steps, 'connection-parameters', 'ANSWER_WRONG', /INTERNET_ADDRESS/);
  });

  test('exits with 2 when it is called wrongly', async () => {
    for (const parameters of [
      [gateway.poweb, '--address', ADDRESS],
      ['--address', ADDRESS, '--pohttp', gateway.pohttp],
      ['--address', 'localhost'],
      ['--address', ADDRESS, '--resolver', 'dns'],
    ]) {
      const { code, stdout, stderr } = await runRelayGateway(['ping', ...parameters]);
      assert.deepEqual([code, stdout], [2, ''], parameters.join(' '));
      assert.match(stderr, /^error: /);
    }
  });
});

describe('Of TLS, relay-gateway ping', () => {
  test('says so when the certificate should have been renewed', async () => {
    using tls = await newTlsCertificate('localhost', Date.now() + 6 * HOUR);

    const steps = await examineSite(tls, {});

    assertFailed(steps, 'tls-poweb', 'TLS_EXPIRES_SOON', /relay-gateway certificate renew/);
  });

  test('says so when TLS 1.2 is missing, which old phones need', async () => {
    using tls = await newTlsCertificate('localhost');

    const steps = await examineSite(tls, { minVersion: 'TLSv1.3' });

    assertFailed(steps, 'tls-poweb', 'TLS_VERSION_MISSING', /^Allow TLS 1\.2/);
  });

  test('is content with TLS 1.2', async () => {
    using tls = await newTlsCertificate('localhost');

    const steps = await examineSite(tls, { maxVersion: 'TLSv1.2' });

    assert.equal(stepOf(steps, 'tls-poweb').outcome, 'ok');
  });
});

/** What the doctor says of a web site with this TLS. */
async function examineSite(tls: TlsCertificate, options: object): Promise<readonly Step[]> {
  const server = createServer(
    { cert: tls.certificate, key: readFileSync(tls.keyFile), ...options },
    (_request, response) => response.end(),
  ).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const url = `https://localhost:${(server.address() as AddressInfo).port}`;
    const trusting = { NODE_EXTRA_CA_CERTS: tls.certificateFile };
    const { stdout } = await runRelayGateway(['ping', url, '--json'], trusting);
    return (JSON.parse(stdout) as { steps: Step[] }).steps;
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** A resolver that knows all doors of a gateway. */
async function resolverOf(gateway: InProcessGateway, options: { clockAhead?: number } = {}): Promise<TestResolver> {
  const resolver = await startTestResolver(options);
  for (const door of Object.keys(DOORS) as Door[]) {
    resolver.set(`${DOORS[door]}.${ADDRESS}`, 'SRV', { records: [srv(door, 'localhost', portOf(gateway, door))] });
  }
  resolver.setAddresses('localhost', ['127.0.0.1']);
  return resolver;
}

function srv(door: Door, target: string, port: number): Answer {
  return { type: 'SRV', name: `${DOORS[door]}.${ADDRESS}`, ttl: 60, data: { priority: 0, weight: 0, port, target } };
}

function portOf(gateway: InProcessGateway, door: Door): number {
  return Number(new URL(gateway[door]).port);
}

async function examine(resolver: { url: string }, tls: TlsCertificate): Promise<{ code: number; steps: Step[] }> {
  const { code, stdout, stderr } = await runRelayGateway(
    ['ping', '--address', ADDRESS, '--resolver', resolver.url, '--json'],
    { NODE_EXTRA_CA_CERTS: tls.certificateFile },
  );
  assert.equal(stderr, '');
  const report = JSON.parse(stdout) as { address: string; url: null; steps: Step[] };
  assert.deepEqual([report.address, report.url], [ADDRESS, null]);
  return { code, steps: report.steps };
}

function stepOf(steps: readonly Step[], name: string): Step {
  const step = steps.find((candidate) => candidate.name === name);
  assert.ok(step, name);
  return step;
}

function assertFailed(steps: readonly Step[], name: string, code: string, mend: RegExp): void {
  const step = stepOf(steps, name);
  assert.deepEqual([step.outcome, step.code], ['failed', code]);
  assert.match(step.mend ?? '', mend);
}
