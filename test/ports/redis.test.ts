/** Redis, the real server, keeps the promises of signals, meters and the work queue. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, suite } from 'node:test';
import { ManualClock } from '../support/manual-clock.ts';
import { redisBackends } from '../support/redis-backends.ts';
import { needsRedis, type RedisServer, startRedis } from '../support/redis-server.ts';
import { metersContract } from './meters.contract.ts';
import { signalsContract } from './signals.contract.ts';
import { workQueueContract } from './work-queue.contract.ts';

suite('Redis', needsRedis(), () => {
  let server: RedisServer;
  before(async () => {
    server = await startRedis();
  });
  after(() => server[Symbol.asyncDispose]());

  async function open() {
    const clock = new ManualClock();
    const backends = await redisBackends(server.url, { clock });
    const { signals, meters, work } = backends;
    return { signals, meters, work, clock, [Symbol.asyncDispose]: () => backends[Symbol.asyncDispose]() };
  }

  /** Two processes of one gateway. */
  async function openTwo() {
    await using opened = new AsyncDisposableStack();
    const name = randomBytes(8).toString('hex');
    const near = opened.use(await redisBackends(server.url, { name }));
    const far = opened.use(await redisBackends(server.url, { name }));
    const resources = opened.move();
    return { near, far, [Symbol.asyncDispose]: () => resources.disposeAsync() };
  }

  signalsContract('Redis', async () => ({ ...(await open()), settled: async () => {} }));

  signalsContract('Redis, between two processes,', async () => {
    const two = await openTwo();
    const { near, far } = two;
    return {
      signals: {
        publish: (channel, payload) => far.signals.publish(channel, payload),
        subscribe: (channel, listener, onGap) => near.signals.subscribe(channel, listener, onGap),
      },
      async settled() {
        const { promise, resolve } = Promise.withResolvers<void>();
        const marker = await near.signals.subscribe('marker', () => resolve(), assert.fail);
        far.signals.publish('marker', Buffer.alloc(0));
        await promise;
        marker.close();
      },
      [Symbol.asyncDispose]: () => two[Symbol.asyncDispose](),
    };
  });

  metersContract('Redis', open);
  workQueueContract('Redis', open);
});
