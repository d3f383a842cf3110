/** Configuration to objects: what processes share by Redis. Loaded only where it is used. */
import { LocalMeters } from '../backends/local/meters.ts';
import { openRedisBackends, type RedisBackends } from '../backends/redis/redis-backends.ts';
import type { Config } from '../config.ts';
import type { Clock } from '../gateway/ports.ts';
import type { Logger } from '../log.ts';
import { machineRandom } from '../machine.ts';

/** @throws Error in one line, when Redis cannot be reached within `START_PATIENCE` */
export async function openShared(config: Config, logger: Logger | undefined, clock: Clock): Promise<RedisBackends> {
  if (!config.redisUrl) {
    throw new Error('REDIS_URL must be set where SIGNALS is redis');
  }
  return openRedisBackends({
    address: config.redisUrl,
    name: config.internetAddress,
    clock,
    random: machineRandom,
    newStandIn: () => new LocalMeters(clock),
    log: logger,
    longestStart: config.startPatience,
  });
}
