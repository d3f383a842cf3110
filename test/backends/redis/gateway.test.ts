/** The whole program with Redis for its signals, work and meters, by official clients; Redis goes and comes back. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, suite, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Parcel, type ParcelCollection, StreamingMode } from '@relaycorp/relaynet-core';
import { type SpawnedGateway, spawnGateway, startGateway } from '../../support/gateway.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import {
  newOfficialIdentity,
  type OfficialEndpoint,
  OfficialPrivateGateway,
  type OfficialSender,
} from '../../support/official-client.ts';
import { type PoHttpReceiver, startPoHttpReceiver } from '../../support/pohttp-receiver.ts';
import { redisBackends } from '../../support/redis-backends.ts';
import { commandCounts, needsRedis, type RedisServer, startRedis } from '../../support/redis-server.ts';
import { runRelayGateway } from '../../support/relay-gateway.ts';
import { startTestResolver, type TestResolver } from '../../support/test-resolver.ts';
import { newTlsCertificate, type TlsCertificate } from '../../support/tls-certificate.ts';

const ADDRESS = 'endpoint.example';
const HOST = 'pohttp.endpoint.example';

/** PoWeb clients wait so long for an answer, in milliseconds (protocol section 4). */
const CLIENT_PATIENCE = 5000;

suite('A gateway with SIGNALS=redis', needsRedis(), () => {
  let server: RedisServer;
  let tls: TlsCertificate;
  let resolver: TestResolver;
  let receiver: PoHttpReceiver;
  let gateway: SpawnedGateway;
  let sending: OfficialPrivateGateway;
  let receiving: OfficialPrivateGateway;
  let endpoint: OfficialEndpoint;
  let other: OfficialEndpoint;
  let sender: OfficialSender;
  let live: AsyncGenerator<ParcelCollection>;

  before(async () => {
    server = await startRedis();
    tls = await newTlsCertificate(HOST);
    resolver = await startTestResolver();
    receiver = await startPoHttpReceiver(tls);
    resolver.setAddresses(HOST, ['127.0.0.1']);
    resolver.setServices(ADDRESS, [{ target: HOST, port: receiver.port }]);
    gateway = await spawnGateway({
      environment: {
        SIGNALS: 'redis',
        REDIS_URL: server.url,
        RESOLVER_URL: resolver.url,
        ALLOW_PRIVATE_DESTINATIONS: 'true',
        NODE_EXTRA_CA_CERTS: tls.certificateFile,
        HOUSEKEEPING_PERIOD: '1h',
      },
    });
    sending = await OfficialPrivateGateway.register(gateway.poweb);
    other = await sending.newEndpoint();
    receiving = await OfficialPrivateGateway.register(gateway.poweb);
    endpoint = await receiving.newEndpoint();
    sender = await endpoint.authorize(other.identity);
    const { promise: connected, resolve } = Promise.withResolvers<void>();
    live = receiving.collect(StreamingMode.KEEP_ALIVE, resolve);
    const first = live.next();
    await connected;
    const parcel = await deliver();
    assert.deepEqual(await acknowledged(first), parcel);
  });

  after(async () => {
    await live?.return(undefined);
    await gateway?.[Symbol.asyncDispose]();
    await receiver?.[Symbol.asyncDispose]();
    await resolver?.[Symbol.asyncDispose]();
    tls?.[Symbol.dispose]();
    await server?.[Symbol.asyncDispose]();
  });

  async function deliverInTime(parcel: ArrayBuffer): Promise<void> {
    const began = performance.now();
    await sending.deliver(parcel);
    assert.ok(performance.now() - began < CLIENT_PATIENCE);
  }

  /** Delivers a parcel to the endpoint, and gives it. */
  async function deliver(): Promise<Buffer> {
    const parcel = await endpoint.writeParcel(sender, randomBytes(500));
    await deliverInTime(parcel);
    return Buffer.from(parcel);
  }

  /** Delivers a parcel for the Internet, and gives it. */
  async function deliverToInternet(): Promise<Buffer> {
    const { id } = await newOfficialIdentity();
    const parcel = new Parcel({ id, internetAddress: ADDRESS }, other.certificate, randomBytes(500), { ttl: 86_400 });
    const octets = await parcel.serialize(other.identity.privateKey);
    await deliverInTime(octets);
    return Buffer.from(octets);
  }

  async function acknowledged(next: Promise<IteratorResult<ParcelCollection>>): Promise<Buffer> {
    const { value, done } = await next;
    assert.equal(done, false);
    const parcel = Buffer.from(value.parcelSerialized);
    await value.ack();
    return parcel;
  }

  async function ping(): Promise<{ status: number; redis: boolean | undefined }> {
    const response = await fetch(`${gateway.ops}/ping`);
    const checks = (await response.json()) as { name: string; ok: boolean }[];
    return { status: response.status, redis: checks.find(({ name }) => name === 'redis')?.ok };
  }

  test('delivers live and to the Internet', async () => {
    const next = live.next();
    const parcel = await deliver();
    assert.deepEqual(await acknowledged(next), parcel);
    const arrival = receiver.next();
    const outbound = await deliverToInternet();
    assert.deepEqual((await arrival).body, outbound);
    await gateway.logged('Parcel sent');
    assert.deepEqual(await ping(), { status: 200, redis: true });
  });

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

  test('answers 202, and delivers, while Redis is away; all flows when it is back', async () => {
    await server.kill();
    assert.deepEqual(await ping(), { status: 503, redis: false });
    const next = live.next();
    const parcel = await deliver();
    const outbound = await deliverToInternet();
    // It is told in its own process, which needs no Redis.
    assert.deepEqual(await acknowledged(next), parcel);

    const arrival = receiver.next();
    await server.start();
    assert.deepEqual((await arrival).body, outbound);
    const again = live.next();
    const later = await deliver();
    assert.deepEqual(await acknowledged(again), later);
    while ((await ping()).status !== 200) {
      await pause(20);
    }
  });

  test('answers in time while Redis says nothing', async () => {
    await server.kill('SIGSTOP');
    const next = live.next();
    let parcel: Buffer;
    try {
      parcel = await deliver();
    } finally {
      await server.kill('SIGCONT');
    }
    assert.deepEqual(await acknowledged(next), parcel);
  });

  test('shows by `relay-gateway queue list` what was given up', async () => {
    const clock = new ManualClock();
    await using other = await redisBackends(server.url, { name: 'gateway.test', clock });
    const expiry = clock.now() + 1000;
    await other.work.add('internet-delivery', { key: 'outbox/0a/b', group: 'gone.example', size: 1, expiry });
    clock.advance(2000);
    await other.housekeeping();
    const environment = { DATA_DIR: gateway.directory, SIGNALS: 'redis', REDIS_URL: server.url };
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
