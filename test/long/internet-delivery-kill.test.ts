/**
 * Parcels for the Internet outlive the program: a delivery that a kill interrupts is made again, one that was made is
 * not, and none is lost.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Parcel } from '@relaycorp/relaynet-core';
import { chooseSeed, seededChance } from '../support/chance.ts';
import { type SpawnedGateway, spawnGateway, temporaryDirectory } from '../support/gateway.ts';
import { newOfficialIdentity, OfficialPrivateGateway } from '../support/official-client.ts';
import { type Answering, startPoHttpReceiver } from '../support/pohttp-receiver.ts';
import { startTestResolver, type TestResolver } from '../support/test-resolver.ts';
import { newTlsCertificate, type TlsCertificate } from '../support/tls-certificate.ts';

const ADDRESS = 'endpoint.example';
const HOST = 'pohttp.endpoint.example';

const KILLS = 15;
const PARCELS = 150;

/** Milliseconds from a delivery until the kill at the latest. */
const LONGEST_LIFE = 40;

describe('When the program is killed', () => {
  let tls: TlsCertificate;
  let resolver: TestResolver;
  let directory: string;

  before(async () => {
    tls = await newTlsCertificate(HOST);
    resolver = await startTestResolver();
    resolver.setAddresses(HOST, ['127.0.0.1']);
  });

  after(async () => {
    await resolver[Symbol.asyncDispose]();
    tls[Symbol.dispose]();
  });

  // What the last gateway of a test was about to note as sent goes out once more from the same directory.
  beforeEach(() => {
    directory = temporaryDirectory();
  });

  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  const start = (): Promise<SpawnedGateway> =>
    spawnGateway({
      directory,
      environment: {
        RESOLVER_URL: resolver.url,
        ALLOW_PRIVATE_DESTINATIONS: 'true',
        NODE_EXTRA_CA_CERTS: tls.certificateFile,
      },
    });

  async function startReceiver(answering?: Answering) {
    const receiver = await startPoHttpReceiver(tls, answering);
    resolver.setServices(ADDRESS, [{ target: HOST, port: receiver.port }]);
    return receiver;
  }

  /** A private gateway and what writes parcels from it to the Internet. */
  async function register(gateway: SpawnedGateway) {
    const sending = await OfficialPrivateGateway.register(gateway.poweb);
    const sender = await sending.newEndpoint();
    const { id } = await newOfficialIdentity();
    const write = async () => {
      const payload = randomBytes(1000);
      const recipient = { id, internetAddress: ADDRESS };
      const parcel = new Parcel(recipient, sender.certificate, payload, { ttl: 86_400 });
      return Buffer.from(await parcel.serialize(sender.identity.privateKey));
    };
    const deliver = (parcel: Buffer) => sending.deliver(Uint8Array.from(parcel).buffer);
    return { write, deliver };
  }

  test('in the middle of a delivery, it delivers again when it is back, and what was delivered it does not', async () => {
    let answers = 0;
    // The first delivery never gets its answer.
    await using receiver = await startReceiver(() => (++answers === 1 ? undefined : { status: 202 }));
    let parcel: Buffer;
    {
      await using gateway = await start();
      const { write, deliver } = await register(gateway);
      parcel = await write();
      const arrival = receiver.next();
      await deliver(parcel);
      await arrival;
      await gateway.end('SIGKILL');
    }
    {
      const arrival = receiver.next();
      await using gateway = await start();
      assert.deepEqual((await arrival).body, parcel);
      await gateway.logged('Parcel sent');
      await gateway.end('SIGKILL');
    }
    {
      // Had it been kept, it would go out before the next one.
      await using gateway = await start();
      const { write, deliver } = await register(gateway);
      const other = await write();
      await deliver(other);
      while (!receiver.posts.some(({ body }) => body.equals(other))) {
        await receiver.next();
      }
      const bodies = receiver.posts.map(({ body }) => body);
      assert.equal(bodies.filter((body) => body.equals(other)).length, 1);
      // The kill may have come between its being sent and its being remembered.
      assert.ok(bodies.filter((body) => body.equals(parcel)).length <= 3);
    }
  });

  test(`${KILLS} times while ${PARCELS} parcels go out, all arrive`, async (t) => {
    const seed = chooseSeed();
    t.diagnostic(`SEED=${seed} gives the same moments`);
    const chance = seededChance(seed);
    const arrived = new Map<string, number>();
    let untilKill = Number.POSITIVE_INFINITY;
    let killed = Promise.withResolvers<void>();
    await using receiver = await startReceiver(({ body }) => {
      const key = body.toString('base64');
      arrived.set(key, (arrived.get(key) ?? 0) + 1);
      if (--untilKill === 0) {
        killed.resolve();
      }
      return { status: 202 };
    });
    let gateway = await start();
    const parcels: Buffer[] = [];
    try {
      for (let kills = 0; kills < KILLS; kills++) {
        const { write, deliver } = await register(gateway);
        const batch = await Promise.all(Array.from({ length: PARCELS / KILLS }, write));
        parcels.push(...batch);
        killed = Promise.withResolvers();
        untilKill = 1 + Math.floor(chance() * batch.length);
        // All are accepted before the kill, though it may be due earlier.
        await Promise.all(batch.map(deliver));
        await killed.promise;
        await pause(chance() * LONGEST_LIFE);
        await gateway.end('SIGKILL');
        gateway = await start();
      }
      while (parcels.some((parcel) => !arrived.has(parcel.toString('base64')))) {
        await receiver.next();
      }
      // An end in order leaves nothing half done: what was delivered is not delivered again.
      const sendOneMore = async () => {
        const { write, deliver } = await register(gateway);
        const parcel = await write();
        await deliver(parcel);
        while (!receiver.posts.some(({ body }) => body.equals(parcel))) {
          await receiver.next();
        }
        return parcel;
      };
      // They go out in the order of their coming: when this one does, all others have.
      await sendOneMore();
      await gateway.end('SIGTERM');
      const { length } = receiver.posts;
      gateway = await start();
      const last = await sendOneMore();
      assert.deepEqual(
        receiver.posts.slice(length).map(({ body }) => body.equals(last)),
        [true],
      );
    } finally {
      await gateway[Symbol.asyncDispose]();
    }
    assert.ok(parcels.every((parcel) => arrived.has(parcel.toString('base64'))));
    assert.equal(arrived.size, PARCELS + 2);
    const repeated = [...arrived.values()].filter((times) => times > 1).length;
    t.diagnostic(`${repeated} of ${PARCELS} parcels arrived more than once`);
  });
});
