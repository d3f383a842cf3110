/** The work queue in Redis under competition, deaths and losses; and what it costs. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, before, beforeEach, suite, test } from 'node:test';
import type { TakenItem, Work, WorkQueue } from '../../../src/gateway/ports.ts';
import { projectRoot } from '../../support/gateway.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { isAway, isBack, redisBackends } from '../../support/redis-backends.ts';
import { commandCounts, needsRedis, type RedisServer, startRedis } from '../../support/redis-server.ts';

const QUEUE = 'internet-delivery';
const LEASE = 60_000;
const HOUR = 3_600_000;

const machineClock = { now: () => Date.now() };
const forever = new AbortController().signal;

suite('The work queue in Redis', needsRedis(), () => {
  let server: RedisServer;
  let name: string;
  before(async () => {
    server = await startRedis();
  });
  after(() => server[Symbol.asyncDispose]());
  beforeEach(() => {
    name = randomBytes(8).toString('hex');
  });

  const item = (key: string, group = 'a', expiry = Date.now() + HOUR): Work => ({ key, group, size: 1, expiry });
  const take = (work: WorkQueue, count = 100, lease = LEASE): Promise<TakenItem[]> =>
    work.take(QUEUE, { count, lease, room: () => count }, forever);
  const keysOf = (items: readonly { key: string }[]) => items.map(({ key }) => key).sort();

  test('processes that compete have each item once between them', async () => {
    await using near = await redisBackends(server.url, { name, clock: machineClock });
    await using far = await redisBackends(server.url, { name, clock: machineClock });
    const all = Array.from({ length: 600 }, (_, number) => item(`${number}`, `group ${number % 20}`));
    const done: string[] = [];
    const end = new AbortController();
    const work = async ({ work: queue }: { work: WorkQueue }) => {
      while (!end.signal.aborted) {
        const taken = await queue.take(QUEUE, { count: 7, lease: LEASE, room: () => 2 }, end.signal);
        for (const one of taken) {
          assert.equal(await queue.finish(QUEUE, one), true);
          done.push(one.key);
        }
        if (done.length >= all.length) {
          end.abort();
        }
      }
    };
    const workers = Promise.all([near, far, near, far].map(work));
    for (const one of all) {
      await near.work.add(QUEUE, one);
    }
    await workers;
    assert.deepEqual(done.sort(), keysOf(all));
    assert.deepEqual(await Array.fromAsync(near.work.list(QUEUE)), []);
  });

  test("a killed worker's items are taken by another when their lease has run out", async () => {
    const clock = new ManualClock(Date.now());
    await using own = await redisBackends(server.url, { name, clock });
    await own.work.addMissing(
      QUEUE,
      ['1', '2', '3'].map((key) => item(key)),
    );
    const parameters = ['test/support/redis-taker.ts', server.url, name, '2', `${LEASE}`];
    const worker: ChildProcess = spawn(process.execPath, parameters, {
      cwd: projectRoot,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [told] = await once(worker.stdout as NodeJS.ReadableStream, 'data');
    const inHand: string[] = JSON.parse(String(told));
    worker.kill('SIGKILL');
    await once(worker, 'exit');
    assert.equal(inHand.length, 2);

    const [rest, ...others] = await take(own.work);
    assert.equal(others.length, 0);
    assert.deepEqual([...inHand, rest?.key].sort(), ['1', '2', '3']);
    await own.work.finish(QUEUE, rest as TakenItem);
    // More than the lease by the other's clock, however late that took them.
    clock.advance(Date.now() - clock.now() + LEASE);
    assert.deepEqual(keysOf(await take(own.work)), inHand.sort());
  });

  test('an item that is added in another process comes at once to a taker that waits', async (t) => {
    await using near = await redisBackends(server.url, { name, clock: machineClock });
    await using far = await redisBackends(server.url, { name, clock: machineClock });
    // No timer runs out: a taker that nobody wakes never looks again.
    t.mock.timers.enable({ apis: ['setTimeout'] });
    for (const key of ['1', '2', '3', '4', '5']) {
      const taking = take(near.work);
      // Answered after the look that found nothing, on the same connection.
      await near.check();
      await far.work.add(QUEUE, item(key));
      assert.deepEqual(keysOf(await taking), [key]);
    }
    t.mock.timers.reset();
  });

  test('what could not be added while Redis was away is added when it is back', async () => {
    await using own = await redisBackends(server.url, { name, clock: machineClock });
    await own.work.add(QUEUE, item('before'));
    await own.work.finish(QUEUE, (await take(own.work))[0] as TakenItem);
    await server.kill();
    await isAway(own);
    const waiting = take(own.work);
    await assert.rejects(own.work.add(QUEUE, item('meanwhile')), { code: 'STORE_AWAY' });
    await server.start();
    assert.deepEqual(keysOf(await waiting), ['meanwhile']);
  });

  test('a Redis that was emptied, its scripts too, loses nothing that is queued again', async () => {
    await using own = await redisBackends(server.url, { name, clock: machineClock });
    const all = ['1', '2', '3'].map((key) => item(key));
    await own.work.addMissing(QUEUE, all);
    const [held] = await take(own.work, 1);
    await server.ask('FLUSHALL');
    await server.ask('SCRIPT', 'FLUSH');
    assert.equal(await own.work.finish(QUEUE, held as TakenItem), false);
    assert.equal(await own.work.addMissing(QUEUE, all), 3);
    assert.deepEqual(keysOf(await take(own.work)), ['1', '2', '3']);
  });

  test('killed and started again under load, Redis fails nothing for longer than it is away', async () => {
    await using own = await redisBackends(server.url, { name, clock: machineClock });
    await using other = await redisBackends(server.url, { name, clock: machineClock });
    const all: Work[] = [];
    const done = new Set<string>();
    const end = new AbortController();
    const worker = (async () => {
      while (!end.signal.aborted) {
        const taken = await other.work.take(QUEUE, { count: 10, lease: LEASE, room: () => 10 }, end.signal);
        for (const one of taken) {
          done.add(one.key);
          await other.work.finish(QUEUE, one).catch((error: { code?: string }) => {
            assert.equal(error.code, 'STORE_AWAY');
          });
        }
      }
    })();
    let failed = 0;
    const add = async () => {
      const one = item(`${all.length}`, `group ${all.length % 5}`);
      all.push(one);
      await own.work.add(QUEUE, one).catch((error: { code?: string }) => {
        assert.equal(error.code, 'STORE_AWAY');
        failed++;
      });
    };
    const addMany = async (count: number) => {
      for (let number = 0; number < count; number++) {
        await add();
      }
    };
    await addMany(100);
    let isOver = false;
    const restarting = server
      .kill()
      .then(() => isAway(own))
      .then(() => addMany(10))
      .then(() => server.start())
      .then(() => isBack(own))
      .finally(() => {
        isOver = true;
      });
    while (!isOver) {
      await add();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await restarting;
    assert.ok(failed >= 10, `${failed} failed`);
    const before = failed;
    await addMany(100);
    assert.equal(failed, before, 'failures after it was back');
    // As housekeeping does: this Redis keeps nothing on disk.
    const missing = () =>
      own.work.addMissing(
        QUEUE,
        all.filter(({ key }) => !done.has(key)),
      );
    while (done.size < all.length) {
      await missing().catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    end.abort();
    await worker;
    assert.equal(done.size, all.length);
  });

  test('what expired is given up, remembered, and gone for good', async () => {
    const clock = new ManualClock();
    await using own = await redisBackends(server.url, { name, clock });
    await own.work.add(QUEUE, item('1', 'a', clock.now() + 1000));
    const [taken] = await take(own.work);
    await own.work.postpone(QUEUE, taken as TakenItem, clock.now() + 500);
    clock.advance(1001);
    await own.housekeeping();
    assert.deepEqual(await own.givenUp(QUEUE), [{ key: '1', group: 'a', attempts: 1, expiry: clock.now() - 1 }]);
    const left = await server.ask('KEYS', `{relay-gateway:${name}:*`);
    assert.deepEqual(
      left
        .split('\r\n')
        .filter((line) => line.startsWith('{'))
        .map((key) => key.split('}:')[1])
        .sort(),
      ['given-up', 'turn'],
    );
  });

  test('a group of three thousand that rests, and is hastened, keeps no other waiting', async () => {
    const clock = new ManualClock();
    await using own = await redisBackends(server.url, { name, clock });
    const expiry = clock.now() + HOUR;
    const many = Array.from({ length: 3000 }, (_, number) => item(`${number}`, 'many', expiry));
    await own.work.addMissing(QUEUE, many);
    const [first] = await take(own.work, 1);
    await own.work.rest(QUEUE, 'many', clock.now() + 5000);
    await own.work.postpone(QUEUE, first as TakenItem, clock.now() + 6000);
    await own.work.add(QUEUE, item('other', 'other', expiry));
    assert.deepEqual(keysOf(await take(own.work)), ['other']);
    await own.work.hasten(QUEUE, 'many');
    assert.equal((await take(own.work, 4000)).length, 3000);
  });

  test('a parcel costs five commands: added, told of, looked for, taken, and done', async () => {
    await using own = await redisBackends(server.url, { name });
    const clock = new ManualClock();
    // Scripts are loaded by their first use.
    await own.work.add(QUEUE, item('first', 'a', clock.now() + HOUR));
    await own.work.finish(QUEUE, (await take(own.work))[0] as TakenItem);
    await server.ask('CONFIG', 'RESETSTAT');

    await own.work.add(QUEUE, item('1', 'a', clock.now() + HOUR));
    const [taken] = await take(own.work);
    await own.work.finish(QUEUE, taken as TakenItem);

    const { evalsha, publish, eval: loaded } = await commandCounts(server);
    assert.deepEqual({ evalsha, publish, loaded }, { evalsha: 4, publish: 1, loaded: 0 });
  });

  test('many parcels that wait share the looks', async () => {
    await using own = await redisBackends(server.url, { name });
    const clock = new ManualClock();
    const all = Array.from({ length: 50 }, (_, number) => item(`${number}`, `${number % 5}`, clock.now() + HOUR));
    await own.work.addMissing(QUEUE, all);
    await take(own.work, 1);
    await server.ask('CONFIG', 'RESETSTAT');
    assert.equal((await take(own.work, 60)).length, 49);
    assert.equal((await commandCounts(server)).evalsha, 2);
  });
});
