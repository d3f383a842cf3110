/**
 * Connections to Redis that come back by themselves. While Redis is away every command fails at once: nothing piles up,
 * and nobody at a door waits.
 */
import { createHash } from 'node:crypto';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { StoreError } from '../../gateway/ports.ts';
import type { RedisAddress } from './address.ts';

/** Where faults are told; pino's fits. */
export interface RedisLog {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

/** Redis answers in far less than a millisecond; one that is silent for so long, in milliseconds, is away. */
const ANSWER_LIMIT = 1500;
/** Milliseconds between attempts to connect. */
const SHORTEST_RETRY = 50;
const LONGEST_RETRY = 1000;
/** Where a cluster sends a command on to, at most. */
const MOST_REDIRECTIONS = 5;

/** A script that Redis runs, and the name by which it remembers it. */
export interface Script {
  readonly lua: string;
  readonly sha: string;
}

export function script(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') };
}

export type Connection = Redis | Cluster;

/**
 * Has `listener` called when a node ends the subscription to a sharded channel whose slot is its own no more. ioredis looks
 * at the slots again then, and joins nothing where it finds them as they were: they may be back, or the node that it asks may
 * not have heard yet. It tells of this by no public event.
 */
export function whenChannelMoves(cluster: Cluster, listener: () => void): void {
  cluster['subscriberGroupEmitter'].on('moved', listener);
}

/** A connection that is about to be made, and made again whenever it is lost. */
export function connect(address: RedisAddress, isForSubscriptions: boolean): Connection {
  const { kind, hosts, username, password, database, primary } = address;
  const tls = address.tls ? { tls: {} } : {};
  const retryStrategy = (times: number) => Math.min(SHORTEST_RETRY * 2 ** Math.min(times, 10), LONGEST_RETRY);
  const common = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...tls,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: ANSWER_LIMIT,
    commandTimeout: ANSWER_LIMIT,
    socketTimeout: ANSWER_LIMIT,
    // A primary that became a replica says so: the new one is to be looked for.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  } satisfies RedisOptions;
  if (kind === 'cluster') {
    return new Cluster([...hosts], {
      clusterRetryStrategy: retryStrategy,
      enableOfflineQueue: false,
      maxRedirections: MOST_REDIRECTIONS,
      shardedSubscribers: isForSubscriptions,
      redisOptions: common,
    });
  }
  const options = { ...common, db: database, enableOfflineQueue: false, retryStrategy };
  if (kind === 'sentinel') {
    return new Redis({
      ...options,
      sentinels: [...hosts],
      name: primary ?? '',
      ...(password === undefined ? {} : { sentinelPassword: password }),
      ...(address.tls ? { enableTLSForSentinelMode: true, sentinelTLS: {} } : {}),
      sentinelCommandTimeout: ANSWER_LIMIT,
      sentinelRetryStrategy: retryStrategy,
      failoverDetector: true,
    });
  }
  return new Redis({ ...options, ...hosts[0] });
}

export class RedisClient {
  readonly connection: Connection;
  /** Why Redis cannot be used; undefined when all is well. */
  private trouble: string | undefined = 'not connected yet';

  constructor({ address, log }: { address: RedisAddress; log: RedisLog }) {
    this.connection = connect(address, false);
    this.connection.on('error', (error: Error) => {
      this.trouble = reasonOf(error);
    });
    this.connection.on('ready', () => {
      this.trouble = undefined;
      log.info({}, 'Redis is here');
    });
    this.connection.on('close', () => {
      if (this.trouble === undefined) {
        this.trouble = 'connection lost';
        log.warn({}, 'Redis is away: this process goes on alone');
      }
    });
  }

  get isReady(): boolean {
    return this.connection.status === 'ready';
  }

  /** Why Redis cannot be used now, for people. */
  get reason(): string {
    return this.trouble ?? this.connection.status;
  }

  /** Has `listener` called whenever Redis is there (again). */
  whenReady(listener: () => void): void {
    this.connection.on('ready', listener);
  }

  /** Has `listener` called whenever a connection is lost; on a cluster, that to any of its nodes. */
  whenLost(listener: () => void): void {
    this.connection.on('close', listener);
    if (this.connection instanceof Cluster) {
      this.connection.on('-node', listener);
    }
  }

  /** Resolves when Redis is there. */
  async whenReadyOnce(): Promise<void> {
    while (!this.isReady) {
      await new Promise<void>((resolve) => this.connection.once('ready', resolve));
    }
  }

  /** @throws StoreError when Redis does not answer */
  async check(): Promise<void> {
    await this.answer(() => this.connection.ping());
  }

  /** Runs a script, which Redis may have forgotten. @throws StoreError */
  run({ lua, sha }: Script, keys: readonly string[], parameters: readonly (string | number)[]): Promise<unknown> {
    return this.answer(async () => {
      try {
        return await this.connection.evalsha(sha, keys.length, ...keys, ...parameters);
      } catch (error) {
        if (!(error as Error).message.startsWith('NOSCRIPT')) {
          throw error;
        }
        return await this.connection.eval(lua, keys.length, ...keys, ...parameters);
      }
    });
  }

  /** @throws StoreError */
  async publish(channel: string, message: Buffer): Promise<void> {
    const { connection } = this;
    await this.answer(() =>
      connection instanceof Cluster ? connection.spublish(channel, message) : connection.publish(channel, message),
    );
  }

  close(): void {
    this.connection.disconnect();
  }

  private async answer<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    if (!this.isReady) {
      throw new StoreError('STORE_AWAY', `Redis is away: ${this.reason}`);
    }
    try {
      return await ask();
    } catch (error) {
      const isFull = (error as Error).message.startsWith('OOM');
      throw new StoreError(isFull ? 'STORE_FULL' : 'STORE_AWAY', `Redis fails: ${reasonOf(error as Error)}`, {
        cause: error,
      });
    }
  }
}

/** Some connection errors have their reason in a code only. */
function reasonOf(error: Error & { code?: string }): string {
  return error.message || error.code || error.name;
}

/** Whether Redis is there and said no, e.g. since it has no memory left. */
export function isRefusal(error: unknown): boolean {
  return !(error instanceof StoreError) || (error.cause as Error | undefined)?.name === 'ReplyError';
}
