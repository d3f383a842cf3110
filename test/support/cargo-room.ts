/** The gateway room with all that takes in cargo, and private gateways that write it by our own writers. */
import { randomUUID } from 'node:crypto';
import { writeCargoMessageSet } from '../../src/awala/cargo/cargo-message-set.ts';
import { writeEnvelopedData } from '../../src/awala/cms/write-enveloped-data.ts';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import { RamfType } from '../../src/awala/ramf/ramf-message.ts';
import { type RamfFields, writeParcel, writeRamfMessage } from '../../src/awala/ramf/write-ramf.ts';
import type { PublicSessionKey, SessionKeyPair } from '../../src/awala/session-key.ts';
import { CargoDelivery } from '../../src/gateway/cargo/cargo-delivery.ts';
import { CargoLoads } from '../../src/gateway/cargo/cargo-loads.ts';
import { CargoProcessing } from '../../src/gateway/cargo/cargo-processing.ts';
import { CargoStorage } from '../../src/gateway/cargo/cargo-storage.ts';
import { CollectedParcels } from '../../src/gateway/cargo/collected-parcels.ts';
import { ChannelSessions } from '../../src/gateway/channel-sessions.ts';
import { ParcelDelivery } from '../../src/gateway/parcel-delivery.ts';
import { PeerSessionKeys } from '../../src/gateway/peer-session-keys.ts';
import type { Amount, ObjectStore } from '../../src/gateway/ports.ts';
import { Revocations } from '../../src/gateway/revocations.ts';
import { machineRandom } from '../../src/machine.ts';
import { type GatewayRoom, openGatewayRoom } from './gateway-room.ts';
import { ManualClock } from './manual-clock.ts';
import { issued, newSessionKey, type TestKeyName, type TestNode, testIdentity } from './pki.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** As deployed clients date cargo (protocol section 2). */
const BACKDATING = 1.5 * HOUR;

export interface CargoRoom extends AsyncDisposable {
  readonly room: GatewayRoom;
  readonly peerKeys: PeerSessionKeys;
  readonly sessions: ChannelSessions;
  readonly revocations: Revocations;
  readonly cargo: CargoStorage;
  readonly collected: CollectedParcels;
  readonly loads: CargoLoads;
  readonly parcels: ParcelDelivery;
  readonly delivery: CargoDelivery;
  readonly processing: CargoProcessing;
}

export interface CargoRoomOptions {
  readonly quotas?: { mailboxQuota?: Amount; outboxQuota?: Amount };
  readonly cargoQuota?: Amount;
  /** Puts something between the cargo storage and the objects. */
  readonly cargoObjects?: (objects: ObjectStore) => ObjectStore;
}

export async function openCargoRoom(options: CargoRoomOptions = {}): Promise<CargoRoom> {
  const { quotas, cargoQuota, cargoObjects = (objects: ObjectStore) => objects } = options;
  const room = await openGatewayRoom(new ManualClock(Date.now()), quotas);
  const { backends, clock, identity, sessionKeys, storage } = room;
  const { objects, records, work, meters, signals } = backends;
  const certificates = new CertificateCache();
  const revocations = await Revocations.open({ records, signals, random: machineRandom, clock });
  const peerKeys = new PeerSessionKeys({ records });
  const sessions = new ChannelSessions({ sessionKeys, peerKeys, random: machineRandom });
  const cargo = new CargoStorage({
    objects: cargoObjects(objects),
    queue: work,
    meters,
    clock,
    ...(cargoQuota && { quota: cargoQuota }),
  });
  const collected = new CollectedParcels({ records, meters, clock });
  const parcels = new ParcelDelivery({ identity, storage, meters, certificates, clock, revocations });
  const loads = new CargoLoads({ records });
  const { mailboxes } = storage;
  return {
    room,
    peerKeys,
    sessions,
    revocations,
    cargo,
    collected,
    loads,
    parcels,
    delivery: new CargoDelivery({ identity, storage: cargo, revocations, certificates, clock }),
    processing: new CargoProcessing({
      identity,
      storage: cargo,
      sessions,
      delivery: parcels,
      collected,
      loads,
      mailboxes,
      revocations,
      certificates,
      clock,
    }),
    async [Symbol.asyncDispose]() {
      revocations[Symbol.dispose]();
      await room[Symbol.asyncDispose]();
    },
  };
}

/** What of a cargo is not as usual. */
export interface TestCargoOptions {
  readonly fields?: Partial<RamfFields>;
  /** What signs it; the private gateway by default. */
  readonly signer?: TestNode;
  /** What it is encrypted for; the key of the registration by default. */
  readonly sessionKey?: PublicSessionKey;
  /** The key that it brings; a new one by default. */
  readonly newKey?: SessionKeyPair;
}

/** A private gateway with one endpoint, and a sender that the endpoint authorized. */
export class CargoSender {
  readonly node: TestNode;
  readonly endpoint: TestNode;
  readonly sender: TestNode;
  /** The gateway's, from the registration. */
  readonly gatewayKey: PublicSessionKey;
  private readonly room: GatewayRoom;

  private constructor(
    room: GatewayRoom,
    nodes: { node: TestNode; endpoint: TestNode; sender: TestNode },
    gatewayKey: PublicSessionKey,
  ) {
    this.room = room;
    this.node = nodes.node;
    this.endpoint = nodes.endpoint;
    this.sender = nodes.sender;
    this.gatewayKey = gatewayKey;
  }

  static async register(
    room: GatewayRoom,
    keys: { node?: TestKeyName; endpoint?: TestKeyName; sender?: TestKeyName } = {},
  ): Promise<CargoSender> {
    const node = await issued(await testIdentity(keys.node ?? 'private-gateway'), room.asNode());
    const endpoint = await issued(await testIdentity(keys.endpoint ?? 'endpoint'), node, { pathLength: 0 });
    const sender = await issued(await testIdentity(keys.sender ?? 'sender'), endpoint, { isCa: false, pathLength: 0 });
    const gatewayKey = await room.sessionKeys.create(node.id, node.certificate.notAfter);
    return new CargoSender(room, { node, endpoint, sender }, gatewayKey);
  }

  get id(): string {
    return this.node.id;
  }

  /** A parcel to this private gateway's endpoint. */
  parcel(fields: Partial<RamfFields> = {}): Promise<Buffer> {
    const message = {
      recipient: { id: this.endpoint.id },
      messageId: randomUUID(),
      creation: this.room.clock.now() - MINUTE,
      ttl: DAY / 1000,
      payload: Buffer.alloc(100, 'parcel'),
      ...fields,
    };
    return writeParcel(message, this.sender, [this.endpoint.certificate, this.node.certificate]);
  }

  /** Cargo by this private gateway. */
  cargo(items: readonly Buffer[], options: TestCargoOptions = {}): Promise<Buffer> {
    const payload = writeEnvelopedData({
      plaintext: writeCargoMessageSet(items),
      recipient: options.sessionKey ?? this.gatewayKey,
      sender: options.newKey ?? newSessionKey(),
      random: machineRandom,
    });
    return this.message(RamfType.CARGO, payload, options);
  }

  /** The revocation of the certificate that signs it. */
  revocation(options: TestCargoOptions = {}): Promise<Buffer> {
    return this.message(RamfType.REVOCATION, Buffer.alloc(0), options);
  }

  private message(type: number, payload: Buffer, { fields, signer = this.node }: TestCargoOptions): Promise<Buffer> {
    const message = {
      recipient: { id: this.room.identity.id },
      messageId: randomUUID(),
      creation: this.room.clock.now() - BACKDATING,
      ttl: (14 * DAY) / 1000,
      payload,
      ...fields,
    };
    return writeRamfMessage(type, message, signer);
  }
}

/** Delivers cargo and opens it; what became of its messages, in the order of their ends. */
export async function deliverAndOpen({ room, cargo, delivery, processing }: CargoRoom, bytes: Buffer) {
  await delivery.deliver(bytes, { trace: 'test' });
  return openAll({ room, cargo, processing });
}

/** Opens all that waits. */
export async function openAll({ room, processing }: Pick<CargoRoom, 'room' | 'cargo' | 'processing'>) {
  const items: { kind: string; result: string; code: string | undefined }[] = [];
  const outcomes: string[] = [];
  for (const { key } of await Array.fromAsync(room.backends.objects.list('cargo/'))) {
    const outcome = await processing.open(key, async ({ kind, result, error }) => {
      items.push({ kind, result, code: error?.code });
    });
    outcomes.push(outcome.result === 'dropped' ? outcome.error.code : outcome.result);
  }
  return { items, outcomes };
}
