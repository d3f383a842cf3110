/** The collection door on a real port, over the gateway room, with private gateways and parcels for them. */
import { setTimeout as pause } from 'node:timers/promises';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import { readParcel } from '../../src/awala/ramf/parcel.ts';
import type { RamfFields } from '../../src/awala/ramf/write-ramf.ts';
import type { Mailboxes } from '../../src/gateway/mailbox.ts';
import { parcelAtRest } from '../../src/gateway/parcel-at-rest.ts';
import { ParcelCollections } from '../../src/gateway/parcel-collections.ts';
import { ParcelStorage } from '../../src/gateway/parcel-storage.ts';
import type { ObjectStore, Signals } from '../../src/gateway/ports.ts';
import { QueueRoom } from '../../src/gateway/queue-room.ts';
import {
  type CollectionDoor,
  type CollectionDoorParts,
  serveCollection,
} from '../../src/services/collection/collection.ts';
import { AddressLimits, type AddressRates } from '../../src/services/http/address-limits.ts';
import { createHttpServer, type HttpServer, type HttpServerOptions } from '../../src/services/http/server.ts';
import { type GatewayRoom, openGatewayRoom } from './gateway-room.ts';
import { type LogLines, logLines } from './log-lines.ts';
import { type TestChain, testChain, testParcel } from './pki.ts';

export interface CollectionDoorOptions extends Partial<Omit<CollectionDoorParts, 'collections' | 'limits'>> {
  readonly rates?: Partial<AddressRates>;
  readonly http?: Partial<HttpServerOptions>;
  /** How many collections one private gateway may have open. */
  readonly openPerPeer?: number;
  /** What the queues of all collections may take in memory. */
  readonly queueOctets?: number;
  /** Puts something between the gateway and its stores. */
  readonly objects?: (objects: ObjectStore) => ObjectStore;
  readonly signals?: (signals: Signals) => Signals;
}

export interface TestCollectionDoor extends AsyncDisposable {
  readonly url: string;
  readonly room: GatewayRoom;
  readonly server: HttpServer;
  readonly door: CollectionDoor;
  readonly mailboxes: Mailboxes;
  readonly lines: LogLines['lines'];
  /** A private gateway with an endpoint and a sender. */
  readonly chain: TestChain;
  /** Another private gateway's. */
  readonly otherChain: TestChain;
  /** Makes a parcel for the endpoint of a chain, `chain` by default, and puts it into the mailbox; gives its octets. */
  put(fields?: Partial<RamfFields>, chain?: TestChain): Promise<Buffer>;
  /** How many parcels wait for the private gateway of a chain. */
  countWaiting(chain?: TestChain): Promise<number>;
  /** Resolves when none wait any more. @throws Error after ten seconds */
  emptied(chain?: TestChain): Promise<void>;
}

export async function openCollectionDoor(options: CollectionDoorOptions = {}): Promise<TestCollectionDoor> {
  const { rates, http, openPerPeer, queueOctets, objects, signals, ...parts } = options;
  const room = await openGatewayRoom();
  const certificates = new CertificateCache();
  const { backends, clock, identity } = room;
  const storage = new ParcelStorage({
    objects: objects ? objects(backends.objects) : backends.objects,
    signals: signals ? signals(backends.signals) : backends.signals,
    records: backends.records,
    work: backends.work,
    meters: backends.meters,
    clock,
  });
  const { log, lines } = logLines();
  const server = await createHttpServer({ name: 'collection', host: '127.0.0.1', port: 0, log, ...http });
  const door = serveCollection(server, {
    collections: new ParcelCollections({
      identity,
      storage,
      certificates,
      clock,
      ...(openPerPeer !== undefined && { openPerPeer }),
      ...(queueOctets !== undefined && { room: new QueueRoom(queueOctets) }),
    }),
    limits: new AddressLimits({ meters: backends.meters, clock, ...(rates && { rates }) }),
    ...parts,
  });
  const gateway = room.asNode();
  const chain = await testChain({ gateway });
  const otherChain = await testChain({
    gateway,
    keys: { privateGateway: 'other-private-gateway', endpoint: 'other-endpoint', sender: 'other-sender' },
  });
  const countWaiting = async (of = chain) =>
    (await Array.fromAsync(backends.objects.list(`mailboxes/${of.privateGateway.id}/`))).length;
  return {
    url: await server.listen(),
    room,
    server,
    door,
    mailboxes: storage.mailboxes,
    lines,
    chain,
    otherChain,
    async put(fields = {}, to = chain) {
      const parcel = readParcel(await testParcel(to, fields), certificates);
      await storage.mailboxes.put(to.privateGateway.id, parcelAtRest(parcel, { trace: 'test' }, Date.now()));
      return parcel.raw;
    },
    countWaiting,
    async emptied(of) {
      const deadline = performance.now() + 10_000;
      while ((await countWaiting(of)) > 0) {
        if (performance.now() > deadline) {
          throw new Error('Parcels still wait');
        }
        await pause(5);
      }
    },
    async [Symbol.asyncDispose]() {
      await server.stop(AbortSignal.abort());
      await room[Symbol.asyncDispose]();
    },
  };
}
