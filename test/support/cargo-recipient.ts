/** A private gateway that asks for cargo by courier, made by our own writers on a gateway room. */
import { randomUUID } from 'node:crypto';
import { writeCargoCollectionRequest } from '../../src/awala/cargo/cargo-collection-request.ts';
import { writeEnvelopedData } from '../../src/awala/cms/write-enveloped-data.ts';
import type { Certificate } from '../../src/awala/pki/certificate.ts';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import { RamfType } from '../../src/awala/ramf/ramf-message.ts';
import { type RamfFields, writeRamfMessage } from '../../src/awala/ramf/write-ramf.ts';
import type { PublicSessionKey, SessionKeyPair } from '../../src/awala/session-key.ts';
import { CargoCollections, type CargoCollectionsParts } from '../../src/gateway/cargo/cargo-collections.ts';
import { CollectedParcels } from '../../src/gateway/cargo/collected-parcels.ts';
import { ChannelSessions } from '../../src/gateway/channel-sessions.ts';
import { PeerSessionKeys } from '../../src/gateway/peer-session-keys.ts';
import { machineRandom } from '../../src/machine.ts';
import type { GatewayRoom } from './gateway-room.ts';
import { type CertificateOptions, issued, newSessionKey, selfIssued, type TestNode, testIdentity } from './pki.ts';
import { readCargoStrictly, type StrictlyReadCargo } from './strict-cargo.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** As deployed clients date CCAs and CDAs (protocol section 2). */
const BACKDATING = 1.5 * HOUR;

/** What else than the usual a CCA says. */
export interface CcaOptions {
  readonly fields?: Partial<RamfFields>;
  readonly authorization?: Certificate;
  /** What signs it; the private gateway by default. */
  readonly signer?: TestNode;
  /** What it is encrypted for; the key of the registration by default. */
  readonly sessionKey?: PublicSessionKey;
  /** Instead of a request. */
  readonly plaintext?: Buffer;
  /** Instead of an encrypted request. */
  readonly payload?: Buffer;
}

export class CargoRecipient {
  readonly node: TestNode;
  readonly authorization: Certificate;
  /** The gateway's, from the registration. */
  readonly gatewayKey: PublicSessionKey;
  private readonly gateway: TestNode;
  private readonly sessionKeys = new Map<string, SessionKeyPair>();
  private readonly now: () => number;

  constructor(
    gateway: TestNode,
    node: TestNode,
    authorization: Certificate,
    gatewayKey: PublicSessionKey,
    now: () => number,
  ) {
    this.gateway = gateway;
    this.node = node;
    this.authorization = authorization;
    this.gatewayKey = gatewayKey;
    this.now = now;
  }

  /** Registers a private gateway; its CDA is as those of the JavaScript stack, unless told otherwise. */
  static async register(
    room: GatewayRoom,
    node?: TestNode,
    authorization: CertificateOptions = { isCa: true, pathLength: 1 },
  ): Promise<CargoRecipient> {
    const gateway = room.asNode();
    const registered = node ?? (await issued(await testIdentity('private-gateway'), gateway));
    const gatewayKey = await room.sessionKeys.create(registered.id, registered.certificate.notAfter);
    const now = room.clock.now();
    const own = await selfIssued(registered, { notBefore: now - 2 * DAY });
    const cda = await issued(gateway, own, { notBefore: now - BACKDATING, notAfter: now + 30 * DAY, ...authorization });
    return new CargoRecipient(gateway, registered, cda.certificate, gatewayKey, () => room.clock.now());
  }

  /** A CCA for a week, dated as deployed clients do. */
  async writeCca(options: CcaOptions = {}): Promise<Buffer> {
    const key = newSessionKey();
    this.sessionKeys.set(key.keyId.toString('hex'), key);
    const { authorization = this.authorization, signer = this.node, sessionKey = this.gatewayKey } = options;
    const plaintext = options.plaintext ?? writeCargoCollectionRequest({ cargoDeliveryAuthorization: authorization });
    const payload =
      options.payload ?? writeEnvelopedData({ plaintext, recipient: sessionKey, sender: key, random: machineRandom });
    return writeRamfMessage(
      RamfType.CARGO_COLLECTION_AUTHORIZATION,
      {
        recipient: { id: this.gateway.id },
        messageId: randomUUID(),
        creation: this.now() - BACKDATING,
        ttl: (7 * DAY) / 1000,
        payload,
        ...options.fields,
      },
      signer,
    );
  }

  /** Reads cargo, or its pieces, as the strictest of clients. */
  open(cargo: Buffer | readonly Uint8Array[], authorization: Certificate = this.authorization): StrictlyReadCargo {
    return readCargoStrictly(Buffer.isBuffer(cargo) ? cargo : Buffer.concat(cargo), {
      certificate: this.node.certificate,
      authorization,
      now: this.now(),
      sessionKey: (keyId) => this.sessionKeys.get(keyId.toString('hex'))?.privateKey,
    });
  }
}

/** What the room gives to private gateways by courier. */
export function cargoCollectionsOf(
  room: GatewayRoom,
  parts: Partial<CargoCollectionsParts> = {},
): CargoCollections & { collectedParcels: CollectedParcels } {
  const { identity, sessionKeys, clock, mailboxes } = room;
  const { records, signals, meters } = room.backends;
  const sessions = new ChannelSessions({
    sessionKeys,
    peerKeys: new PeerSessionKeys({ records }),
    random: machineRandom,
  });
  const collectedParcels = new CollectedParcels({ records, meters, clock });
  const collections = new CargoCollections({
    identity,
    mailboxes,
    collectedParcels,
    sessions,
    records,
    signals,
    certificates: new CertificateCache(),
    random: machineRandom,
    clock,
    ...parts,
  });
  return Object.assign(collections, { collectedParcels });
}
