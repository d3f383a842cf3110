/** The interoperability suites on cloud backends whose Redis is a cluster of three nodes. */
import { after, before, suite } from 'node:test';
import { allSuites } from '../interop/suites/all.ts';
import { PING_HOST } from '../interop/suites/internet-ping.ts';
import { needsCloud } from '../support/cloud.ts';
import { type CloudDeployment, startCloudDeployment } from '../support/cloud-deployment.ts';
import { type RedisCluster, startRedisCluster } from '../support/redis-topologies.ts';

suite('On cloud backends with a Redis cluster', needsCloud(), () => {
  let cluster: RedisCluster;
  let running: CloudDeployment;

  before(async () => {
    cluster = await startRedisCluster();
    running = await startCloudDeployment(PING_HOST, { REDIS_URL: cluster.url });
  });

  after(async () => {
    await running?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  allSuites({
    start: (options) => running.start(options),
    internet: (host) => running.internet(host),
    startRestartable: () => running.startRestartable(),
  });
});
