/** Signals by Redis when Redis, or a connection to it, comes and goes. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, before, suite, test } from 'node:test';
import type { RedisBackends } from '../../../src/backends/redis/redis-backends.ts';
import { isAway, isBack, redisBackends } from '../../support/redis-backends.ts';
import { needsRedis, type RedisServer, startRedis } from '../../support/redis-server.ts';

/** Subscribers that are told of a gap in a second, at most. */
const PACE = 500;

/** Timers may be a millisecond early, and there are ten in a second. */
const TIMER_SLACK = 20;

const NOTHING = Buffer.alloc(0);

/** What a name points to that a primary has: it can be made to point elsewhere, which breaks its connections. */
async function startName(to: number) {
  let target = to;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined).on('close', () => other.destroy());
      one.pipe(other);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    for (const socket of sockets) {
      socket.destroy();
    }
    sockets.clear();
  };
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    pointTo(port: number) {
      target = port;
      cut();
    },
    async [Symbol.asyncDispose]() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}

suite('Signals by Redis', needsRedis(), () => {
  let server: RedisServer;
  let name: string;
  before(async () => {
    server = await startRedis();
  });
  after(() => server[Symbol.asyncDispose]());

  const open = () => redisBackends(server.url, { name });

  test('what was told to a primary that the others had left is made good by a gap', async () => {
    name = randomBytes(8).toString('hex');
    await using old = await startRedis();
    await using primary = await startName(Number(new URL(old.url).port));
    await using publisher = await redisBackends(primary.url, { name });
    await using subscriber = await open();
    const heard: string[] = [];
    const { promise: told, resolve } = Promise.withResolvers<void>();
    await subscriber.signals.subscribe('mailbox/1', (payload) => heard.push(`${payload}`), resolve);
    await subscriber.signals.subscribe(
      'mailbox/2',
      () => undefined,
      () => heard.push('a gap where nothing was lost'),
    );
    publisher.signals.publish('mailbox/1', Buffer.from('lost'));
    // Commands of one connection are carried out in order: by then the old primary has taken it.
    await publisher.check();
    primary.pointTo(Number(new URL(server.url).port));
    await told;
    assert.deepEqual(heard, []);
    await isBack(publisher);
    const { promise: live, resolve: hear } = Promise.withResolvers<string>();
    await subscriber.signals.subscribe(
      'mailbox/3',
      (payload) => hear(`${payload}`),
      () => undefined,
    );
    publisher.signals.publish('mailbox/3', Buffer.from('live'));
    assert.equal(await live, 'live');
  });

  test('every subscriber is told once of a gap, five hundred a second, and hears again', async () => {
    name = randomBytes(8).toString('hex');
    await using near = await open();
    await using far = await open();
    const told = new Map<string, number>();
    const times: number[] = [];
    const heard: string[] = [];
    const { promise: allTold, resolve } = Promise.withResolvers<void>();
    const channels = Array.from({ length: 1250 }, (_, number) => `mailbox/${number}`);
    await Promise.all(
      channels.map((channel) =>
        near.signals.subscribe(
          channel,
          (payload) => heard.push(`${channel} ${payload}`),
          () => {
            told.set(channel, (told.get(channel) ?? 0) + 1);
            times.push(performance.now());
            if (told.size === channels.length) {
              resolve();
            }
          },
        ),
      ),
    );

    await server.kill();
    await server.start();
    await allTold;

    assert.deepEqual([...told.values()], Array(channels.length).fill(1));
    for (let index = PACE; index < times.length; index++) {
      const span = (times[index] as number) - (times[index - PACE] as number);
      assert.ok(span >= 1000 - TIMER_SLACK, `${PACE + 1} were told in ${span} ms`);
    }
    await published(far, near, channels);
    assert.deepEqual(heard.sort(), channels.map((channel) => `${channel} again`).sort());
  });

  /** Publishes on all channels, and waits until what was published has come. */
  async function published(from: RedisBackends, to: RedisBackends, channels: readonly string[]): Promise<void> {
    await isBack(from);
    const { promise, resolve } = Promise.withResolvers<void>();
    using marker = disposable(await to.signals.subscribe('marker', () => resolve(), assert.fail));
    for (const channel of channels) {
      from.signals.publish(channel, Buffer.from('again'));
    }
    from.signals.publish('marker', NOTHING);
    await promise;
    assert.ok(marker);
  }

  test('what one process could not publish is made good by a gap in the others, in that channel', async () => {
    name = randomBytes(8).toString('hex');
    await using near = await open();
    await using far = await open();
    const { promise: gap, resolve } = Promise.withResolvers<void>();
    await near.signals.subscribe('missed', () => assert.fail(), resolve);
    await near.signals.subscribe('another', () => assert.fail(), assert.fail);
    // The publisher's own connection goes; that of the subscribers stays.
    await server.ask('CLIENT', 'KILL', 'TYPE', 'normal');
    await isAway(far);
    far.signals.publish('missed', NOTHING);
    await gap;
  });

  test('a subscriber in the same process hears while Redis is away, and nobody waits', async () => {
    name = randomBytes(8).toString('hex');
    await using own = await redisBackends(server.url, { name });
    await server.kill();
    await isAway(own);
    const heard: string[] = [];
    const { promise: gap, resolve } = Promise.withResolvers<void>();
    await own.signals.subscribe('a', (payload) => heard.push(payload.toString()), resolve);
    own.signals.publish('a', Buffer.from('alone'));
    assert.deepEqual(heard, ['alone']);
    await server.start();
    await gap;
    own.signals.publish('a', Buffer.from('together'));
    assert.deepEqual(heard, ['alone', 'together']);
  });

  test('a Redis that says nothing any more is taken for one that is away, and its gap is told', async () => {
    name = randomBytes(8).toString('hex');
    const lost = Promise.withResolvers<void>();
    const warn = (_: object, message: string) => /lost/.test(message) && lost.resolve();
    await using own = await redisBackends(server.url, { name, log: { info() {}, error() {}, warn } });
    const { promise: gap, resolve } = Promise.withResolvers<void>();
    await own.signals.subscribe('a', () => assert.fail(), resolve);
    await server.kill('SIGSTOP');
    try {
      await assert.rejects(own.check(), { code: 'STORE_AWAY' });
      await lost.promise;
    } finally {
      await server.kill('SIGCONT');
    }
    await gap;
    await isBack(own);
  });

  test('a password is asked for and given, and a wrong one is told in one line at the start', async () => {
    await using locked = await startRedis(['--requirepass', 'a secret']);
    {
      await using own = await redisBackends(`redis://:a%20secret@127.0.0.1:${locked.port}`, { name });
      await own.check();
    }
    await assert.rejects(
      redisBackends(`redis://:wrong@127.0.0.1:${locked.port}`, { name, longestStart: 500 }),
      (error: Error) => /^Redis cannot be reached: .*WRONGPASS/.test(error.message) && !error.message.includes('\n'),
    );
  });

  test('a start waits for a Redis that comes later', async () => {
    await using late = await startRedis();
    await late.kill();
    const warned = Promise.withResolvers<void>();
    const opening = redisBackends(late.url, { log: { info() {}, error() {}, warn: () => warned.resolve() } });
    await late.start();
    await using own = await opening;
    await own.check();
  });
});

function disposable(subscription: { close(): void }): Disposable {
  return { [Symbol.dispose]: () => subscription.close() };
}
