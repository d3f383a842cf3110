/** The doctor, against real gateways and against what stands where a gateway should. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { after, before, describe, type TestContext, test } from 'node:test';
import { type FaultyProxy, type Spoiling, startFaultyProxy } from '../support/faulty-proxy.ts';
import { freePort } from '../support/free-port.ts';
import { type InProcessGateway, startGateway } from '../support/gateway.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';
import { newTlsCertificate } from '../support/tls-certificate.ts';

const THREE_HOURS = 3 * 3_600_000;

const ALL_STEPS = [
  'probe',
  'clock',
  'connection-parameters',
  'pre-registration',
  'registration',
  'endpoint',
  'poweb-delivery',
  'pohttp-delivery',
  'collection',
  'deletion',
  'cargo-delivery',
  'cargo-collection',
  'cargo-refusal',
];

interface Step {
  readonly name: string;
  readonly outcome: string;
  readonly milliseconds: number;
  readonly code?: string;
  readonly mend?: string;
}

interface Report {
  readonly healthy: boolean;
  readonly gateway: { nodeId: string; internetAddress: string } | null;
  readonly steps: readonly Step[];
}

describe('relay-gateway ping', { concurrency: 2 }, () => {
  let gateway: InProcessGateway;

  before(async () => {
    gateway = await startGateway();
  });

  after(() => gateway[Symbol.asyncDispose]());

  test('prints each step with its time and exits with 0 when all is well', async () => {
    const { code, stdout, stderr } = await runRelayGateway([
      'ping',
      gateway.poweb,
      '--pohttp',
      gateway.pohttp,
      '--cargo',
      gateway.cogrpc,
    ]);

    assert.equal(code, 0, stdout);
    const lines = stdout.trimEnd().split('\n');
    const steps = lines.slice(0, -1).map((line) => /^ok +(\S+) +\d+ ms {2}\S/.exec(line)?.[1]);
    assert.deepEqual(steps, ALL_STEPS);
    assert.match(lines.at(-1) ?? '', /^The gateway is well \(\d+\.\d s\)$/);
    assert.equal(stderr, '');
  });

  test('tells which gateway it found', async () => {
    const { code, report } = await examine([gateway.poweb]);

    assert.equal(code, 0);
    assert.deepEqual(report.gateway, { nodeId: gateway.nodeId, internetAddress: gateway.internetAddress });
    assert.deepEqual(
      report.steps.map(({ name, outcome }) => [name, outcome]),
      ALL_STEPS.filter((name) => name !== 'pohttp-delivery' && !name.startsWith('cargo-')).map((name) => [name, 'ok']),
    );
    assert.ok(report.steps.every(({ milliseconds }) => milliseconds >= 0));
  });

  test('says so when nothing listens', async () => {
    const { code, stdout } = await runRelayGateway(['ping', await deadUrl()]);

    assert.equal(code, 1);
    assert.match(
      stdout,
      /^failed +probe .*connection refused\) \[UNREACHABLE\]\n +mend: Start the gateway, and check/m,
    );
    assert.match(stdout, /^skipped +registration /m);
    assert.match(stdout, /\n1 step failed/);
  });

  test('says so when the URL of CogRPC is wrong', async () => {
    for (const url of [gateway.poweb, await deadUrl()]) {
      const { code, report } = await examine([gateway.poweb, '--cargo', url]);

      assert.equal(code, 1);
      assertFailed(report, 'cargo-delivery', 'STATUS_UNEXPECTED', /CogRPC/);
    }
  });

  test('says so when CogRPC belongs to another gateway', async () => {
    await using other = await startGateway();

    const { code, report } = await examine([gateway.poweb, '--cargo', other.cogrpc]);

    assert.equal(code, 1);
    assertFailed(report, 'cargo-collection', 'STATUS_UNEXPECTED', /one gateway/);
  });

  test('says so when the host has no address', async () => {
    const { code, report } = await examine(['http://no-such-host.invalid']);

    assert.equal(code, 1);
    assertFailed(report, 'probe', 'NAME_UNKNOWN', /spelling/);
  });

  test('says so when the server is not a gateway', async (t) => {
    const url = await serve(t, (_, response) => response.writeHead(404).end());

    const { code, report } = await examine([url]);

    assert.equal(code, 1);
    assertFailed(report, 'probe', 'STATUS_UNEXPECTED', /not the right port or path/);
  });

  test("says so when the URL is that of the gateway's PoHTTP", async () => {
    const { code, report } = await examine([gateway.pohttp]);

    assert.equal(code, 1);
    assertFailed(report, 'connection-parameters', 'STATUS_UNEXPECTED', /give PoWeb's URL/);
  });

  test('says so when a web site answers', async (t) => {
    const url = await serve(t, (_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>'));

    const { code, report } = await examine([url]);

    assert.equal(code, 1);
    assertFailed(report, 'connection-parameters', 'CONTENT_TYPE_UNEXPECTED', /URL is that of an Awala gateway/);
  });

  test('says so when what listens does not speak HTTP', async (t) => {
    const server = createTcpServer((socket) => socket.end('220 mail.test ESMTP\r\n')).listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());

    const { code, report } = await examine([urlOf(server.address() as AddressInfo)]);

    assert.equal(code, 1);
    assertFailed(report, 'probe', 'NOT_HTTP', /Check the port/);
  });

  test('sends and collects the other parcel when only the URL of PoHTTP is wrong', async () => {
    const { code, report } = await examine([gateway.poweb, '--pohttp', await deadUrl()]);

    assert.equal(code, 1);
    assertFailed(report, 'pohttp-delivery', 'UNREACHABLE', /POHTTP_PORT/);
    assert.deepEqual(
      report.steps.filter(({ outcome }) => outcome !== 'ok').map(({ name }) => name),
      ['pohttp-delivery'],
    );
  });

  test("says so when the URL of PoHTTP is PoWeb's", async () => {
    const { report } = await examine([gateway.poweb, '--pohttp', gateway.poweb]);

    assertFailed(report, 'pohttp-delivery', 'STATUS_UNEXPECTED', /PoHTTP's \(8081\) with --pohttp/);
  });

  test('collects elsewhere where it is told so', async () => {
    const { code, report } = await examine([gateway.poweb, '--collection', gateway.poweb]);
    assert.equal(code, 0);
    assert.equal(report.healthy, true);

    const { report: other } = await examine([gateway.poweb, '--collection', await deadUrl()]);
    assert.deepEqual(
      other.steps.filter(({ outcome }) => outcome === 'failed').map(({ name, code: fault }) => [name, fault]),
      [['collection', 'UNREACHABLE']],
    );
  });

  test('says so when PoHTTP belongs to another gateway', async () => {
    await using other = await startGateway();

    const { code, report } = await examine([gateway.poweb, '--pohttp', other.pohttp]);

    assert.equal(code, 1);
    assertFailed(report, 'pohttp-delivery', 'STATUS_UNEXPECTED', /refused the sender/);
  });

  test('says so when an accepted parcel is lost', async (t) => {
    const proxy = await spoil(t, {
      answer(incoming, response) {
        const isParcel = incoming.url === '/v1/parcels';
        if (isParcel) {
          incoming.on('end', () => response.writeHead(202).end());
        }
        return isParcel;
      },
    });

    const { code, report } = await examine([proxy.url]);

    assert.equal(code, 1);
    assertFailed(report, 'collection', 'PARCEL_LOST', /DATA_DIR/);
  });

  test('says so when a parcel is delivered with a change', async (t) => {
    const proxy = await spoil(t, {
      socketChunk(chunk) {
        const parcel = chunk.indexOf('AwalaP\0');
        if (parcel >= 0) {
          chunk.writeUInt8(chunk.readUInt8(parcel + 500) ^ 1, parcel + 500);
        }
      },
    });

    const { code, report } = await examine([proxy.url]);

    assert.equal(code, 1);
    assertFailed(report, 'collection', 'PARCEL_ALTERED', /proxy changes parcels/);
  });

  test('says so when the clocks differ by more than two hours', async (t) => {
    const proxy = await spoil(t, {
      headers: (headers) => ({ ...headers, date: new Date(Date.now() + THREE_HOURS).toUTCString() }),
    });

    const { code, report } = await examine([proxy.url]);

    assert.equal(code, 1);
    assertFailed(report, 'clock', 'CLOCKS_DIFFER', /NTP/);
  });

  test('says so when a proxy does not pass WebSockets on', async (t) => {
    const proxy = await serve(t, async (incoming, response) => {
      const body = incoming.method === 'POST' ? await bodyOf(incoming) : null;
      const { host: _, connection, upgrade, ...headers } = incoming.headers as Record<string, string>;
      const answer = await fetch(`${gateway.poweb}${incoming.url}`, { method: incoming.method ?? '', headers, body });
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
      response.end(Buffer.from(await answer.arrayBuffer()));
    });

    const { code, report } = await examine([proxy]);

    assert.equal(code, 1);
    assertFailed(report, 'collection', 'STATUS_UNEXPECTED', /pass WebSockets on/);
  });

  test('gives up after the time that clients wait, and tells meanwhile that it waits', async (t) => {
    const url = await serve(t, () => undefined);

    const { code, stdout, stderr } = await runRelayGateway(['ping', url]);

    assert.equal(code, 1);
    assert.match(stderr, /^\.\.\. +probe +\d s so far$/m);
    assert.match(stdout, /^failed +probe +\d{4} ms .*\[ANSWER_LATE\]/m);
  });

  test('ends when its own time is up', async (t) => {
    const url = await serve(t, () => undefined);

    const { code, report } = await examine([url, '--timeout', '0.5']);

    assert.equal(code, 1);
    assertFailed(report, 'probe', 'DEADLINE_EXCEEDED', /--timeout/);
  });

  test('examines a gateway over TLS, and tells what is wrong with its TLS', async (t) => {
    using tls = await newTlsCertificate('localhost');
    await using secure = await startGateway({
      environment: { TLS_CERT_FILE: tls.certificateFile, TLS_KEY_FILE: tls.keyFile },
    });
    const poweb = `https://localhost:${new URL(secure.poweb).port}`;
    const pohttp = `https://localhost:${new URL(secure.pohttp).port}`;
    const trusting = { NODE_EXTRA_CA_CERTS: tls.certificateFile };

    await t.test('all is well where its certificate is trusted', async () => {
      const { code, report } = await examine([poweb, '--pohttp', pohttp], trusting);
      assert.equal(code, 0, JSON.stringify(report));
    });
    await t.test('its certificate is not trusted', async () => {
      const { report } = await examine([poweb]);
      assertFailed(report, 'probe', 'TLS_UNTRUSTED', /NODE_EXTRA_CA_CERTS/);
    });
    await t.test('its certificate is for another host', async () => {
      const { report } = await examine([poweb.replace('localhost', '127.0.0.1')], trusting);
      assertFailed(report, 'probe', 'TLS_NAME_WRONG', /names 127\.0\.0\.1/);
    });
    await t.test('it was called without TLS', async () => {
      const { report } = await examine([poweb.replace('https:', 'http:')]);
      assertFailed(report, 'probe', undefined, /https:/);
    });
    await t.test('it was called with TLS and has none', async () => {
      const { report } = await examine([gateway.poweb.replace('http:', 'https:')]);
      assertFailed(report, 'probe', 'TLS_EXPECTED_OTHERWISE', /http:/);
    });
  });

  test('exits with 2 when it is called wrongly', async () => {
    for (const parameters of [
      [],
      ['not-a-url'],
      ['ftp://127.0.0.1'],
      ['http://127.0.0.1/?query'],
      [gateway.poweb, '--pohttp', 'no'],
      [gateway.poweb, '--timeout', '0'],
      [gateway.poweb, '--no-such-option'],
    ]) {
      const { code, stdout, stderr } = await runRelayGateway(['ping', ...parameters]);
      assert.deepEqual([code, stdout], [2, ''], parameters.join(' '));
      assert.match(stderr, /^error: /);
    }
  });

  test('tells how it is called', async () => {
    const { code, stdout } = await runRelayGateway(['ping', '--help']);

    assert.equal(code, 0);
    for (const words of ['<url>', '--pohttp <url>', '--timeout <seconds>', '--json', 'Exit codes: 0 all is well']) {
      assert.ok(stdout.includes(words), words);
    }
  });

  function spoil(t: TestContext, spoiling: Spoiling): Promise<FaultyProxy> {
    return startFaultyProxy(gateway.poweb, spoiling).then((proxy) => {
      t.after(() => proxy[Symbol.asyncDispose]());
      return proxy;
    });
  }
});

async function examine(parameters: readonly string[], environment = {}): Promise<{ code: number; report: Report }> {
  const { code, stdout, stderr } = await runRelayGateway(['ping', '--json', ...parameters], environment);
  assert.equal(stderr, '');
  return { code, report: JSON.parse(stdout) as Report };
}

function assertFailed(report: Report, name: string, code: string | undefined, mend: RegExp): void {
  const step = report.steps.find(({ outcome }) => outcome === 'failed');
  assert.equal(step?.name, name, JSON.stringify(step));
  if (code !== undefined) {
    assert.equal(step.code, code, JSON.stringify(step));
  }
  assert.match(step.mend ?? '', mend);
  assert.equal(report.healthy, false);
}

/** A server that lives as long as the test. */
async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return urlOf(server.address() as AddressInfo);
}

/** Where nothing listens. */
async function deadUrl(): Promise<string> {
  return `http://127.0.0.1:${await freePort()}`;
}

function urlOf({ port }: AddressInfo): string {
  return `http://127.0.0.1:${port}`;
}

async function bodyOf(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
