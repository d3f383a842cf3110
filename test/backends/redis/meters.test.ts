/** Meters that processes share by Redis, and what becomes of them when it is away. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, beforeEach, suite, test } from 'node:test';
import { isBack, redisBackends } from '../../support/redis-backends.ts';
import { commandCounts, needsRedis, type RedisServer, startRedis } from '../../support/redis-server.ts';

suite('Meters in Redis', needsRedis(), () => {
  let server: RedisServer;
  let name: string;
  before(async () => {
    server = await startRedis();
  });
  after(() => server[Symbol.asyncDispose]());
  beforeEach(() => {
    name = randomBytes(8).toString('hex');
  });

  const one = { count: 1, octets: 10 };
  const quota = { count: 2, octets: 100 };

  test('count together what processes take and hold', async () => {
    await using near = await redisBackends(server.url, { name });
    await using far = await redisBackends(server.url, { name });
    const takes = [near, far, near, far].map(({ meters }) => meters.take('a', 3, 1000));
    assert.deepEqual((await Promise.all(takes)).sort(), [false, true, true, true]);
    await near.meters.recount('a', { count: 1, octets: 1 });
    assert.equal(await far.meters.reserve('a', one, quota), 'reserved');
    assert.equal(await near.meters.reserve('a', one, quota), 'full');
    await near.meters.release('a', one);
    assert.equal(await far.meters.reserve('a', one, quota), 'reserved');
  });

  test('are apart for gateways with different Internet addresses', async () => {
    await using own = await redisBackends(server.url, { name });
    await using stranger = await redisBackends(server.url);
    assert.equal(await own.meters.take('a', 1, 1000), true);
    assert.equal(await stranger.meters.take('a', 1, 1000), true);
    assert.equal(await own.meters.take('a', 1, 1000), false);
  });

  test('go on in each process alone while Redis is away, say so, and are counted again afterwards', async () => {
    await using own = await redisBackends(server.url, { name });
    await own.meters.recount('a', { count: 0, octets: 0 });
    await server.kill();
    await assert.rejects(own.check(), { code: 'STORE_AWAY' });
    assert.equal(await own.meters.take('b', 1, 1000), true);
    assert.equal(await own.meters.take('b', 1, 1000), false);
    assert.equal(await own.meters.reserve('a', one, quota), 'unknown');
    await own.meters.recount('a', one);
    assert.equal(await own.meters.reserve('a', one, quota), 'reserved');
    assert.equal(await own.meters.reserve('a', one, quota), 'full');
    await server.start();
    await isBack(own);
    // What Redis would know of it is from before.
    await own.meters.recount('c', one);
    assert.equal(await own.meters.reserve('a', one, quota), 'unknown');
    assert.equal(await own.meters.reserve('c', one, quota), 'reserved');
  });

  test('forget by themselves what nobody asks for any more', async () => {
    await using own = await redisBackends(server.url, { name });
    await own.meters.take('a', 1, 1000);
    await own.meters.recount('a', one);
    const milliseconds = async (key: string) =>
      Number((await server.ask('PTTL', `relay-gateway:${name}:meter:${key}`)).slice(1));
    const [rate, held] = [await milliseconds('rate:a'), await milliseconds('held:a')];
    assert.ok(rate > 1000 && rate <= 61_000, `${rate}`);
    assert.ok(held > 3_600_000 && held <= 86_400_000, `${held}`);
  });

  test('are counted again a day after they were, however much they are used meanwhile', async () => {
    await using own = await redisBackends(server.url, { name });
    await own.meters.recount('a', { count: 0, octets: 0 });
    const key = `relay-gateway:${name}:meter:held:a`;
    // As if the day were nearly over.
    await server.ask('PEXPIRE', key, '3600000');
    assert.equal(await own.meters.reserve('a', one, quota), 'reserved');
    await own.meters.release('a', one);
    assert.ok(Number((await server.ask('PTTL', key)).slice(1)) <= 3_600_000);
  });

  test('cost one command each', async () => {
    await using own = await redisBackends(server.url, { name });
    const use = async () => {
      await own.meters.take('a', 10, 1000);
      await own.meters.recount('a', one);
      await own.meters.reserve('a', one, { count: 10, octets: 1000 });
      await own.meters.release('a', one);
    };
    await use();
    await server.ask('CONFIG', 'RESETSTAT');
    await use();
    assert.equal((await commandCounts(server)).evalsha, 4);
  });
});
