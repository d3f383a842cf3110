/** Redis behind Sentinels, whose primary is killed, and as a cluster of three nodes. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, suite, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { prefixOf } from '../../src/backends/redis/redis-backends.ts';
import type { TakenItem } from '../../src/gateway/ports.ts';
import { metersContract } from '../ports/meters.contract.ts';
import { signalsContract } from '../ports/signals.contract.ts';
import { workQueueContract } from '../ports/work-queue.contract.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { isBack, redisBackends } from '../support/redis-backends.ts';
import { needsRedis, type RedisServer } from '../support/redis-server.ts';
import { type RedisCluster, SLOTS, startRedisCluster, startSentinels } from '../support/redis-topologies.ts';

const QUEUE = 'cargo';
const HOUR = 3_600_000;
const machineClock = { now: () => Date.now() };

describe('Redis behind Sentinels', needsRedis(), () => {
  test('goes on with the replica when the primary is killed, and everybody is told of the gap', async () => {
    await using sentinels = await startSentinels();
    const { primary, replica, url } = sentinels;
    const name = randomBytes(8).toString('hex');
    await using near = await redisBackends(url, { name, clock: machineClock });
    await using far = await redisBackends(url, { name, clock: machineClock });
    const gap = Promise.withResolvers<void>();
    const heard = Promise.withResolvers<string>();
    await near.signals.subscribe('a', (payload) => heard.resolve(payload.toString()), gap.resolve);
    await near.work.add(QUEUE, { key: '1', group: 'a', size: 1, expiry: Date.now() + HOUR });

    await primary.kill();
    await gap.promise;

    // Connections may be made anew once more when the Sentinels have agreed; each time there is a gap.
    const again = setInterval(() => far.signals.publish('a', Buffer.from('again')), 100);
    assert.equal(await heard.promise, 'again');
    clearInterval(again);
    const work = [{ key: '1', group: 'a', size: 1, expiry: Date.now() + HOUR }];
    await isBack(far);
    while (
      await far.work.addMissing(QUEUE, work).then(
        () => false,
        () => true,
      )
    ) {
      await pause(50);
    }
    const [taken] = await far.work.take(QUEUE, { count: 1, lease: HOUR, room: () => 1 }, AbortSignal.timeout(30_000));
    assert.equal(taken?.key, '1');
    assert.equal(await far.work.finish(QUEUE, taken as TakenItem), true);
    assert.match(await replica.ask('ROLE'), /master/);
  });
});

suite('A Redis cluster of three nodes', needsRedis(), () => {
  let cluster: RedisCluster;
  before(async () => {
    cluster = await startRedisCluster();
  });
  after(() => cluster?.[Symbol.asyncDispose]());

  async function open() {
    const clock = new ManualClock();
    const backends = await redisBackends(cluster.url, { clock });
    const { signals, meters, work } = backends;
    return { signals, meters, work, clock, [Symbol.asyncDispose]: () => backends[Symbol.asyncDispose]() };
  }

  signalsContract('A cluster', async () => ({ ...(await open()), settled: async () => {} }));

  test('brings what one process publishes to the other, on whichever node the channel is', async () => {
    const name = randomBytes(8).toString('hex');
    await using near = await redisBackends(cluster.url, { name });
    await using far = await redisBackends(cluster.url, { name });
    const expected = Array.from({ length: 200 }, (_, number) => `${number % 20} ${number}`);
    const heard: string[] = [];
    const { promise: allHeard, resolve } = Promise.withResolvers<void>();
    for (let channel = 0; channel < 20; channel++) {
      const hear = (payload: Buffer) => {
        heard.push(`${channel} ${payload}`);
        if (heard.length === expected.length) {
          resolve();
        }
      };
      await near.signals.subscribe(`${channel}`, hear, assert.fail);
    }
    for (let number = 0; number < expected.length; number++) {
      far.signals.publish(`${number % 20}`, Buffer.from(`${number}`));
    }
    await allHeard;
    assert.deepEqual(heard.sort(), expected.sort());
  });

  test('tells of a gap where a slot moves, also when it is back at once, and brings what comes after', {
    timeout: 60_000,
  }, async () => {
    const name = randomBytes(8).toString('hex');
    await using near = await redisBackends(cluster.url, { name });
    await using far = await redisBackends(cluster.url, { name });
    await using owners = await slotOwners(cluster.nodes);
    const { channel, slot, owner, another } = await owners.movable(prefixOf(name));
    let gap = Promise.withResolvers<void>();
    let heard = Promise.withResolvers<string>();
    await near.signals.subscribe(
      channel,
      (payload) => heard.resolve(`${payload}`),
      () => gap.resolve(),
    );
    const isTold = async (what: string) => {
      await gap.promise;
      // What is told while the nodes have not agreed yet may be lost, and a gap is told once more.
      const again = setInterval(() => far.signals.publish(channel, Buffer.from(what)), 100);
      try {
        assert.equal(await heard.promise, what);
      } finally {
        clearInterval(again);
      }
      gap = Promise.withResolvers();
      heard = Promise.withResolvers();
    };

    for (const node of [another, owner, ...owners.all]) {
      await node.redis.cluster('SETSLOT', slot, 'NODE', another.id);
    }
    await isTold('moved');

    // Between the two nobody can ask whose it is: it never moved, for all that anybody sees.
    const { redis } = another;
    const both = redis.multi().cluster('SETSLOT', slot, 'NODE', owner.id).cluster('SETSLOT', slot, 'NODE', another.id);
    assert.deepEqual(await both.exec(), [
      [null, 'OK'],
      [null, 'OK'],
    ]);
    await isTold('back');
  });

  metersContract('A cluster', open);
  workQueueContract('A cluster', open);
});

/** A node as the others know it, with a connection to it. */
interface SlotOwner {
  readonly id: string;
  readonly redis: Redis;
}

/** The nodes of a cluster whose slots were shared out in their order. */
async function slotOwners(nodes: readonly RedisServer[]) {
  const all = await Promise.all(
    nodes.map(async ({ port }): Promise<SlotOwner> => {
      const redis = new Redis({ port });
      return { redis, id: String(await redis.cluster('MYID')) };
    }),
  );
  return {
    all,
    /** A channel whose slot holds no key, which alone a node lets go of as it is; whose the slot is, and a node whose it is not. */
    async movable(prefix: string) {
      for (let number = 0; ; number++) {
        const channel = `moving/${number}`;
        const slot = await (all[0] as SlotOwner).redis.cluster('KEYSLOT', prefix + channel);
        const place = Math.floor(slot / Math.ceil(SLOTS / all.length));
        const owner = all[place] as SlotOwner;
        if ((await owner.redis.cluster('COUNTKEYSINSLOT', slot)) === 0) {
          return { channel, slot, owner, another: all[(place + 1) % all.length] as SlotOwner };
        }
      }
    },
    async [Symbol.asyncDispose]() {
      for (const { redis } of all) {
        redis.disconnect();
      }
    },
  };
}
