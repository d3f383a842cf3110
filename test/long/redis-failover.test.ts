/**
 * A gateway of many processes whose Redis fails over under load: the primary is killed, and the Sentinels make the replica
 * one. Nothing that was acknowledged is lost, deliveries are answered all the while, and parcels come live again soon.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { needsCloud, startCloud } from '../support/cloud.ts';
import { startFleet } from '../support/fleet.ts';
import { startSentinels } from '../support/redis-topologies.ts';
import { Traffic } from '../support/traffic.ts';

const PAIRS = 3;
/** How long traffic runs before the fault and after it, in milliseconds. */
const CALM = 3000;
/** What the promise is about begins when there is a primary again. */
const SOON = 5000;
const PATIENCE = 90_000;

test('A failover of Redis under load loses nothing', needsCloud(), async (t) => {
  await using sentinels = await startSentinels();
  const { primary, replica, url } = sentinels;
  await using cloud = await startCloud({ redis: primary });
  const environment = { ...cloud.environment, REDIS_URL: url, HOUSEKEEPING_PERIOD: '2s' };
  await using fleet = await startFleet({ cloud: { ...cloud, environment } });
  await using traffic = await Traffic.start({ addresses: () => fleet.addresses, pairs: PAIRS, hasCouriers: true });
  traffic.begin();
  await pause(CALM);
  // A machine that is busy with other things is slow in quiet, too.
  const usual = traffic.worstLatency();
  await primary.kill();
  while (!(await replica.ask('ROLE')).includes('master')) {
    await pause(50);
  }
  const mended = performance.now();
  const live = (await traffic.liveAfter(mended)) - mended;
  await pause(Math.max(0, SOON - (performance.now() - mended)) + CALM);
  const { sent, acknowledged, delivered, duplicated, missing, lastRefusal = mended } = await traffic.settle(PATIENCE);
  const refused = lastRefusal - mended;
  t.diagnostic(
    `sent ${sent}, acknowledged ${acknowledged}, delivered ${delivered}, duplicated ${duplicated}; ` +
      `live again after ${Math.round(live)} ms, last refused after ${Math.round(refused)} ms`,
  );
  const soon = SOON + 2 * usual;
  assert.deepEqual(missing, { poweb: 0, internet: 0, cargo: 0 });
  assert.ok(acknowledged > 0);
  assert.ok(live <= soon, `live after ${live} ms`);
  assert.ok(refused <= soon, `something was refused ${refused} ms after the fault`);
});
