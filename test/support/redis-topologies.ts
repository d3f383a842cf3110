/** Real Redis servers that are more than one: a primary and its replica behind Sentinels, and a cluster. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type RedisServer, startRedis, startServer } from './redis-server.ts';

/** Slots of a cluster. */
export const SLOTS = 16_384;

const SENTINELS = 3;
const NODES = 3;

export interface Sentinels extends AsyncDisposable {
  /** As in `REDIS_URL`. */
  readonly url: string;
  readonly primary: RedisServer;
  readonly replica: RedisServer;
}

/** Starts them; resolves when they would fail over. */
export async function startSentinels(): Promise<Sentinels> {
  await using stack = new AsyncDisposableStack();
  const primary = stack.use(await startRedis());
  const replica = stack.use(await startRedis(['--replicaof', '127.0.0.1', `${primary.port}`]));
  const sentinels: RedisServer[] = [];
  for (let number = 0; number < SENTINELS; number++) {
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
  const resources = stack.move();
  return {
    url: `redis+sentinel://${hosts}/main`,
    primary,
    replica,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

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

export interface RedisCluster extends AsyncDisposable {
  /** As in `REDIS_URL`. */
  readonly url: string;
  /** Each with as many slots, in their order. */
  readonly nodes: readonly RedisServer[];
}

/** Starts a cluster of three nodes; resolves when they agree. */
export async function startRedisCluster(): Promise<RedisCluster> {
  await using stack = new AsyncDisposableStack();
  const nodes: RedisServer[] = [];
  for (let number = 0; number < NODES; number++) {
    nodes.push(stack.use(await startRedis(['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'])));
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
  const resources = stack.move();
  return {
    url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    nodes,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
