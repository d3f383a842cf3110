/** CollectCargo over real sockets: statuses, and clients that leave, stall, or end too early. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, type ClientDuplexStream, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { CertificateCache } from '../../../src/awala/pki/certificate-cache.ts';
import { readParcel } from '../../../src/awala/ramf/parcel.ts';
import { CogRpcClient, type CogRpcError } from '../../../src/courier/cogrpc-client.ts';
import { parcelAtRest } from '../../../src/gateway/parcel-at-rest.ts';
import { type Records, StoreError } from '../../../src/gateway/ports.ts';
import { cargoRelayDefinition } from '../../../src/services/cogrpc/cargo-relay.ts';
import { collectCargo } from '../../../src/services/cogrpc/collect-cargo.ts';
import type { CogRpcLimits } from '../../../src/services/cogrpc/limits.ts';
import type { CargoDelivery, CargoDeliveryAck } from '../../../src/services/cogrpc/messages.ts';
import { createCogRpcServer } from '../../../src/services/cogrpc/server.ts';
import { CargoRecipient, cargoCollectionsOf } from '../../support/cargo-recipient.ts';
import { type GatewayRoom, openGatewayRoom } from '../../support/gateway-room.ts';
import { logLines } from '../../support/log-lines.ts';
import { testChain, testParcel } from '../../support/pki.ts';
import { callRawly } from '../../support/raw-grpc.ts';

const PARCELS = 8;
const PAUSE = 10;
const PATH = '/awala.cogrpc.CargoRelay/CollectCargo';

type Call = ClientDuplexStream<CargoDeliveryAck, CargoDelivery>;

interface Door {
  readonly room: GatewayRoom;
  readonly recipient: CargoRecipient;
  readonly url: string;
  readonly lines: readonly Record<string, unknown>[];
  /** Begins a call by the gRPC library. */
  call(cca: Buffer): Call;
  /** Resolves when the door has logged this message. */
  logged(message: string): Promise<Record<string, unknown>>;
}

async function openDoor(
  t: TestContext,
  options: { limits?: Partial<CogRpcLimits>; records?: (records: Records) => Records } = {},
): Promise<Door> {
  const room = await openGatewayRoom();
  const chain = await testChain({ gateway: room.asNode() });
  for (let index = 0; index < PARCELS; index++) {
    const bytes = await testParcel(chain, { messageId: `parcel ${index}`, payload: randomBytes(50 * 1024) });
    const atRest = parcelAtRest(readParcel(bytes, new CertificateCache()), { trace: 'test' }, Date.now());
    await room.mailboxes.put(chain.privateGateway.id, atRest);
  }
  const recipient = await CargoRecipient.register(room, chain.privateGateway);
  const { log, lines } = logLines('info');
  const { records = (same: Records) => same, limits = {} } = options;
  const collections = cargoCollectionsOf(room, { records: records(room.backends.records) });
  const server = await createCogRpcServer(
    { host: '127.0.0.1', port: 0, log, checkStores: () => room.backends.check(), limits },
    { collectCargo: collectCargo(collections, log) },
  );
  const url = await server.listen();
  const client = new Client(new URL(url).host, credentials.createInsecure());
  t.after(async () => {
    client.close();
    await server.stop(AbortSignal.abort());
    await room[Symbol.asyncDispose]();
  });
  return {
    room,
    recipient,
    url,
    lines,
    call(cca) {
      const { path, requestSerialize, responseDeserialize } =
        cargoRelayDefinition('relaynet.cogrpc.CargoRelay').collectCargo;
      const metadata = new Metadata();
      metadata.set('authorization', `Awala-CCA ${cca.toString('base64')}`);
      return client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata);
    },
    async logged(message) {
      for (;;) {
        const line = lines.find(({ msg }) => msg === message);
        if (line) {
          return line;
        }
        await delay(PAUSE);
      }
    },
  };
}

/** Takes all cargo; gives the ids of the parcels. */
async function collectAll({ url, recipient }: Door, cca: Buffer): Promise<string[]> {
  using client = new CogRpcClient(new URL(url));
  const ids: string[] = [];
  for await (const { cargo, acknowledge } of client.collect(cca, new AbortController().signal)) {
    ids.push(...recipient.open(cargo).items.map((item) => readParcel(item, new CertificateCache()).messageId));
    acknowledge();
  }
  return ids;
}

/** The status that a call ends with, and how many cargoes came before. */
async function ended(call: Call, onCargo: (delivery: CargoDelivery) => void = () => undefined) {
  let cargoes = 0;
  try {
    for await (const delivery of call as AsyncIterable<CargoDelivery>) {
      cargoes++;
      onCargo(delivery);
    }
    return { code: status.OK, cargoes };
  } catch (error) {
    return { code: (error as ServiceError).code, cargoes };
  }
}

test('a collection is logged with what was in it, and once', async (t) => {
  const door = await openDoor(t);
  assert.equal((await collectAll(door, await door.recipient.writeCca())).length, PARCELS);
  const line = await door.logged('Cargo collected');
  assert.equal(line['items'], PARCELS);
  assert.equal(line['peer'], door.recipient.node.id);
  assert.ok(line['cca'] && line['trace'] && Number(line['octets']) > PARCELS * 50 * 1024);
});

test('a courier that leaves in the middle leaves the CCA as it was', async (t) => {
  const door = await openDoor(t);
  const cca = await door.recipient.writeCca();
  const call = door.call(cca);
  const { code, cargoes } = await ended(call, () => call.cancel());
  assert.equal(code, status.CANCELLED);
  assert.equal(cargoes, 1);
  await door.logged('Cargo collection broken off');
  assert.equal((await collectAll(door, cca)).length, PARCELS);
});

test('five cargoes wait for acknowledgements, and a newer call ends the one that waits', async (t) => {
  const door = await openDoor(t);
  const cca = await door.recipient.writeCca();
  const { promise: full, resolve } = Promise.withResolvers<void>();
  let cargoes = 0;
  const stalled = ended(door.call(cca), () => ++cargoes === 5 && resolve());
  await full;
  assert.equal((await collectAll(door, cca)).length, PARCELS);
  assert.deepEqual(await stalled, { code: status.ABORTED, cargoes: 5 });
});

test('a courier that says that it is done before it has acknowledged all has not collected', async (t) => {
  const door = await openDoor(t);
  const cca = await door.recipient.writeCca();
  const call = door.call(cca);
  call.end();
  assert.equal((await ended(call)).code, status.CANCELLED);
  assert.equal((await collectAll(door, cca)).length, PARCELS);
});

test('a courier that says nothing for too long is let go', async (t) => {
  const door = await openDoor(t, { limits: { callIdleTimeout: 300 } });
  const cca = await door.recipient.writeCca();
  assert.equal((await ended(door.call(cca))).code, status.DEADLINE_EXCEEDED);
  await door.logged('Cargo collection broken off');
  assert.equal((await collectAll(door, cca)).length, PARCELS);
});

test('a store that is away ends the call with UNAVAILABLE, and the CCA can be used again', async (t) => {
  let isAway = true;
  const door = await openDoor(t, {
    records: (records) => ({
      get: (...args) => records.get(...args),
      list: (...args) => records.list(...args),
      put: (...args) => records.put(...args),
      delete: (...args) => records.delete(...args),
      replace: (...args) => records.replace(...args),
      async create(kind, ...args) {
        if (isAway && kind === 'cca-claims') {
          throw new StoreError('STORE_AWAY', 'Store is away');
        }
        return records.create(kind, ...args);
      },
    }),
  });
  const cca = await door.recipient.writeCca();
  await assert.rejects(collectAll(door, cca), (error: CogRpcError) => error.status === 'UNAVAILABLE');
  const line = await door.logged('Cargo collection failed');
  assert.equal(line['level'], 40);
  isAway = false;
  assert.equal((await collectAll(door, cca)).length, PARCELS);
});

test('a key that does not sign ends the call with UNAVAILABLE', async (t) => {
  const door = await openDoor(t);
  const key = door.room.identity.issuingKey().signing;
  Object.assign(key, { crypto: { subtle: { sign: () => Promise.reject(new Error('Key is away')) } } });
  await assert.rejects(
    collectAll(door, await door.recipient.writeCca()),
    (error: CogRpcError) => error.status === 'UNAVAILABLE' && !error.message.includes('Key is away'),
  );
});

test('a CCA comes under either name in any case, and nothing else does', async (t) => {
  const door = await openDoor(t);
  const statusOf = async (authorization: string) => {
    const { headers, trailers } = await callRawly(door.url, PATH, { authorization });
    return Number(trailers['grpc-status'] ?? headers['grpc-status']);
  };
  const cca = await door.recipient.writeCca();
  // Spent, so that each answer comes at once.
  await collectAll(door, cca);
  const base64 = cca.toString('base64');
  for (const scheme of ['Awala-CCA', 'awala-cca', 'AWALA-CCA', 'Relaynet-CCA', 'relaynet-cca']) {
    assert.equal(await statusOf(`${scheme} ${base64}`), status.PERMISSION_DENIED, scheme);
  }
  assert.equal(await statusOf(`Awala-CCA ${base64.replace(/=+$/, '')}`), status.PERMISSION_DENIED);
  const others = [`CCA ${base64}`, `Awala-CCA${base64}`, `Awala-CCA ${base64}!`, `Awala-CCA `, `Awala-CCA ${base64} x`];
  for (const authorization of others) {
    assert.equal(await statusOf(authorization), status.UNAUTHENTICATED, authorization.slice(0, 20));
  }
  assert.ok(door.lines.some(({ code }) => code === 'CCA_MISSING'));
});
