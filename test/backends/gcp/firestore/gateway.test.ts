/** The whole program with RECORDS=firestore, by official clients; Firestore goes, hangs, and comes back. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, suite, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { CogRPCClient } from '@relaycorp/cogrpc';
import { Parcel, type ParcelCollection, StreamingMode } from '@relaycorp/relaynet-core';
import { needsFirestore, newProject, startFirestore } from '../../../support/firestore-emulator.ts';
import { type SpawnedGateway, spawnGateway } from '../../../support/gateway.ts';
import { type GrpcProxy, startGrpcProxy } from '../../../support/grpc-proxy.ts';
import {
  newOfficialIdentity,
  type OfficialEndpoint,
  OfficialPrivateGateway,
  type OfficialSender,
} from '../../../support/official-client.ts';
import { deliverOfficially, officialCargo, officialCourier } from '../../../support/official-courier.ts';
import { type PoHttpReceiver, startPoHttpReceiver } from '../../../support/pohttp-receiver.ts';
import { runRelayGateway } from '../../../support/relay-gateway.ts';
import { startTestResolver } from '../../../support/test-resolver.ts';
import { newTlsCertificate } from '../../../support/tls-certificate.ts';

const ADDRESS = 'endpoint.example';
const HOST = 'pohttp.endpoint.example';

/** PoWeb clients wait so long for an answer, in milliseconds (protocol section 4). */
const CLIENT_PATIENCE = 5000;

suite('A gateway with RECORDS=firestore', needsFirestore(), () => {
  let stack: AsyncDisposableStack;
  let proxy: GrpcProxy;
  let gateway: SpawnedGateway;
  let receiver: PoHttpReceiver;
  let courier: CogRPCClient;
  let sending: OfficialPrivateGateway;
  let receiving: OfficialPrivateGateway;
  let endpoint: OfficialEndpoint;
  let other: OfficialEndpoint;
  let sender: OfficialSender;
  let live: AsyncGenerator<ParcelCollection>;

  before(async () => {
    stack = new AsyncDisposableStack();
    const firestore = stack.use(await startFirestore());
    proxy = stack.use(await startGrpcProxy(firestore.host));
    const tls = stack.use(await newTlsCertificate(HOST));
    const resolver = stack.use(await startTestResolver());
    receiver = stack.use(await startPoHttpReceiver(tls));
    resolver.setAddresses(HOST, ['127.0.0.1']);
    resolver.setServices(ADDRESS, [{ target: HOST, port: receiver.port }]);
    gateway = stack.use(
      await spawnGateway({
        environment: {
          RECORDS: 'firestore',
          GCP_PROJECT: newProject(),
          FIRESTORE_EMULATOR_HOST: proxy.host,
          RESOLVER_URL: resolver.url,
          ALLOW_PRIVATE_DESTINATIONS: 'true',
          NODE_EXTRA_CA_CERTS: tls.certificateFile,
        },
      }),
    );
    courier = await officialCourier(gateway.cogrpc);
    stack.defer(() => courier.close());
    sending = await OfficialPrivateGateway.register(gateway.poweb);
    other = await sending.newEndpoint();
    receiving = await OfficialPrivateGateway.register(gateway.poweb);
    endpoint = await receiving.newEndpoint();
    sender = await endpoint.authorize(other.identity);
    const { promise: connected, resolve } = Promise.withResolvers<void>();
    live = receiving.collect(StreamingMode.KEEP_ALIVE, resolve);
    stack.defer(async () => void (await live.return(undefined)));
    const first = live.next();
    await connected;
    const parcel = await deliver();
    assert.deepEqual(await acknowledged(first), parcel);
  });
  after(() => stack.disposeAsync());

  async function deliverInTime(parcel: ArrayBuffer): Promise<void> {
    const began = performance.now();
    await sending.deliver(parcel);
    assert.ok(performance.now() - began < CLIENT_PATIENCE);
  }

  async function deliver(): Promise<Buffer> {
    const parcel = await endpoint.writeParcel(sender, randomBytes(500));
    await deliverInTime(parcel);
    return Buffer.from(parcel);
  }

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
    await value.ack();
    return Buffer.from(value.parcelSerialized);
  }

  // What was sent or collected just before Firestore went may come again: it could not be noted.

  async function collectionOf(parcel: Buffer): Promise<void> {
    while (!(await acknowledged(live.next())).equals(parcel)) {}
  }

  async function arrivalOf(parcel: Buffer): Promise<void> {
    while (!receiver.posts.some(({ body }) => body.equals(parcel))) {
      await receiver.next();
    }
  }

  async function ping(): Promise<{ status: number; firestore: boolean | undefined }> {
    const response = await fetch(`${gateway.ops}/ping`);
    const checks = (await response.json()) as { name: string; ok: boolean }[];
    return { status: response.status, firestore: checks.find(({ name }) => name === 'firestore')?.ok };
  }

  async function recovered(): Promise<void> {
    while ((await ping()).status !== 200) {
      await pause(50);
    }
  }

  test('delivers live, by courier and to the Internet, and is well', async () => {
    const parcel = Buffer.from(await endpoint.writeParcel(sender, randomBytes(500)));
    const next = live.next();
    assert.equal(await deliverOfficially(courier, [await officialCargo(sending, [parcel])]), 1);
    assert.deepEqual(await acknowledged(next), parcel);
    const arrival = receiver.next();
    const outbound = await deliverToInternet();
    assert.deepEqual((await arrival).body, outbound);
    assert.deepEqual(await ping(), { status: 200, firestore: true });
  });

  for (const trouble of ['is away', 'says nothing'] as const) {
    test(`while Firestore ${trouble}, takes parcels in and delivers live; the rest follows when it is back`, async () => {
      if (trouble === 'is away') {
        await proxy.goAway();
      } else {
        proxy.decide = () => 'hang';
      }
      const next = live.next();
      const parcel = await deliver();
      const outbound = await deliverToInternet();
      assert.deepEqual(await acknowledged(next), parcel);
      const carried = Buffer.from(await endpoint.writeParcel(sender, randomBytes(500)));
      assert.equal(await deliverOfficially(courier, [await officialCargo(sending, [carried])]), 1);
      await assert.rejects(OfficialPrivateGateway.register(gateway.poweb));
      assert.deepEqual(await ping(), { status: 503, firestore: false });

      if (trouble === 'is away') {
        await proxy.comeBack();
      } else {
        proxy.decide = () => 'pass';
      }
      await arrivalOf(outbound);
      await collectionOf(carried);
      await recovered();
      await OfficialPrivateGateway.register(gateway.poweb);
      assert.equal(gateway.process.exitCode, null);
    });
  }

  test('tells in one line that its project is missing', async () => {
    const { code, stderr } = await runRelayGateway(['serve'], { RECORDS: 'firestore' });
    assert.equal(code, 2);
    assert.match(stderr, /GCP_PROJECT must be set where RECORDS is firestore\n$/);
  });
});

test('A gateway that finds no credentials for Firestore ends with one line', async () => {
  const environment = {
    RECORDS: 'firestore',
    GCP_PROJECT: 'some-project',
    GOOGLE_APPLICATION_CREDENTIALS: '/no/such/file',
  };
  await assert.rejects(spawnGateway({ environment }), ({ message }: Error) => {
    assert.match(
      message,
      /ended with 1 before it was ready:\nrelay-gateway: Firestore database .* cannot be used: .*\/no\/such\/file.*\n$/,
    );
    return true;
  });
});
