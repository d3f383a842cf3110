import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { DeliveryFault, DeliveryFaultCode } from '../../src/gateway/delivery-fault.ts';
import type { MayDial } from '../../src/workers/internet-delivery/dialler.ts';
import { DnsOverHttps } from '../../src/workers/internet-delivery/dns-over-https.ts';
import { PoHttpClient } from '../../src/workers/internet-delivery/pohttp-client.ts';
import { freePort } from '../support/free-port.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { type Answering, type PoHttpReceiver, startPoHttpReceiver } from '../support/pohttp-receiver.ts';
import { NO_NAME, SERVER_FAILURE, startTestResolver, type TestResolver } from '../support/test-resolver.ts';
import { newTlsCertificate, type TlsCertificate } from '../support/tls-certificate.ts';

const ADDRESS = 'endpoint.example';
const HOST = 'pohttp.hosts.example';
const PARCEL = Buffer.alloc(1000, 'parcel');

let tls: TlsCertificate;
let otherTls: TlsCertificate;
let defaultAuthorities: string[];

before(async () => {
  tls = await newTlsCertificate('*.hosts.example');
  otherTls = await newTlsCertificate('elsewhere.example');
  defaultAuthorities = getCACertificates('default');
  setDefaultCACertificates([...defaultAuthorities, tls.certificate, otherTls.certificate]);
});

after(() => {
  setDefaultCACertificates(defaultAuthorities);
  tls[Symbol.dispose]();
  otherTls[Symbol.dispose]();
});

interface Room extends AsyncDisposable {
  readonly client: PoHttpClient;
  readonly resolver: TestResolver;
  readonly receiver: PoHttpReceiver;
  readonly clock: ManualClock;
}

/** A client with a resolver, and a receiver at `HOST`, which serves `ADDRESS`. */
async function openRoom(
  options: { answering?: Answering; mayDial?: MayDial; chance?: () => number; connections?: number } = {},
): Promise<Room> {
  await using stack = new AsyncDisposableStack();
  const clock = new ManualClock(Date.now());
  const resolver = stack.use(await startTestResolver());
  const receiver = stack.use(await startPoHttpReceiver(tls, options.answering));
  resolver.setServices(ADDRESS, [{ target: HOST, port: receiver.port }]);
  resolver.setAddresses(HOST, ['127.0.0.1']);
  const client = stack.use(
    new PoHttpClient({
      dns: new DnsOverHttps({ url: resolver.url, mayDial: () => true, clock }),
      mayDial: options.mayDial ?? (() => true),
      asksMachine: false,
      connections: options.connections ?? 4,
      chance: options.chance ?? (() => 0),
    }),
  );
  const resources = stack.move();
  return { client, resolver, receiver, clock, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

const faultWith =
  (code: DeliveryFaultCode, isFinal = false) =>
  (error: DeliveryFault) => {
    assert.equal(error.code, code, error.message);
    assert.equal(error.isFinal, isFinal);
    return true;
  };

test('A parcel is posted to the target of the SRV record, by its TLS name and Host', async () => {
  await using room = await openRoom();
  await room.client.deliver(ADDRESS, PARCEL);
  const [post] = room.receiver.posts;
  assert.deepEqual(
    { method: post?.method, path: post?.path, serverName: post?.serverName, host: post?.headers['host'] },
    { method: 'POST', path: '/', serverName: HOST, host: `${HOST}:${room.receiver.port}` },
  );
  assert.equal(post?.headers['content-type'], 'application/vnd.awala.parcel');
  assert.equal(post?.headers['cookie'], undefined);
  assert.deepEqual(post?.body, PARCEL);
});

test('Connections are kept for the next parcel, and what the DNS said for as long as it said', async () => {
  await using room = await openRoom({ connections: 1, answering: () => ({ status: 202, body: 'taken' }) });
  for (let number = 0; number < 5; number++) {
    await room.client.deliver(ADDRESS, PARCEL);
  }
  assert.equal(room.receiver.posts.length, 5);
  assert.equal(room.receiver.connections, 1);
  const services = () => room.resolver.questions.filter((question) => question.startsWith('SRV')).length;
  assert.equal(services(), 1);
  room.clock.advance(61_000);
  await room.client.deliver(ADDRESS, PARCEL);
  assert.equal(services(), 2);
});

test('Hosts that cannot be reached are looked for anew', async () => {
  await using room = await openRoom();
  room.resolver.setServices(ADDRESS, [{ target: HOST, port: await freePort() }]);
  await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('CONNECTION_FAILED'));
  room.resolver.setServices(ADDRESS, [{ target: HOST, port: room.receiver.port }]);
  await room.client.deliver(ADDRESS, PARCEL);
});

test('An answer that is not authenticated is not believed', async () => {
  await using room = await openRoom();
  room.resolver.setServices(ADDRESS, [{ target: HOST, port: room.receiver.port }], { isAuthenticated: false });
  await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('NAME_UNAUTHENTICATED'));
  room.resolver.setServices(ADDRESS, [], { code: NO_NAME, isAuthenticated: false });
  await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('NAME_UNAUTHENTICATED'));
  assert.equal(room.receiver.posts.length, 0);
});

test('An address without any SRV record is itself the host, on port 443', async () => {
  await using room = await openRoom();
  // Nothing listens there: that it was dialled is seen by the refusal.
  room.resolver.setAddresses('alone.hosts.example', ['127.0.0.77']);
  await assert.rejects(room.client.deliver('alone.hosts.example', PARCEL), (error: DeliveryFault) => {
    assert.match(error.message, /127\.0\.0\.77:443/);
    return faultWith('CONNECTION_FAILED')(error);
  });
});

test('An empty answer, one that says that there is no service, and a failure of the DNS are for later', async () => {
  await using room = await openRoom();
  room.resolver.setServices(ADDRESS, []);
  await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('NAME_UNRESOLVED'));
  room.resolver.setServices(ADDRESS, [{ target: '.', port: 0 }]);
  await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('NAME_UNRESOLVED'));
  room.clock.advance(61_000);
  room.resolver.setServices(ADDRESS, [], { code: SERVER_FAILURE });
  await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('NAME_UNRESOLVED'));
  room.resolver.setServices(ADDRESS, [{ target: HOST, port: room.receiver.port }]);
  await room.client.deliver(ADDRESS, PARCEL);
});

test('A resolver that is away is told as such', async () => {
  await using room = await openRoom();
  await room.resolver[Symbol.asyncDispose]();
  await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('RESOLVER_AWAY'));
});

test('An Internet address that is no domain name is refused for good, and nobody is asked', async () => {
  await using room = await openRoom();
  for (const address of ['localhost', '127.0.0.1', 'a..example', `${'a'.repeat(64)}.example`, 'x y.example', '']) {
    await assert.rejects(room.client.deliver(address, PARCEL), faultWith('ADDRESS_INVALID', true));
  }
  assert.deepEqual(room.resolver.questions, []);
});

test('Targets are tried by priority, and the next one when one cannot be reached', async () => {
  await using room = await openRoom();
  const closed = await freePort();
  room.resolver.setAddresses('first.hosts.example', ['127.0.0.1']);
  room.resolver.setServices(ADDRESS, [
    { target: HOST, port: room.receiver.port, priority: 20 },
    { target: 'first.hosts.example', port: closed, priority: 10 },
  ]);
  await room.client.deliver(ADDRESS, PARCEL);
  assert.equal(room.receiver.posts.length, 1);
  assert.ok(room.resolver.questions.includes('A first.hosts.example'));
});

test('Among targets of one priority, chance decides by weight', async () => {
  let drawn = 0;
  await using room = await openRoom({ chance: () => drawn });
  for (const name of ['light', 'heavy']) {
    room.resolver.setAddresses(`${name}.hosts.example`, ['127.0.0.1']);
  }
  room.resolver.setServices(ADDRESS, [
    { target: 'light.hosts.example', port: room.receiver.port, weight: 1 },
    { target: 'heavy.hosts.example', port: room.receiver.port, weight: 9 },
  ]);
  const counts = { light: 0, heavy: 0 };
  for (let number = 0; number < 100; number++) {
    drawn = number / 100;
    await room.client.deliver(ADDRESS, PARCEL);
    counts[`${room.receiver.posts.at(-1)?.serverName}`.startsWith('light') ? 'light' : 'heavy']++;
  }
  assert.ok(counts.light >= 10 && counts.light <= 20, `${counts.light} of 100 by a weight of 1 in 10`);
});

for (const { status, code, isFinal } of [
  { status: 400, code: 'REFUSED', isFinal: true },
  { status: 403, code: 'REFUSED', isFinal: true },
  { status: 404, code: 'REFUSED', isFinal: true },
  { status: 415, code: 'REFUSED', isFinal: true },
  { status: 429, code: 'NOT_NOW', isFinal: false },
  { status: 500, code: 'NOT_NOW', isFinal: false },
  { status: 503, code: 'NOT_NOW', isFinal: false },
  { status: 507, code: 'NOT_NOW', isFinal: false },
  { status: 301, code: 'ANSWER_UNEXPECTED', isFinal: false },
] as const) {
  test(`Status ${status} is ${isFinal ? 'a refusal for good' : 'for later'}`, async () => {
    await using room = await openRoom({ answering: () => ({ status, body: 'why' }) });
    await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith(code, isFinal));
  });
}

test('Any status of success is one', async () => {
  let status = 200;
  await using room = await openRoom({ answering: () => ({ status }) });
  for (status of [200, 202, 204]) {
    await room.client.deliver(ADDRESS, PARCEL);
  }
});

for (const status of [307, 308]) {
  test(`Three redirects by ${status} are followed with the whole parcel, to other hosts too`, async () => {
    const ways: Record<string, string> = { '/': '/one?a=b', '/one?a=b': 'two', '/two': 'https://third.hosts.example' };
    await using room = await openRoom({
      answering({ path, headers }) {
        const port = `${headers['host']}`.split(':')[1];
        const to = `${headers['host']}`.startsWith('third') ? undefined : ways[path];
        return to
          ? { status, headers: { location: to.startsWith('https') ? `${to}:${port}/end` : to } }
          : { status: 202 };
      },
    });
    room.resolver.setAddresses('third.hosts.example', ['127.0.0.1']);
    await room.client.deliver(ADDRESS, PARCEL);
    assert.deepEqual(
      room.receiver.posts.map(({ path }) => path),
      ['/', '/one?a=b', '/two', '/end'],
    );
    assert.ok(room.receiver.posts.every(({ method, body }) => method === 'POST' && body.equals(PARCEL)));
    assert.equal(room.receiver.posts.at(-1)?.serverName, 'third.hosts.example');
  });
}

test('Redirects without end, to nowhere and to plain HTTP are refused', async () => {
  let location: string | undefined = '/again';
  await using room = await openRoom({
    answering: () => ({ status: 307, headers: location === undefined ? {} : { location } }),
  });
  await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('REDIRECTS_TOO_MANY'));
  assert.equal(room.receiver.posts.length, 6);
  for (location of [undefined, 'https://', 'https://a b/']) {
    await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('REDIRECT_INVALID'));
  }
  for (location of ['http://pohttp.hosts.example/', 'ftp://pohttp.hosts.example/', 'file:///etc/passwd']) {
    await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('REDIRECT_INSECURE'));
  }
});

test('A certificate for another name, and one that nobody vouches for, end the attempt', async () => {
  await using room = await openRoom();
  await using other = await startPoHttpReceiver(otherTls);
  room.resolver.setServices(ADDRESS, [{ target: HOST, port: other.port }]);
  await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('TLS_FAILED'));
  using unknown = await newTlsCertificate('*.hosts.example');
  await using stranger = await startPoHttpReceiver(unknown);
  room.resolver.setServices('stranger.example', [{ target: HOST, port: stranger.port }]);
  await assert.rejects(room.client.deliver('stranger.example', PARCEL), faultWith('TLS_FAILED'));
  assert.equal(other.posts.length + stranger.posts.length, 0);
});

test('What does not speak TLS is not spoken to', async () => {
  await using room = await openRoom();
  const server = createServer((socket) => socket.end('HTTP/1.1 202 Accepted\r\n\r\n')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  room.resolver.setServices(ADDRESS, [{ target: HOST, port: (server.address() as { port: number }).port }]);
  await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('TLS_FAILED'));
  server.close();
});

test('A connection that breaks, before or in the middle of an answer, is for later', async () => {
  let cut = (response: ServerResponse): void => void response.destroy();
  await using room = await openRoom({
    answering(_post, response) {
      cut(response);
      return undefined;
    },
  });
  await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('CONNECTION_FAILED'));
  cut = (response) => void response.socket?.end('HTTP/1.1 20');
  await assert.rejects(room.client.deliver(ADDRESS, PARCEL), faultWith('CONNECTION_FAILED'));
});

test('The status counts, however the body ends; a long one costs the connection', async () => {
  await using room = await openRoom({
    answering(_post, response) {
      response.writeHead(202);
      response.on('error', () => undefined);
      const chunk = Buffer.alloc(16 * 1024);
      const more = () => {
        while (!response.destroyed && response.write(chunk)) {}
      };
      response.on('drain', more);
      more();
      return undefined;
    },
  });
  await room.client.deliver(ADDRESS, PARCEL);
  await room.client.deliver(ADDRESS, PARCEL);
  assert.equal(room.receiver.connections, 2);
});

test('No more connections are opened to one host than it is allowed', async () => {
  const gate = Promise.withResolvers<void>();
  await using room = await openRoom({
    connections: 2,
    async answering() {
      await gate.promise;
      return { status: 202 };
    },
  });
  const deliveries = Array.from({ length: 6 }, () => room.client.deliver(ADDRESS, PARCEL));
  while (room.receiver.posts.length < 2) {
    await room.receiver.next();
  }
  gate.resolve();
  await Promise.all(deliveries);
  assert.equal(room.receiver.posts.length, 6);
  assert.equal(room.receiver.connections, 2);
});
