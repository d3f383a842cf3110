/**
 * The HTTP server under the doors, on real sockets.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { request } from 'undici';
import { RawConnection, rawRequest } from '../../support/raw-http.ts';
import { gated, post, startSmallServer as start } from '../../support/small-server.ts';

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
    assert.match(err.stack, /Secret detail.*\n.*small-server/);
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

  test('serves a request whose headers were under way', async (t) => {
    const { url, server } = await start(t);
    const begun = await RawConnection.open(url);
    await begun.write('GET /address HTTP/1.1\r\nHost: gateway.test\r\n');
    // An answer over a later connection says that the server has read what came before it.
    await server.check();
    const stopped = server.stop(AbortSignal.timeout(60_000));
    await begun.write('\r\n');
    const response = await begun.response();
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('connection'), 'close');
    await stopped;
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
