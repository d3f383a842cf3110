/**
 * How request bodies are received: within bounds on size, pace and memory, on real sockets.
 */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { request } from 'undici';
import { BodyBudget } from '../../../src/services/http/request-bodies.ts';
import { RawConnection } from '../../support/raw-http.ts';
import { gated, LIMIT, post, startSmallServer as start } from '../../support/small-server.ts';

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

  test('is received whole, wherever its request is cut', async (t) => {
    const { url } = await start(t);
    const connection = await RawConnection.open(url);
    connection.socket.setNoDelay(true);
    const requests = [
      post('Content-Length: 5', 'Awala'),
      post('Transfer-Encoding: chunked', '2\r\nAw\r\n3\r\nala\r\n0\r\n\r\n'),
    ];
    for (const whole of requests) {
      for (let cut = 1; cut < whole.length; cut++) {
        await connection.write(whole.slice(0, cut));
        await connection.write(whole.slice(cut));
        assert.equal((await connection.response()).body, '5', `cut at ${cut}`);
      }
    }
    connection.close();
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
    assert.ok(Date.now() - started < 30_000);
    await connection.closed();
    assert.ok(lines.some(({ code }) => code === 'UPLOAD_TOO_SLOW'));
  });

  test('that keeps the slowest pace is not cut', async (t) => {
    const { url } = await start(t, { limits: { minUploadOctetsPerSecond: 100, uploadGrace: 2000 } });
    const connection = await RawConnection.open(url);
    await connection.write(post('Content-Length: 1200'));
    for (let sent = 0; sent < 1200; sent += 50) {
      await delay(150);
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
  test('at any octet of its request leaves nothing behind', async (t) => {
    const bodyBudget = new BodyBudget(10_000_000);
    const { url, server, lines } = await start(t, { bodyBudget });
    const whole = post('Content-Length: 70000', 'a'.repeat(70_000));
    const headLength = whole.length - 70_000;
    const cuts = Array.from({ length: headLength }, (_, index) => index + 1).concat(headLength + 1, 65_536, 70_000);
    await Promise.all(
      cuts.map(async (cut) => {
        const connection = await RawConnection.open(url);
        await connection.write(whole.slice(0, cut));
        connection.close();
        await connection.closed();
      }),
    );
    while (bodyBudget.inFlight > 0) {
      await delay(5);
    }
    await server.check();
    assert.deepEqual(
      lines.filter(({ level }) => Number(level) > 30),
      [],
    );
  });

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
