/** Backends on a Redis of the tests', as many processes' worth as a test wants. */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { LocalMeters } from '../../src/backends/local/meters.ts';
import type { RedisAddress } from '../../src/backends/redis/address.ts';
import type { RedisLog } from '../../src/backends/redis/client.ts';
import { openRedisBackends, type RedisBackends } from '../../src/backends/redis/redis-backends.ts';
import { redisUrl } from '../../src/config/values.ts';
import type { Clock } from '../../src/gateway/ports.ts';
import { ManualClock } from './manual-clock.ts';

/**
 * Opens backends as one process has them.
 *
 * @param options.name tells gateways apart; by default one of its own
 */
export async function redisBackends(
  address: RedisAddress | string,
  options: { name?: string; clock?: Clock; log?: RedisLog; longestStart?: number } = {},
): Promise<RedisBackends> {
  const { name = randomBytes(8).toString('hex'), clock = new ManualClock(), ...rest } = options;
  return openRedisBackends({
    address: typeof address === 'string' ? redisUrl(address) : address,
    name,
    clock,
    random: randomBytes,
    newStandIn: () => new LocalMeters(clock),
    ...rest,
  });
}

/** Resolves when Redis answers this process. */
export async function isBack(backends: RedisBackends): Promise<void> {
  while (!(await answers(backends))) {
    await pause(10);
  }
}

/** Resolves when this process knows that Redis is away. */
export async function isAway(backends: RedisBackends): Promise<void> {
  while (await answers(backends)) {
    await pause(1);
  }
}

function answers(backends: RedisBackends): Promise<boolean> {
  return backends.check().then(
    () => true,
    () => false,
  );
}
