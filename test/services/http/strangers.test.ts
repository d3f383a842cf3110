/** What clients may take who have not proved who they are. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { suite, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { LocalMeters } from '../../../src/backends/local/meters.ts';
import { AddressLimits, type AddressRates } from '../../../src/services/http/address-limits.ts';
import { BodyBudget } from '../../../src/services/http/request-bodies.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { RawConnection, rawRequest } from '../../support/raw-http.ts';
import { LIMIT, post, startSmallServer } from '../../support/small-server.ts';

const PERIOD = 60_000;
const NEIGHBOURS = ['127.1.1.1', '127.1.1.2'];
const FAR = '127.2.1.1';

function limitsOf(rates: Partial<AddressRates>) {
  const clock = new ManualClock();
  return { clock, addressLimits: new AddressLimits({ meters: new LocalMeters(clock), clock, rates }) };
}

/** A connection from one of this machine's many addresses. */
async function connectFrom(t: TestContext, url: string, localAddress: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), localAddress });
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return new RawConnection(socket);
}

/** Whether the server keeps the connection and answers on it. */
async function isServed(connection: RawConnection): Promise<boolean> {
  await connection.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n').catch(() => undefined);
  return connection.response().then(
    ({ status }) => status === 200,
    () => false,
  );
}

suite('Strangers', () => {
  test('of one neighbourhood have so many connections and no more; others have theirs', async (t) => {
    const { url } = await startSmallServer(t, { limits: { maxConnectionsPerAddress: 4 } });
    const first: RawConnection[] = [];
    for (let number = 0; number < 4; number++) {
      first.push(await connectFrom(t, url, NEIGHBOURS[number % 2] as string));
      assert.ok(await isServed(first.at(-1) as RawConnection));
    }
    assert.ok(!(await isServed(await connectFrom(t, url, NEIGHBOURS[0] as string))));
    assert.ok(await isServed(await connectFrom(t, url, FAR)));
    first[0]?.close();
    await first[0]?.closed();
    // The server notes it when it likes.
    while (!(await isServed(await connectFrom(t, url, NEIGHBOURS[1] as string)))) {
      await delay(5);
    }
  });

  test('who prove who they are make room for others of their neighbourhood', async (t) => {
    const { url, server } = await startSmallServer(t, { limits: { maxConnectionsPerAddress: 1 } });
    const accepted: Socket[] = [];
    server.app.server.on('connection', (socket: Socket) => accepted.push(socket));
    const one = await connectFrom(t, url, FAR);
    assert.ok(await isServed(one));
    assert.ok(!(await isServed(await connectFrom(t, url, FAR))));
    server.prove(accepted[0] as Socket, 'peer');
    assert.ok(await isServed(await connectFrom(t, url, FAR)));
    assert.ok(!(await isServed(await connectFrom(t, url, FAR))));
    assert.ok(await isServed(one));
  });

  test('who prove to be one client many times take the rest from their neighbourhood', async (t) => {
    const { url, server } = await startSmallServer(t, { limits: { maxConnectionsPerAddress: 2 } });
    server.app.server.on('connection', (socket: Socket) => server.prove(socket, 'peer'));
    for (let number = 0; number < 18; number++) {
      assert.ok(await isServed(await connectFrom(t, url, FAR)), `connection ${number}`);
    }
    assert.ok(!(await isServed(await connectFrom(t, url, FAR))));
    server.app.server.removeAllListeners('connection');
  });

  test('make room for others where there is none: the oldest of the network that has most', async (t) => {
    const { url } = await startSmallServer(t, { limits: { maxConnections: 4 } });
    const many: RawConnection[] = [];
    for (let number = 0; number < 4; number++) {
      many.push(await connectFrom(t, url, FAR));
      assert.ok(await isServed(many[number] as RawConnection));
    }
    assert.ok(!(await isServed(await connectFrom(t, url, FAR))), 'of the same network');
    const others: RawConnection[] = [];
    for (const address of ['127.3.1.1', '127.4.1.1', '127.5.1.1']) {
      const other = await connectFrom(t, url, address);
      assert.ok(await isServed(other), address);
      await many[others.length]?.closed();
      others.push(other);
    }
    assert.ok(!(await isServed(await connectFrom(t, url, '127.6.1.1'))), 'where nobody has more than one');
    for (const connection of [...others, many[3] as RawConnection]) {
      assert.ok(await isServed(connection));
    }
  });

  test('behind a trusted proxy are not counted by the address of that', async (t) => {
    const limits = { maxConnectionsPerAddress: 1 };
    const { url } = await startSmallServer(t, { limits, trustedProxies: ['127.1.1.0/24'] });
    for (let number = 0; number < 3; number++) {
      assert.ok(await isServed(await connectFrom(t, url, NEIGHBOURS[0] as string)));
    }
  });

  test('get 503 after too many requests, and 200 still where Android looks for the Internet', async (t) => {
    const { clock, addressLimits } = limitsOf({ request: { limit: 3, period: PERIOD } });
    const { url } = await startSmallServer(t, { addressLimits });
    const statusFrom = async (address: string, path: string) => {
      const connection = await connectFrom(t, url, address);
      await connection.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
      const response = await connection.response();
      await connection.closed();
      return response;
    };
    for (let number = 0; number < 10; number++) {
      assert.equal((await statusFrom(FAR, '/')).status, 200);
    }
    for (let number = 0; number < 4; number++) {
      assert.equal((await statusFrom(FAR, '/nothing')).status, 404);
    }
    const refused = await statusFrom(FAR, '/address');
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get('retry-after'), String(PERIOD / 10 / 1000));
    assert.equal((await statusFrom(FAR, '/')).status, 200);
    assert.equal((await statusFrom(NEIGHBOURS[0] as string, '/address')).status, 200);
    clock.advance(PERIOD);
    assert.equal((await statusFrom(FAR, '/address')).status, 200);
  });

  test('do not stop whoever has proved who it is, or can, by what they did wrong', async (t) => {
    const { clock, addressLimits } = limitsOf({
      request: { limit: 3, period: PERIOD },
      signedRequest: { limit: 2, period: PERIOD },
    });
    const { url, server } = await startSmallServer(t, { addressLimits });
    server.app.server.once('connection', (socket: Socket) => server.prove(socket, 'peer'));
    const known = await connectFrom(t, url, FAR);
    const statusOf = async (connection: RawConnection, path: string, headers = '') => {
      await connection.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`);
      return (await connection.response()).status;
    };
    const stranger = await connectFrom(t, url, FAR);
    for (let number = 0; number < 4; number++) {
      assert.equal(await statusOf(stranger, '/nothing'), 404);
    }
    assert.equal(await statusOf(stranger, '/address'), 503);
    const signature = 'Authorization: signature\r\n';
    const signing = await connectFrom(t, url, FAR);
    // What comes of a signature is seen when it was verified, and only wrong ones count.
    for (let number = 0; number < 3; number++) {
      assert.equal(await statusOf(signing, '/nothing', signature), 404);
    }
    assert.equal(await statusOf(signing, '/address', signature), 503);
    // The address is that of those who are refused. It is a known client's all the same, until it does what any might.
    assert.equal(await statusOf(known, '/nothing'), 404);
    assert.equal(await statusOf(known, '/address'), 503);
    clock.advance(PERIOD);
    assert.equal(await statusOf(known, '/address'), 200);
  });

  test('who send headers without an end are cut when these take too much memory together', async (t) => {
    const { url } = await startSmallServer(t, { limits: { maxUnaccountedOctets: 100_000 } });
    const honest = await connectFrom(t, url, NEIGHBOURS[0] as string);
    assert.ok(await isServed(honest));
    const headers = `GET / HTTP/1.1\r\nHost: a\r\nX-Padding: ${'x'.repeat(20_000)}`;
    const flood = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const connection = await connectFrom(t, url, FAR);
        await connection.write(headers);
        return connection;
      }),
    );
    await flood[0]?.closed();
    await Promise.all(flood.slice(1, 6).map((connection) => connection.closed()));
    assert.ok(await isServed(honest));
  });

  test('of one neighbourhood take only their share of the memory for bodies that are not complete', async (t) => {
    const bodyBudget = new BodyBudget(4 * LIMIT, { maxIncomplete: 2 * LIMIT, maxIncompletePerAddress: LIMIT });
    const { url } = await startSmallServer(t, { bodyBudget });
    const started = post(`Content-Length: ${LIMIT}`, 'a'.repeat(LIMIT - 1));
    const slow = await connectFrom(t, url, NEIGHBOURS[0] as string);
    await slow.write(started);
    while (bodyBudget.inFlight < LIMIT) {
      await delay(5);
    }
    const neighbour = await connectFrom(t, url, NEIGHBOURS[1] as string);
    await neighbour.write(started);
    assert.equal((await neighbour.response()).status, 503);
    const far = await connectFrom(t, url, FAR);
    await far.write(started);
    while (bodyBudget.inFlight < 2 * LIMIT) {
      await delay(5);
    }
    // All that strangers may take is taken.
    assert.equal((await rawRequest(url, started)).status, 503);
    await far.write('a');
    assert.equal((await far.response()).body, String(LIMIT));
    await slow.write('a');
    assert.equal((await slow.response()).body, String(LIMIT));
    assert.equal(bodyBudget.inFlight, 0);
  });

  test('lose bodies that come slowly to others that come now, when there is no room', async (t) => {
    const bodyBudget = new BodyBudget(4 * LIMIT, { maxIncomplete: LIMIT });
    const { url } = await startSmallServer(t, { bodyBudget });
    const slow = await connectFrom(t, url, FAR);
    await slow.write(post(`Content-Length: ${LIMIT}`, 'a'.repeat(LIMIT - 1)));
    while (bodyBudget.inFlight < LIMIT) {
      await delay(5);
    }
    const whole = post('Content-Length: 5', 'Awala');
    assert.equal((await rawRequest(url, whole)).status, 503, 'the slow one has its time');
    await delay(2100);
    assert.equal((await rawRequest(url, whole)).body, '5');
    assert.equal((await slow.response()).status, 503);
    assert.equal(bodyBudget.inFlight, 0);
  });

  test('make the gateway sign no more than so often, one neighbourhood half of it', async () => {
    const { clock, addressLimits } = limitsOf({ signature: { limit: 2, period: 1000 } });
    const limited = { code: 'ADDRESS_LIMITED', status: 503 };
    await addressLimits.takeSignature(FAR);
    await addressLimits.takeSignature(FAR);
    await assert.rejects(addressLimits.takeSignature(FAR), limited);
    await addressLimits.takeSignature('192.0.2.1');
    await addressLimits.takeSignature('192.0.2.1');
    await assert.rejects(addressLimits.takeSignature('198.51.100.1'), limited);
    clock.advance(1000);
    await addressLimits.takeSignature(FAR);
  });
});
