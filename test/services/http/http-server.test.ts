/**
 * The HTTP server under the doors, on real sockets, with small routes of the tests' own.
 */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { request } from 'undici';
import { BodyBudget } from '../../../src/services/http/request-bodies.ts';
import { createHttpServer, type HttpServer, type HttpServerOptions } from '../../../src/services/http/server.ts';
import { logLines } from '../../support/log-lines.ts';
import { RawConnection, rawRequest } from '../../support/raw-http.ts';

const LIMIT = 100_000;

interface Started {
  readonly url: string;
  readonly server: HttpServer;
  readonly lines: readonly Record<string, unknown>[];
}

/** A server with `POST /bodies`, which answers with the length of the body once `gate` lets it. */
async function start(
  t: TestContext,
  options: Partial<HttpServerOptions> = {},
  gate: (body: Buffer) => Promise<void> = async () => {},
): Promise<Started> {
  const { log, lines } = logLines();
  const server = await createHttpServer({ name: 'test', host: '127.0.0.1', port: 0, log, ...options });
  server.app.post('/bodies', (message, reply) =>
    server.bodies.receive(message.raw, LIMIT, async (body) => {
      await gate(body);
      return reply.header('content-type', 'application/x-test').send(Buffer.from(String(body.length)));
    }),
  );
  server.app.post('/late', async (message, reply) => {
    await gate(Buffer.alloc(0));
    await server.bodies.receive(message.raw, LIMIT, () => {});
    return reply.send();
  });
  server.app.get('/address', (message, reply) => reply.send(Buffer.from(message.ip)));
  server.app.get('/fault', () => {
    throw new Error('Secret detail');
  });
  const url = await server.listen();
  t.after(() => server.stop(AbortSignal.abort()));
  return { url, server, lines };
}

function post(headers: string, body = ''): string {
  return `POST /bodies HTTP/1.1\r\nHost: gateway.test\r\n${headers}\r\n\r\n${body}`;
}

/** A gate that the test opens, and a promise of the first body at it. */
function gated() {
  const arrived = Promise.withResolvers<Buffer>();
  const opened = Promise.withResolvers<void>();
  const gate = (body: Buffer) => {
    arrived.resolve(body);
    return opened.promise;
  };
  return { gate, arrived: arrived.promise, open: () => opened.resolve() };
}

describe('Every port', () => {
  test('answers GET and HEAD / with 200', async (t) => {
    const { url } = await start(t);
    for (const method of ['GET', 'HEAD'] as const) {
      const { statusCode, headers, body } = await request(url, { method });
      assert.equal(statusCode, 200);
      assert.equal(headers['content-type'], 'text/plain');
      assert.equal((await body.text()) === '', method === 'HEAD');
    }
  });

  test('answers OPTIONS with 204 and Allow, and never with CORS', async (t) => {
    const { url } = await start(t);
    const { statusCode, headers, body } = await request(`${url}/bodies?a=b`, {
      method: 'OPTIONS',
      headers: { origin: 'https://example.com', 'access-control-request-method': 'POST' },
    });
    assert.equal(statusCode, 204);
    assert.equal(headers['allow'], 'POST, OPTIONS');
    assert.equal(await body.text(), '');
    assert.deepEqual(
      Object.keys(headers).filter((name) => name.startsWith('access-control')),
      [],
    );
  });

  test('answers methods that a path does not have with 405 and Allow', async (t) => {
    const { url } = await start(t);
    for (const method of ['PUT', 'DELETE', 'PATCH', 'GET', 'PROPFIND', 'TRACE']) {
      const response = await rawRequest(url, `${method} /bodies HTTP/1.1\r\nHost: a\r\n\r\n`);
      assert.equal(response.status, 405, method);
      assert.equal(response.headers.get('allow'), 'POST, OPTIONS');
    }
    const root = await rawRequest(url, 'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc');
    assert.equal(root.status, 405);
    assert.equal(root.headers.get('allow'), 'GET, HEAD, OPTIONS');
  });

  test('answers unknown paths with 404, whatever the method', async (t) => {
    const { url } = await start(t);
    for (const method of ['GET', 'POST', 'OPTIONS'] as const) {
      const { statusCode, headers, body } = await request(`${url}/bodies/none`, { method });
      assert.equal(statusCode, 404);
      assert.equal(headers['content-type'], 'text/plain');
      await body.dump();
    }
  });

  test('answers an internal fault with 500 and no detail, and logs it with its stack and trace id', async (t) => {
    const { url, lines } = await start(t);
    const { statusCode, body } = await request(`${url}/fault`);
    assert.equal(statusCode, 500);
    assert.doesNotMatch(await body.text(), /Secret/);
    const line = lines.find(({ level }) => level === 50);
    const { err, trace } = line as { err: { stack: string }; trace: string };
    assert.match(err.stack, /Secret detail.*\n.*http-server\.test/);
    assert.match(trace, /^[0-9a-f-]{36}$/);
  });

  test('explains itself in JSON if that is accepted, else in plain text', async (t) => {
    const { url } = await start(t);
    const json = await request(`${url}/none`, { headers: { accept: 'text/html, Application/JSON;q=0.5' } });
    assert.equal(json.headers['content-type'], 'application/json');
    assert.deepEqual(await json.body.json(), { message: 'There is nothing here' });
    const plain = await request(`${url}/none`, { headers: { accept: 'text/html' } });
    assert.equal(plain.headers['content-type'], 'text/plain');
    assert.equal(await plain.body.text(), 'There is nothing here\n');
  });

  test('refuses headers that are too large with 431 and what is not HTTP with 400', async (t) => {
    const { url } = await start(t, { limits: { maxHeaderOctets: 4096 } });
    const large = await rawRequest(url, `GET / HTTP/1.1\r\nHost: a\r\nX-Large: ${'a'.repeat(5000)}\r\n\r\n`);
    assert.equal(large.status, 431);
    const broken = await rawRequest(url, 'Awala\r\n\r\n');
    assert.equal(broken.status, 400);
  });

  test('drops connections over the most that may be open', async (t) => {
    const { url, lines } = await start(t, { limits: { maxConnections: 2 } });
    const first = await RawConnection.open(url);
    const second = await RawConnection.open(url);
    const third = await RawConnection.open(url);
    await third.closed();
    assert.ok(lines.some(({ level, connections }) => level === 40 && connections === 2));
    await first.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.equal((await first.response()).status, 200);
    first.close();
    second.close();
  });
});

describe('A body', () => {
  test('is received whole, however it is cut', async (t) => {
    const { url } = await start(t);
    for (const length of [0, 1, 65_536, 65_537, LIMIT]) {
      const body = Buffer.alloc(length, 'b');
      const known = await request(`${url}/bodies`, { method: 'POST', body });
      assert.equal(await known.body.text(), String(length));
      async function* pieces() {
        for (let start = 0; start < length; start += 30_011) {
          yield body.subarray(start, start + 30_011);
        }
      }
      const chunked = await request(`${url}/bodies`, { method: 'POST', body: Readable.from(pieces()) });
      assert.equal(await chunked.body.text(), String(length));
    }
  });

  test('announced as too large is refused before it is sent, and the connection goes on once it was', async (t) => {
    const { url } = await start(t);
    const connection = await RawConnection.open(url);
    await connection.write(post(`Content-Length: ${LIMIT + 1}`));
    const refused = await connection.response();
    assert.equal(refused.status, 413);
    assert.equal(refused.headers.get('connection'), 'keep-alive');
    await connection.write('a'.repeat(LIMIT + 1));
    await connection.write(post('Content-Length: 3', 'abc'));
    assert.equal((await connection.response()).body, '3');
    connection.close();
  });

  test('sent in chunks is refused when it has become too large', async (t) => {
    const { url } = await start(t);
    const connection = await RawConnection.open(url);
    await connection.write(post('Transfer-Encoding: chunked'));
    await connection.write(`${LIMIT.toString(16)}\r\n${'a'.repeat(LIMIT)}\r\n`);
    await connection.write('1\r\na\r\n');
    assert.equal((await connection.response()).status, 413);
    connection.close();
  });

  test('that goes on after its refusal is not read for ever', async (t) => {
    const { url } = await start(t);
    const connection = await RawConnection.open(url);
    await connection.write(post('Transfer-Encoding: chunked'));
    const chunk = `10000\r\n${'a'.repeat(0x10000)}\r\n`;
    let sent = 0;
    const flood = (async () => {
      for (; sent < 1000; sent++) {
        await connection.write(chunk);
      }
    })();
    await assert.rejects(flood);
    await connection.closed();
    assert.ok(sent < 1000);
  });

  test('is asked for with 100 Continue only if it will be read', async (t) => {
    const { url } = await start(t);
    const welcome = await RawConnection.open(url);
    await welcome.write(post('Content-Length: 3\r\nExpect: 100-continue'));
    assert.equal((await welcome.response()).status, 100);
    await welcome.write('abc');
    assert.equal((await welcome.response()).body, '3');
    welcome.close();

    const refused = await RawConnection.open(url);
    await refused.write(post(`Content-Length: ${LIMIT + 1}\r\nExpect: 100-continue`));
    const response = await refused.response();
    assert.equal(response.status, 413);
    assert.equal(response.headers.get('connection'), 'close');
    await refused.closed();
  });

  test('that comes too slowly is cut with 503', async (t) => {
    const { url, lines } = await start(t, { limits: { minUploadOctetsPerSecond: 1000, uploadGrace: 1000 } });
    const connection = await RawConnection.open(url);
    const started = Date.now();
    await connection.write(post('Content-Length: 50000', 'a'.repeat(40_000)));
    const response = await connection.response();
    assert.equal(response.status, 503);
    assert.equal(response.headers.get('retry-after'), '10');
    assert.ok(Date.now() - started < 5000);
    await connection.closed();
    assert.ok(lines.some(({ code }) => code === 'UPLOAD_TOO_SLOW'));
  });

  test('that keeps the slowest pace is not cut', async (t) => {
    const { url } = await start(t, { limits: { minUploadOctetsPerSecond: 100, uploadGrace: 1000 } });
    const connection = await RawConnection.open(url);
    await connection.write(post('Content-Length: 1200'));
    for (let sent = 0; sent < 1200; sent += 50) {
      await delay(100);
      await connection.write('a'.repeat(50));
    }
    assert.equal((await connection.response()).body, '1200');
    connection.close();
  });

  test('whose headers never end is cut with 503', async (t) => {
    const { url } = await start(t, { limits: { headersTimeout: 1000 } });
    const connection = await RawConnection.open(url);
    await connection.write('POST /bodies HTTP/1.1\r\nHost: a\r\nX-A: b\r\n');
    assert.equal((await connection.response()).status, 503);
    await connection.closed();
  });

  test('that never comes is cut at the end of the time for a request', async (t) => {
    const limits = { headersTimeout: 1000, requestTimeout: 1000, uploadGrace: 60_000 };
    const { url } = await start(t, { limits });
    const connection = await RawConnection.open(url);
    await connection.write(post('Content-Length: 3'));
    assert.equal((await connection.response()).status, 503);
    await connection.closed();
  });

  test('is refused with 503 and Retry-After while those in flight take all memory that they may', async (t) => {
    const { gate, arrived, open } = gated();
    const bodyBudget = new BodyBudget(LIMIT);
    const { url } = await start(t, { bodyBudget }, gate);
    const first = request(`${url}/bodies`, { method: 'POST', body: Buffer.alloc(80_000) });
    await arrived;
    assert.equal(bodyBudget.inFlight, 80_000);

    const connection = await RawConnection.open(url);
    await connection.write(post('Content-Length: 20001'));
    const refused = await connection.response();
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get('retry-after'), '10');
    connection.close();

    const chunked = await RawConnection.open(url);
    await chunked.write(post('Transfer-Encoding: chunked'));
    await chunked.write('5000\r\n');
    await chunked.write('a'.repeat(0x5000));
    assert.equal((await chunked.response()).status, 503);
    chunked.close();

    const fits = request(`${url}/bodies`, { method: 'POST', body: Buffer.alloc(20_000) });
    open();
    assert.equal(await (await first).body.text(), '80000');
    assert.equal(await (await fits).body.text(), '20000');
    assert.equal(bodyBudget.inFlight, 0);
  });

  test('holds no more memory than came of it, and none once its client is gone', async (t) => {
    const bodyBudget = new BodyBudget(1_000_000);
    const { url, lines } = await start(t, { bodyBudget });
    const connection = await RawConnection.open(url);
    await connection.write(post(`Content-Length: ${LIMIT}`, 'a'));
    while (bodyBudget.inFlight === 0) {
      await delay(5);
    }
    assert.equal(bodyBudget.inFlight, 65_536);
    connection.close();
    while (bodyBudget.inFlight > 0) {
      await delay(5);
    }
    assert.deepEqual(
      lines.filter(({ level, msg }) => level !== 20 && !String(msg).startsWith('Listening')),
      [],
    );
  });
});

describe('A client that goes away', () => {
  test('before its body is received holds nothing up', async (t) => {
    const { gate, arrived, open } = gated();
    const { url, lines } = await start(t, {}, gate);
    const connection = await RawConnection.open(url);
    await connection.write('POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na');
    await arrived;
    connection.close();
    while (!lines.some(({ msg }) => msg === 'Broken request')) {
      await delay(5);
    }
    open();
    while (!lines.some(({ msg }) => msg === 'Request was not completed')) {
      await delay(5);
    }
  });
});

describe('The address of a client', () => {
  test('is that of the connection, whatever it says', async (t) => {
    const { url } = await start(t);
    const { body } = await request(`${url}/address`, { headers: { 'x-forwarded-for': '203.0.113.7' } });
    assert.equal(await body.text(), '127.0.0.1');
  });

  test('is the one that trusted proxies forward, and no other', async (t) => {
    const { url } = await start(t, { trustedProxies: ['127.0.0.0/8', '198.51.100.0/24'] });
    const { body } = await request(`${url}/address`, {
      headers: { 'x-forwarded-for': '192.0.2.1, 203.0.113.7, 198.51.100.4' },
    });
    assert.equal(await body.text(), '203.0.113.7');
  });
});

describe('The check', () => {
  test('passes while the server answers, and fails when it is stopped', async (t) => {
    const { server } = await start(t);
    await server.check();
    await server.stop(AbortSignal.timeout(5000));
    await assert.rejects(server.check(), /Not listening/);
  });
});

describe('The stop', () => {
  test('lets requests in hand finish, closes their connections, and takes no new ones', async (t) => {
    const { gate, arrived, open } = gated();
    const { url, server } = await start(t, {}, gate);
    const busy = await RawConnection.open(url);
    await busy.write(post('Content-Length: 3', 'abc'));
    await arrived;
    const idle = await RawConnection.open(url);
    await idle.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await idle.response();

    const stopped = server.stop(AbortSignal.timeout(60_000));
    await idle.closed();
    await assert.rejects(RawConnection.open(url), { code: 'ECONNREFUSED' });
    open();
    const response = await busy.response();
    assert.equal(response.body, '3');
    assert.equal(response.headers.get('connection'), 'close');
    await stopped;
    await busy.closed();
  });

  test('cuts what is still open at its deadline', async (t) => {
    const { gate, arrived } = gated();
    const { url, server } = await start(t, {}, gate);
    const busy = await RawConnection.open(url);
    await busy.write(post('Content-Length: 3', 'abc'));
    await arrived;
    const deadline = new AbortController();
    const stopped = server.stop(deadline.signal);
    deadline.abort();
    await stopped;
    await busy.closed();
  });

  test('waits for what was to be drained', async (t) => {
    const { server } = await start(t);
    const order: string[] = [];
    server.onStop(async () => {
      await delay(20);
      order.push('drained');
    });
    await server.stop(AbortSignal.timeout(60_000));
    order.push('stopped');
    assert.deepEqual(order, ['drained', 'stopped']);
  });
});
