/**
 * A private gateway and its endpoints as the official JavaScript libraries make them, unmodified: the measure of our
 * interoperability.
 */
import { randomBytes } from 'node:crypto';
import {
  type Certificate,
  derSerializePublicKey,
  generateRSAKeyPair,
  getIdFromIdentityKey,
  issueDeliveryAuthorization,
  issueEndpointCertificate,
  Parcel,
  type ParcelCollection,
  ParcelCollectionHandshakeSigner,
  ParcelDeliverySigner,
  type PrivateNodeRegistration,
  PrivateNodeRegistrationRequest,
  StreamingMode,
} from '@relaycorp/relaynet-core';
import { PoWebClient } from '@relaycorp/relaynet-poweb';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** Deployed clients date what they issue 90 minutes back (protocol section 2). */
const BACKDATING = 1.5 * HOUR;

/** An identity key pair with its node id (RS-002). */
export interface OfficialIdentity {
  readonly id: string;
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

/** Makes an RSA-2048 identity. */
export async function newOfficialIdentity(): Promise<OfficialIdentity> {
  const { publicKey, privateKey } = await generateRSAKeyPair();
  return { id: await getIdFromIdentityKey(publicKey), publicKey, privateKey };
}

/** Octets of an identity's SubjectPublicKeyInfo. */
export function officialPublicKey(identity: OfficialIdentity): Promise<Buffer> {
  return derSerializePublicKey(identity.publicKey);
}

/** A client of the gateway whose PoWeb has this URL, on the loopback unless it is https. */
export function officialClient(poweb: string): PoWebClient {
  const { protocol, hostname, port } = new URL(poweb);
  return protocol === 'https:' ? PoWebClient.initRemote(hostname, Number(port)) : PoWebClient.initLocal(Number(port));
}

/** Registers `identity` with the gateway behind `client`: pre-registration, then registration. */
export async function registerOfficially(
  client: PoWebClient,
  identity: OfficialIdentity,
): Promise<PrivateNodeRegistration> {
  const authorization = await client.preRegisterNode(identity.publicKey);
  const request = new PrivateNodeRegistrationRequest(identity.publicKey, authorization);
  return client.registerNode(await request.serialize(identity.privateKey));
}

/** A registered private gateway. */
export class OfficialPrivateGateway {
  readonly client: PoWebClient;
  readonly identity: OfficialIdentity;
  readonly registration: PrivateNodeRegistration;

  constructor(client: PoWebClient, identity: OfficialIdentity, registration: PrivateNodeRegistration) {
    this.client = client;
    this.identity = identity;
    this.registration = registration;
  }

  /** Registers a new identity with the gateway whose PoWeb has this URL. */
  static async register(poweb: string): Promise<OfficialPrivateGateway> {
    const client = officialClient(poweb);
    const identity = await newOfficialIdentity();
    return new OfficialPrivateGateway(client, identity, await registerOfficially(client, identity));
  }

  /** The same private gateway, speaking to another URL: its gateway has started anew. */
  at(poweb: string): OfficialPrivateGateway {
    return new OfficialPrivateGateway(officialClient(poweb), this.identity, this.registration);
  }

  get certificate(): Certificate {
    return this.registration.privateNodeCertificate;
  }

  /** An endpoint of this private gateway, with a certificate by it. */
  async newEndpoint(): Promise<OfficialEndpoint> {
    const identity = await newOfficialIdentity();
    const certificate = await issueEndpointCertificate({
      issuerCertificate: this.certificate,
      issuerPrivateKey: this.identity.privateKey,
      subjectPublicKey: identity.publicKey,
      validityStartDate: new Date(Date.now() - BACKDATING),
      validityEndDate: this.certificate.expiryDate,
    });
    return new OfficialEndpoint(this, identity, certificate);
  }

  /** Delivers a serialized parcel, countersigned. */
  deliver(parcel: ArrayBuffer): Promise<void> {
    return this.client.deliverParcel(parcel, new ParcelDeliverySigner(this.certificate, this.identity.privateKey));
  }

  /** Collects; `onHandshake` is called when the handshake is done. */
  collect(mode: StreamingMode, onHandshake?: () => void): AsyncGenerator<ParcelCollection> {
    const signer = new ParcelCollectionHandshakeSigner(this.certificate, this.identity.privateKey);
    // It is a generator, which its type does not tell; ending it closes the connection.
    return this.client.collectParcels([signer], mode, onHandshake) as AsyncGenerator<ParcelCollection>;
  }

  /** Collects all that waits, acknowledging each, and gives the parcels' octets in the order of arrival. */
  async collectAll(): Promise<Buffer[]> {
    const parcels: Buffer[] = [];
    for await (const collection of this.collect(StreamingMode.CLOSE_UPON_COMPLETION)) {
      parcels.push(Buffer.from(collection.parcelSerialized));
      await collection.ack();
    }
    return parcels;
  }
}

/** Who may send to an endpoint: a key under a delivery authorization (PDA) by that endpoint. */
export interface OfficialSender {
  readonly identity: OfficialIdentity;
  /** The PDA, then the recipient's chain up to its private gateway. */
  readonly chain: readonly [Certificate, ...Certificate[]];
}

/** What `OfficialEndpoint.writeParcel` leaves to its defaults. */
export interface OfficialParcelOptions {
  readonly id?: string;
  /** Seconds; an hour by default. */
  readonly ttl?: number;
  readonly creationDate?: Date;
  /** None by default: the recipient is behind the gateway that the parcel is given to. */
  readonly internetAddress?: string;
}

/** A private endpoint. */
export class OfficialEndpoint {
  readonly gateway: OfficialPrivateGateway;
  readonly identity: OfficialIdentity;
  readonly certificate: Certificate;

  constructor(gateway: OfficialPrivateGateway, identity: OfficialIdentity, certificate: Certificate) {
    this.gateway = gateway;
    this.identity = identity;
    this.certificate = certificate;
  }

  /** Authorizes a sender to reach this endpoint for a month. */
  async authorize(identity: OfficialIdentity): Promise<OfficialSender> {
    const authorization = await issueDeliveryAuthorization({
      issuerCertificate: this.certificate,
      issuerPrivateKey: this.identity.privateKey,
      subjectPublicKey: identity.publicKey,
      validityStartDate: new Date(Date.now() - BACKDATING),
      validityEndDate: new Date(Date.now() + 30 * DAY),
    });
    return { identity, chain: [authorization, this.certificate, this.gateway.certificate] };
  }

  /** A parcel from `sender` to this endpoint, serialized. */
  writeParcel(sender: OfficialSender, payload: Buffer, options: OfficialParcelOptions = {}): Promise<ArrayBuffer> {
    const [authorization, ...authorities] = sender.chain;
    const { internetAddress, ttl = HOUR / 1000, ...others } = options;
    const recipient = internetAddress ? { id: this.identity.id, internetAddress } : { id: this.identity.id };
    const parcel = new Parcel(recipient, authorization, payload, {
      ...others,
      ttl,
      senderCaCertificateChain: authorities,
    });
    return parcel.serialize(sender.identity.privateKey);
  }

  /**
   * A parcel to this endpoint of exactly `octets` octets, filled with random ones, as ciphertext is: the library looks
   * for ASN.1 inside strings and gives up at 10,000 elements, which a payload of plain letters can hold.
   */
  async writeParcelOfSize(sender: OfficialSender, octets: number): Promise<ArrayBuffer> {
    const filler = randomBytes(65_536);
    let payloadLength = octets - 8192;
    // The library cuts long strings into segments, so the frame grows with the payload, in steps: the message id,
    // of free length, makes up for a step that no payload length can meet.
    for (let idLength = 36; idLength <= 64; idLength++) {
      for (let attempt = 0; attempt < 4; attempt++) {
        const payload = Buffer.alloc(payloadLength, filler);
        const parcel = await this.writeParcel(sender, payload, { id: 'x'.repeat(idLength) });
        if (parcel.byteLength === octets) {
          return parcel;
        }
        payloadLength += octets - parcel.byteLength;
      }
    }
    throw new Error(`No parcel of ${octets} octets can be made`);
  }
}
