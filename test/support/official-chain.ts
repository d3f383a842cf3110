/**
 * A chain of certificates and its parcels as the official JavaScript library makes them, unmodified, from the committed
 * keys: an Internet gateway, a private gateway behind it, an endpoint of that, and a sender that it authorized.
 */
import {
  type Certificate,
  derDeserializeRSAPrivateKey,
  derDeserializeRSAPublicKey,
  issueDeliveryAuthorization,
  issueEndpointCertificate,
  issueGatewayCertificate,
  Parcel,
  type Recipient,
} from '@relaycorp/relaynet-core';
import { type TestKeyName, testIdentity } from './pki.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const SECONDS_PER_DAY = 86_400;

export interface OfficialKeyPair {
  readonly id: string;
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

export interface OfficialChain {
  readonly gateway: Certificate;
  readonly privateGateway: Certificate;
  readonly endpoint: Certificate;
  /** The sender's delivery authorization. */
  readonly pda: Certificate;
  readonly keys: Readonly<Record<'gateway' | 'privateGateway' | 'endpoint' | 'sender', OfficialKeyPair>>;
}

/** A committed key in the official library's hands. */
export async function officialKeyPair(name: TestKeyName): Promise<OfficialKeyPair> {
  const identity = await testIdentity(name);
  return {
    id: identity.id,
    publicKey: await derDeserializeRSAPublicKey(identity.publicKey.spki),
    privateKey: await derDeserializeRSAPrivateKey(identity.privateKey),
  };
}

/** A chain that is valid since three hours ago, for half a year. */
export async function officialChain(): Promise<OfficialChain> {
  const keys = {
    gateway: await officialKeyPair('internet-gateway'),
    privateGateway: await officialKeyPair('private-gateway'),
    endpoint: await officialKeyPair('endpoint'),
    sender: await officialKeyPair('sender'),
  };
  const dates = {
    validityStartDate: new Date(Date.now() - 3 * HOUR),
    validityEndDate: new Date(Date.now() + 170 * DAY),
  };
  const gateway = await issueGatewayCertificate({
    ...dates,
    issuerPrivateKey: keys.gateway.privateKey,
    subjectPublicKey: keys.gateway.publicKey,
  });
  const privateGateway = await issueGatewayCertificate({
    ...dates,
    issuerCertificate: gateway,
    issuerPrivateKey: keys.gateway.privateKey,
    subjectPublicKey: keys.privateGateway.publicKey,
  });
  const endpoint = await issueEndpointCertificate({
    ...dates,
    issuerCertificate: privateGateway,
    issuerPrivateKey: keys.privateGateway.privateKey,
    subjectPublicKey: keys.endpoint.publicKey,
  });
  const pda = await officialAuthorization({ endpoint, keys }, keys.sender);
  return { gateway, privateGateway, endpoint, pda, keys };
}

/** A further delivery authorization (PDA) by the chain's endpoint. */
export function officialAuthorization(
  { endpoint, keys }: Pick<OfficialChain, 'endpoint' | 'keys'>,
  sender: OfficialKeyPair,
): Promise<Certificate> {
  return issueDeliveryAuthorization({
    validityStartDate: endpoint.startDate,
    validityEndDate: endpoint.expiryDate,
    issuerCertificate: endpoint,
    issuerPrivateKey: keys.endpoint.privateKey,
    subjectPublicKey: sender.publicKey,
  });
}

export interface OfficialParcelOptions {
  readonly recipient?: Recipient;
  readonly payload?: Buffer;
  readonly pda?: Certificate;
  readonly sender?: OfficialKeyPair;
  readonly id?: string;
}

/** Serializes a parcel to the chain's endpoint: 1 KiB of payload, for a day, unless told otherwise. */
export async function officialParcel(chain: OfficialChain, options: OfficialParcelOptions = {}): Promise<Buffer> {
  const parcel = new Parcel(
    options.recipient ?? { id: chain.keys.endpoint.id },
    options.pda ?? chain.pda,
    options.payload ?? Buffer.alloc(1024, 'parcel'),
    {
      ...(options.id !== undefined && { id: options.id }),
      creationDate: new Date(Date.now() - 60_000),
      ttl: SECONDS_PER_DAY,
      senderCaCertificateChain: [chain.endpoint, chain.privateGateway, chain.gateway],
    },
  );
  return Buffer.from(await parcel.serialize((options.sender ?? chain.keys.sender).privateKey));
}
