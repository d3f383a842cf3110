/** The whole program with Redis for its signals, work and meters, by official clients; Redis goes and comes back. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, suite, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type ParcelCollection, StreamingMode } from '@relaycorp/relaynet-core';
import { startGateway } from '../../support/gateway.ts';
import { GatewaySetting } from '../../support/gateway-setting.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { OfficialPrivateGateway } from '../../support/official-client.ts';
import { redisBackends } from '../../support/redis-backends.ts';
import { commandCounts, needsRedis, type RedisServer, startRedis } from '../../support/redis-server.ts';
import { runRelayGateway } from '../../support/relay-gateway.ts';
import { absenceContract, type BackingService } from '../absence.contract.ts';

suite('A gateway with SIGNALS=redis', needsRedis(), () => {
  let stack: AsyncDisposableStack;
  let server: RedisServer;
  let setting: GatewaySetting;
  let service: BackingService;

  before(async () => {
    stack = new AsyncDisposableStack();
    server = stack.use(await startRedis());
    service = of(server);
    const settings = { SIGNALS: 'redis', REDIS_URL: server.url, HOUSEKEEPING_PERIOD: '1h' };
    setting = stack.use(await GatewaySetting.open(settings));
  });
  after(() => stack.disposeAsync());

  absenceContract('Redis', () => ({ setting, service }));

  test('a parcel that is delivered and collected live costs four commands, a device that waits none', async () => {
    await using quiet = await startRedis();
    const parcels = 5;
    {
      // Without the workers, which look for work every second.
      await using own = await startGateway({
        environment: {
          SIGNALS: 'redis',
          REDIS_URL: quiet.url,
          HOUSEKEEPING_PERIOD: '1h',
        },
        services: ['poweb', 'collection'],
      });
      const [from, to] = await Promise.all([
        OfficialPrivateGateway.register(own.poweb),
        OfficialPrivateGateway.register(own.poweb),
      ]);
      const recipient = await to.newEndpoint();
      const author = await recipient.authorize((await from.newEndpoint()).identity);
      const { promise: connected, resolve } = Promise.withResolvers<void>();
      const collection = to.collect(StreamingMode.KEEP_ALIVE, resolve);
      const send = async () => from.deliver(await recipient.writeParcel(author, randomBytes(500)));
      const acknowledged = async (next: Promise<IteratorResult<ParcelCollection>>) =>
        void (await (await next).value.ack());
      let next = collection.next();
      await connected;
      await send();
      await acknowledged(next);
      // The next parcel comes when the first one's acknowledgement was dealt with: one at a time.
      next = collection.next();
      await send();
      const { value } = await next;
      await quiet.ask('CONFIG', 'RESETSTAT');
      await value.ack();
      for (let number = 0; number < parcels; number++) {
        const following = collection.next();
        await send();
        await acknowledged(following);
      }
      // Room is given back behind the last acknowledgement.
      while ((await commandCounts(quiet)).evalsha < 3 * parcels + 1) {
        await pause(10);
      }
      await collection.return(undefined);
    }
    const { evalsha, publish } = await commandCounts(quiet);
    // Of each parcel: the sender's rate, room in the mailbox, the signal, and the room given back; once, that of the
    // parcel before.
    assert.deepEqual({ evalsha, publish }, { evalsha: 3 * parcels + 1, publish: parcels });
  });

  test('shows by `relay-gateway queue list` what was given up', async () => {
    const clock = new ManualClock();
    await using other = await redisBackends(server.url, { name: 'gateway.test', clock });
    const expiry = clock.now() + 1000;
    await other.work.add('internet-delivery', { key: 'outbox/0a/b', group: 'gone.example', size: 1, expiry });
    clock.advance(2000);
    await other.housekeeping();
    const environment = { DATA_DIR: setting.gateway.directory, SIGNALS: 'redis', REDIS_URL: server.url };
    const { code, stdout, stderr } = await runRelayGateway(['queue', 'list'], environment);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /Given up, since it expired:\n.*gone\.example +outbox\/0a\/b +postponed 0 times/);
  });

  test('shows its Redis as set, and tells in one line that it is missing', async () => {
    const environment = { SIGNALS: 'redis', REDIS_URL: 'redis://:secret@redis.example' };
    const shown = await runRelayGateway(['config'], environment);
    assert.match(shown.stdout, /REDIS_URL\s+set\s+environment/);
    assert.ok(!shown.stdout.includes('secret'));
    const missing = await runRelayGateway(['serve'], { SIGNALS: 'redis' });
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /REDIS_URL must be set where SIGNALS is redis\n$/);
  });
});

function of(server: RedisServer): BackingService {
  let isThere = true;
  return {
    check: 'redis',
    isNeededToRegister: false,
    goAway() {
      isThere = false;
      return server.kill();
    },
    fallSilent: () => server.kill('SIGSTOP'),
    async comeBack() {
      if (!isThere) {
        isThere = true;
        await server.start();
      } else {
        await server.kill('SIGCONT');
      }
    },
  };
}
