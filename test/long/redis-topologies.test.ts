/** Redis behind Sentinels, whose primary is killed, and as a cluster of three nodes. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
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
import { needsRedis, type RedisServer, startRedis, startServer } from '../support/redis-server.ts';

const QUEUE = 'cargo';
const HOUR = 3_600_000;
const SLOTS = 16_384;
const machineClock = { now: () => Date.now() };

describe('Redis behind Sentinels', needsRedis(), () => {
  test('goes on with the replica when the primary is killed, and everybody is told of the gap', async () => {
    await using primary = await startRedis();
    await using replica = await startRedis(['--replicaof', '127.0.0.1', `${primary.port}`]);
    await using stack = new AsyncDisposableStack();
    const sentinels: RedisServer[] = [];
    for (let number = 0; number < 3; number++) {
      sentinels.push(stack.use(await startSentinel(primary.port)));
    }
    while (!(await replica.ask('INFO', 'replication')).includes('master_link_status:up')) {
      await pause(50);
    }
    // Sentinels fail over only what they know the replica and each other of.
    for (const sentinel of sentinels) {
      while (
        !/num-slaves\r\n\$1\r\n1\r\n[\s\S]*num-other-sentinels\r\n\$1\r\n2/.test(
          await sentinel.ask('SENTINEL', 'MASTER', 'main'),
        )
      ) {
        await pause(100);
      }
    }
    const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',');
    const name = randomBytes(8).toString('hex');
    const url = `redis+sentinel://${hosts}/main`;
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

/** A Sentinel of the primary on this port, which takes a second of silence for its end. */
function startSentinel(primaryPort: number): Promise<RedisServer> {
  return startServer((port, directory) => {
    const file = path.join(directory, 'sentinel.conf');
    writeFileSync(
      file,
      [
        `port ${port}`,
        'bind 127.0.0.1',
        `sentinel monitor main 127.0.0.1 ${primaryPort} 2`,
        'sentinel down-after-milliseconds main 1000',
        'sentinel failover-timeout main 10000',
        '',
      ].join('\n'),
    );
    return [file, '--sentinel'];
  });
}

suite('A Redis cluster of three nodes', needsRedis(), () => {
  const nodes: RedisServer[] = [];
  let url: string;
  before(async () => {
    for (let number = 0; number < 3; number++) {
      nodes.push(await startRedis(['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000']));
    }
    const share = Math.ceil(SLOTS / nodes.length);
    for (const [index, node] of nodes.entries()) {
      const last = Math.min((index + 1) * share, SLOTS) - 1;
      await node.ask('CLUSTER', 'ADDSLOTSRANGE', `${index * share}`, `${last}`);
      await node.ask('CLUSTER', 'SET-CONFIG-EPOCH', `${index + 1}`);
      await node.ask('CLUSTER', 'MEET', '127.0.0.1', `${nodes[0]?.port}`);
    }
    for (const node of nodes) {
      while (!/cluster_state:ok[\s\S]*cluster_known_nodes:3/.test(await node.ask('CLUSTER', 'INFO'))) {
        await pause(50);
      }
    }
    url = `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  });
  after(async () => {
    for (const node of nodes) {
      await node[Symbol.asyncDispose]();
    }
  });

  async function open() {
    const clock = new ManualClock();
    const backends = await redisBackends(url, { clock });
    const { signals, meters, work } = backends;
    return { signals, meters, work, clock, [Symbol.asyncDispose]: () => backends[Symbol.asyncDispose]() };
  }

  signalsContract('A cluster', async () => ({ ...(await open()), settled: async () => {} }));

  test('brings what one process publishes to the other, on whichever node the channel is', async () => {
    const name = randomBytes(8).toString('hex');
    await using near = await redisBackends(url, { name });
    await using far = await redisBackends(url, { name });
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
    await using near = await redisBackends(url, { name });
    await using far = await redisBackends(url, { name });
    await using owners = await slotOwners(nodes);
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
