/** What the processes of one gateway share by Redis: signals, work and meters. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Clock, Meters, QueueName, Random, Signals, WorkQueue } from '../../gateway/ports.ts';
import type { RedisAddress } from './address.ts';
import { RedisClient, type RedisLog } from './client.ts';
import { RedisMeters } from './meters.ts';
import { RedisSignals } from './signals.ts';
import { type GivenUp, RedisWorkQueue } from './work-queue.ts';

export interface RedisBackends extends AsyncDisposable {
  readonly signals: Signals;
  readonly meters: Meters;
  readonly work: WorkQueue;
  /** What expired before it was done, newest first. @throws StoreError */
  givenUp(queue: QueueName): Promise<GivenUp[]>;
  /** Deletes what expired. To be called every minute. @throws StoreError */
  housekeeping(): Promise<void>;
  /** @throws StoreError when Redis is away: then meters are this process's alone, and no other hears its signals */
  check(): Promise<void>;
}

/** How long a start waits for Redis, in milliseconds. */
const LONGEST_START = 60_000;
/** After which time the log tells that it waits, and how often then, in milliseconds. */
const FIRST_TELL = 1000;
const TELL_INTERVAL = 15_000;

const SILENT: RedisLog = { info() {}, warn() {}, error() {} };

/**
 * Connects to Redis, waiting for it if it is away.
 *
 * @param parts.name the gateway's Internet address: gateways with different ones may share a Redis
 * @param parts.newStandIn makes meters of this process alone, for when Redis is away
 * @throws Error in one line, when Redis is not there in time
 */
export async function openRedisBackends({
  address,
  name,
  clock,
  random,
  newStandIn,
  log = SILENT,
  longestStart = LONGEST_START,
}: {
  address: RedisAddress;
  name: string;
  clock: Clock;
  random: Random;
  newStandIn: () => Meters;
  log?: RedisLog | undefined;
  longestStart?: number;
}): Promise<RedisBackends> {
  await using opened = new AsyncDisposableStack();
  const prefix = prefixOf(name);
  const client = new RedisClient({ address, log });
  opened.defer(() => client.close());
  const signals = opened.use(new RedisSignals({ client, address, prefix, random, log }));
  await waitForRedis(client, signals, log, longestStart);
  const work = opened.use(await RedisWorkQueue.open({ client, signals, clock, random, prefix }));
  const meters = new RedisMeters({ client, clock, prefix, newStandIn });
  const resources = opened.move();
  return {
    signals,
    meters,
    work,
    givenUp: (queue) => work.givenUp(queue),
    housekeeping: () => work.deleteExpired(),
    check: () => client.check(),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** What all keys of a gateway start with, but for a brace. @param name its Internet address */
export function prefixOf(name: string): string {
  return `relay-gateway:${name}:`;
}

async function waitForRedis(
  client: RedisClient,
  signals: RedisSignals,
  log: RedisLog,
  longestStart: number,
): Promise<void> {
  const end = new AbortController();
  const ready = Promise.all([signals.whenJoined(), client.whenReadyOnce()]).then(() => true);
  const late = async () => {
    for (let waited = 0, wait = FIRST_TELL; waited < longestStart; waited += wait, wait = TELL_INTERVAL) {
      await pause(Math.min(wait, longestStart - waited), undefined, { signal: end.signal });
      log.warn({ reason: client.reason }, 'Waiting for Redis');
    }
    return false;
  };
  const isThere = await Promise.race([ready, late()]);
  end.abort();
  if (!isThere) {
    throw new Error(`Redis cannot be reached: ${client.reason}`);
  }
}
