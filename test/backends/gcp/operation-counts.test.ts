/**
 * What each way of a parcel costs in operations of the cloud, counted at the wire of each service; and that
 * `relay-gateway cost` counts the same.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, suite, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { CogRPCClient } from '@relaycorp/cogrpc';
import { derSerializePrivateKey, Parcel, ParcelCollectionAck, StreamingMode } from '@relaycorp/relaynet-core';
import type { Signer } from '../../../src/awala/cms/sign.ts';
import { readCertificate } from '../../../src/awala/pki/certificate.ts';
import { OPERATIONS, type Operations, READS_PER_PROCESS_HOUR } from '../../../src/cli/cost-operations.ts';
import { HOUR } from '../../../src/gateway/time.ts';
import { needsCloud, startCloud } from '../../support/cloud.ts';
import { type CloudCounts, CloudMeter, firestoreCall } from '../../support/cloud-counts.ts';
import { CollectionClient } from '../../support/collection-client.ts';
import { startFirestore } from '../../support/firestore-emulator.ts';
import { type SpawnedGateway, spawnGateway } from '../../support/gateway.ts';
import { startGrpcProxy } from '../../support/grpc-proxy.ts';
import { type InternetNode, NODE_ADDRESS, startInternetNode } from '../../support/internet-node.ts';
import { OfficialChannel } from '../../support/official-channel.ts';
import {
  newOfficialIdentity,
  type OfficialEndpoint,
  OfficialPrivateGateway,
  type OfficialSender,
  officialPublicKey,
} from '../../support/official-client.ts';
import { deliverOfficially, officialCourier } from '../../support/official-courier.ts';

/** How long a test waits until all that is to be counted was asked, in milliseconds, and between two looks. */
const PATIENCE = 20_000;
const POLL = 20;

const PARCELS = 3;

/** Collections whose new documents a TTL policy deletes one day, unlike those that replace older ones. */
const DELETED_LATER = ['sent-parcels', 'collected-parcels', 'single-use-tokens', 'private-gateways', 'session-keys'];

suite('Operations of the cloud', needsCloud(), () => {
  let stack: AsyncDisposableStack;
  let gateway: SpawnedGateway;
  let meter: CloudMeter;
  let node: InternetNode;
  let courier: CogRPCClient;
  let sending: OfficialPrivateGateway;
  let receiving: OfficialPrivateGateway;
  let channel: OfficialChannel;
  let other: OfficialEndpoint;
  let endpoint: OfficialEndpoint;
  let sender: OfficialSender;

  before(async () => {
    stack = new AsyncDisposableStack();
    const firestore = stack.use(await startFirestore());
    const proxy = stack.use(await startGrpcProxy(firestore.host, { nameOf: firestoreCall }));
    const cloud = stack.use(await startCloud({ firestore: { ...firestore, host: proxy.host } }));
    meter = stack.use(await CloudMeter.open(cloud, proxy));
    node = stack.use(await startInternetNode());
    gateway = stack.use(
      await spawnGateway({
        environment: {
          ...cloud.environment,
          ...node.environment,
          HOUSEKEEPING_PERIOD: '1h',
        },
      }),
    );
    courier = await officialCourier(gateway.cogrpc);
    stack.defer(() => courier.close());
    sending = await OfficialPrivateGateway.register(gateway.poweb);
    other = await sending.newEndpoint();
    channel = await OfficialChannel.register(gateway.poweb);
    receiving = channel.privateGateway;
    endpoint = await receiving.newEndpoint();
    sender = await endpoint.authorize(other.identity);
    // What comes first also has mailboxes counted and scripts loaded.
    await deliver();
    await receiving.collectAll();
    await deliverToInternet();
    await deliverCargo(await newParcels(1));
    await receiving.collectAll();
  });
  after(() => stack.disposeAsync());

  const newParcels = (count: number) =>
    Promise.all(Array.from({ length: count }, () => endpoint.writeParcel(sender, randomBytes(500))));

  async function deliver(): Promise<void> {
    const [parcel] = await newParcels(1);
    await sending.deliver(parcel as ArrayBuffer);
  }

  async function deliverToInternet(): Promise<void> {
    const { id } = await newOfficialIdentity();
    const recipient = { id, internetAddress: NODE_ADDRESS };
    const parcel = new Parcel(recipient, other.certificate, randomBytes(500), { ttl: 86_400 });
    const octets = await parcel.serialize(other.identity.privateKey);
    await sending.deliver(octets);
    await node.arrivalOf(Buffer.from(octets));
  }

  /** Resolves when it was opened. */
  async function deliverCargo(messages: readonly ArrayBuffer[]): Promise<void> {
    const opened = () => gateway.log.filter(({ msg }) => msg === 'Cargo opened').length;
    const before = opened();
    const cargo = await channel.newCargo(messages.map((message) => Buffer.from(message)));
    assert.equal(await deliverOfficially(courier, [cargo]), 1);
    while (opened() === before) {
      await pause(POLL);
    }
  }

  /** All that is asked because of `action`, and nothing else, is `expected`. */
  async function assertAsked(expected: Partial<CloudCounts>, action: () => Promise<unknown>): Promise<CloudCounts> {
    await meter.reset();
    await action();
    const whole: CloudCounts = { gcs: {}, firestore: {}, kms: {}, redis: {}, ...expected };
    for (const end = performance.now() + PATIENCE; ; await pause(POLL)) {
      const counts = await meter.read();
      if (isEqual(counts, whole)) {
        return counts;
      }
      if (performance.now() > end) {
        assert.deepEqual(counts, whole);
      }
    }
  }

  test('of a registration', async () => {
    const counts = await assertAsked(
      {
        firestore: { 'Commit single-use-tokens': 1, 'Commit private-gateways': 1, 'Commit session-keys': 1 },
        kms: { AsymmetricSign: 2 },
        redis: { TAKE: 7 },
      },
      () => OfficialPrivateGateway.register(gateway.poweb),
    );
    assert.deepEqual(billed(counts), OPERATIONS.registration);
  });

  test('of parcels to a mailbox: none of Firestore; and of their collection later', async () => {
    const delivered = await assertAsked(
      { gcs: { 'objects.insert': PARCELS }, redis: { TAKE: PARCELS, RESERVE: PARCELS, PUBLISH: PARCELS } },
      async () => {
        for (let count = 0; count < PARCELS; count++) {
          await deliver();
        }
      },
    );
    assert.deepEqual(billed(delivered, PARCELS), OPERATIONS.delivered);

    const connected = { TAKE: 1, SUBSCRIBE: 1, UNSUBSCRIBE: 1 };
    const collected = await assertAsked(
      {
        gcs: {
          'objects.list': 1,
          'objects.get': PARCELS,
          'objects.media': PARCELS,
          'objects.delete': PARCELS,
        },
        redis: { ...connected, RELEASE: PARCELS },
      },
      async () => assert.equal((await receiving.collectAll()).length, PARCELS),
    );
    const nothing = await assertAsked({ gcs: { 'objects.list': 1 }, redis: connected }, () => receiving.collectAll());
    assert.deepEqual(billed(nothing), OPERATIONS.connection);
    // An hour of waiting is one list, as of a mailbox that is connected to (`test/gateway/parcel-collection.test.ts`).
    assert.equal(OPERATIONS.waitingHour.classA, billed(nothing).classA);
    assert.deepEqual(difference(billed(collected), billed(nothing), PARCELS), OPERATIONS.collectedLater);
  });

  test('of parcels that are collected live: a put, a delete, and none of Firestore', async () => {
    const { promise: connected, resolve } = Promise.withResolvers<void>();
    const live = receiving.collect(StreamingMode.KEEP_ALIVE, resolve);
    const one = async () => {
      const next = live.next();
      await connected;
      await deliver();
      const { value } = await next;
      await value.ack();
    };
    const redis = { TAKE: 1, RESERVE: 1, PUBLISH: 1, RELEASE: 1 };
    const first = { gcs: { 'objects.list': 1, 'objects.insert': 1, 'objects.delete': 1 }, redis };
    await assertAsked({ ...first, redis: { ...redis, TAKE: 2, SUBSCRIBE: 1 } }, one);
    for (let count = 0; count < PARCELS; count++) {
      const counts = await assertAsked({ gcs: { 'objects.insert': 1, 'objects.delete': 1 }, redis }, one);
      assert.deepEqual(difference(billed(counts), OPERATIONS.delivered), OPERATIONS.collectedLive);
    }
    await assertAsked({ redis: { UNSUBSCRIBE: 1 } }, () => live.return(undefined));
  });

  test('of devices that wait: none by their pings, while they are connected', async () => {
    const signer = await nativeSigner(receiving);
    await using devices = new AsyncDisposableStack();
    const clients = await Promise.all(
      Array.from({ length: 8 }, async () => devices.use(await CollectionClient.collect(gateway.poweb, [signer]))),
    );
    const pings = () => Promise.all(clients.map((client) => client.pinged(client.pings.length + 1)));
    // By then their mailboxes were listed.
    await pings();
    const start = performance.now();
    await assertAsked({}, pings);
    // The process itself looked for work and for changes meanwhile, or nothing would be counted.
    const looks = await meter.regular();
    assert.ok(looks.redis > 0 && looks.firestore > 0);
    const hours = (performance.now() - start) / HOUR;
    // Two looks may be under way at either end.
    assert.ok(looks.firestore <= hours * READS_PER_PROCESS_HOUR + 4);
    await assertAsked({ redis: { UNSUBSCRIBE: 1 } }, () => devices.disposeAsync());
  });

  test('of a parcel for the Internet: its memory, read once and written once', async () => {
    for (let count = 0; count < PARCELS; count++) {
      const counts = await assertAsked(
        {
          gcs: { 'objects.insert': 1, 'objects.get': 1, 'objects.media': 1, 'objects.delete': 1 },
          firestore: { 'BatchGetDocuments sent-parcels': 1, 'Commit sent-parcels': 1 },
          redis: { TAKE: 1, RESERVE: 1, ADD: 1, PUBLISH: 1, CLAIM: 1, RELEASE: 1, END: 1 },
        },
        deliverToInternet,
      );
      assert.deepEqual(withLook(billed(counts)), OPERATIONS.internetBound);
    }
  });

  test('of cargo, of parcels in it, and of acknowledgements in it', async () => {
    const cargo = {
      gcs: { 'objects.insert': 1, 'objects.get': 1, 'objects.media': 1, 'objects.delete': 1 },
      firestore: {
        'BatchGetDocuments session-keys': 1,
        'BatchGetDocuments peer-session-keys': 1,
        'Commit peer-session-keys': 1,
      },
      redis: { RESERVE: 1, ADD: 1, PUBLISH: 1, CLAIM: 1, RELEASE: 1, END: 1 },
    };
    const parcels = await newParcels(PARCELS);
    const counts = await assertAsked(
      {
        gcs: { ...cargo.gcs, 'objects.insert': 1 + PARCELS },
        firestore: {
          ...cargo.firestore,
          'BatchGetDocuments collected-parcels': PARCELS,
          'Commit collected-parcels': PARCELS,
        },
        redis: { ...cargo.redis, RESERVE: 1 + 2 * PARCELS, PUBLISH: 1 + PARCELS },
      },
      () => deliverCargo(parcels),
    );
    const empty = withLook(OPERATIONS.cargo, -1);
    const withoutAcks = { ...empty, firestoreReads: OPERATIONS.cargo.firestoreReads - 1 };
    assert.deepEqual(difference(billed(counts), withoutAcks, PARCELS), OPERATIONS.cargoBorne);

    // Only what was loaded can be acknowledged.
    await Array.fromAsync(courier.collectCargo(await channel.newCca()));

    const acks = await Promise.all(
      parcels.map(async (octets) => {
        const { id, recipient } = await Parcel.deserialize(octets);
        return new ParcelCollectionAck(sender.identity.id, recipient.id, id).serialize();
      }),
    );
    const acknowledged = await assertAsked(
      {
        gcs: { ...cargo.gcs, 'objects.get': 1 + PARCELS, 'objects.delete': 1 + PARCELS },
        // Clients date cargo back, so that the key which the authorization brought is the newest.
        firestore: {
          'BatchGetDocuments session-keys': 1,
          'BatchGetDocuments peer-session-keys': 1,
          'BatchGetDocuments cargo-collections': 1,
        },
        redis: { ...cargo.redis, RELEASE: 1 + PARCELS },
      },
      () => deliverCargo(acks),
    );
    assert.deepEqual(
      difference(billed(acknowledged), { ...empty, firestoreWrites: 0 }, PARCELS),
      OPERATIONS.acknowledgedByCargo,
    );
  });

  test('of what a courier takes home: parcels are read, a cargo is signed, and a few records say how far it came', async () => {
    await receiving.collectAll();
    for (let count = 0; count < PARCELS; count++) {
      await deliver();
    }
    await meter.reset();
    const parcels: Parcel[] = [];
    // It is opened afterwards: the courier's call lasts for 3 s at most.
    for (const cargo of await Array.fromAsync(courier.collectCargo(await channel.newCca()))) {
      parcels.push(...(await channel.open(cargo)).flatMap(({ item }) => (item instanceof Parcel ? item : [])));
    }
    assert.equal(parcels.length, PARCELS);
    const counts = await meter.read();
    assert.deepEqual(counts.gcs, { 'objects.list': 1, 'objects.get': PARCELS, 'objects.media': PARCELS });
    assert.equal(counts.firestore['RunQuery collected-parcels'], 1);
    const { classB, firestoreReads = 0, firestoreWrites = 0, ...others } = billed(counts);
    const { courierCollection } = OPERATIONS;
    assert.equal(classB, PARCELS * OPERATIONS.collectedByCourier.classB);
    // A claim is looked at, and what was acknowledged noted, more often where a collection takes longer.
    assert.ok(firestoreReads <= courierCollection.firestoreReads, `${firestoreReads} reads`);
    assert.ok(firestoreWrites <= courierCollection.firestoreWrites, `${firestoreWrites} writes`);
    assert.equal(others.kmsOperations, courierCollection.kmsOperations);
    assert.equal(others.classA, courierCollection.classA);
  });
});

/** A key of the official library is none of Node's. */
async function nativeSigner({ certificate, identity }: OfficialPrivateGateway): Promise<Signer> {
  const { crypto } = globalThis;
  const algorithm = { name: 'RSA-PSS', hash: 'SHA-256' };
  const pkcs8 = Uint8Array.from(await derSerializePrivateKey(identity.privateKey));
  const spki = Uint8Array.from(await officialPublicKey(identity));
  return {
    certificate: readCertificate(Buffer.from(certificate.serialize())),
    key: {
      crypto,
      privateKey: await crypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']),
      publicKey: await crypto.subtle.importKey('spki', spki, algorithm, true, ['verify']),
    },
  };
}

function isEqual(one: CloudCounts, another: CloudCounts): boolean {
  try {
    assert.deepEqual(one, another);
    return true;
  } catch {
    return false;
  }
}

/** As the services bill them. @param of each of so many */
function billed({ gcs, firestore, kms, redis }: CloudCounts, of = 1): Operations {
  const sum = (counts: Record<string, number>, isMeant: (name: string) => boolean) =>
    Object.entries(counts).reduce((total, [name, count]) => total + (isMeant(name) ? count : 0), 0);
  return withoutNone({
    classA: sum(gcs, (name) => name === 'objects.insert' || name === 'objects.list') / of,
    classB: sum(gcs, (name) => name === 'objects.get' || name === 'objects.media') / of,
    firestoreReads: sum(firestore, (name) => !name.startsWith('Commit ')) / of,
    firestoreWrites: sum(firestore, (name) => name.startsWith('Commit ')) / of,
    firestoreDeletes: sum(firestore, (name) => DELETED_LATER.includes(name.replace(/^Commit /, ''))) / of,
    kmsOperations: sum(kms, () => true) / of,
    redisCommands: sum(redis, () => true) / of,
  });
}

/** What one of so many costs beyond `less`. */
function difference(more: Operations, less: Operations, of = 1): Operations {
  const names = new Set([...Object.keys(more), ...Object.keys(less)]) as Set<keyof Operations>;
  return withoutNone(
    Object.fromEntries([...names].map((name) => [name, ((more[name] ?? 0) - (less[name] ?? 0)) / of])),
  );
}

/** A worker looks for each item of work, besides the looks that it takes in any case: those are not told apart. */
function withLook(operations: Operations, looks = 1): Operations {
  return { ...operations, redisCommands: (operations.redisCommands ?? 0) + looks };
}

function withoutNone(operations: Operations): Operations {
  return Object.fromEntries(Object.entries(operations).filter(([, count]) => count !== 0));
}
