/**
 * What the reference implementation of an Internet gateway keeps in MongoDB and in its bucket, made by the official
 * libraries' own serializations, with real keys in a KMS.
 */
import { createHash, createPrivateKey, randomBytes } from 'node:crypto';
import { Storage } from '@google-cloud/storage';
import {
  type Certificate,
  CertificationPath,
  derSerializePrivateKey,
  derSerializePublicKey,
  issueGatewayCertificate,
  PrivateNodeRegistration,
  SessionKeyPair,
} from '@relaycorp/relaynet-core';
import { KmsClient } from '../../src/backends/gcp/kms/kms-client.ts';
import { KmsEmulator } from '../emulators/kms/kms-emulator.ts';
import { IDENTITY_KEY, WRAPPING_KEY } from './kms.ts';
import {
  newOfficialIdentity,
  type OfficialIdentity,
  OfficialPrivateGateway,
  officialClient,
} from './official-client.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** How the reference implementation dates certificates: hours back, and for 360 days; private gateways' for 180. */
const BACKDATING = 3 * HOUR;
const OWN_LIFETIME = 360 * DAY;
const PEER_LIFETIME = 180 * DAY;

/** The two ways in which MongoDB exports what JSON has not. */
export type ExtendedJsonForm = 'relaxed' | 'canonical';

export class ReferenceGateway implements AsyncDisposable {
  readonly identity: OfficialIdentity;
  readonly certificate: Certificate;
  readonly kms: KmsEmulator;
  private readonly client: KmsClient;
  private readonly form: ExtendedJsonForm;
  private readonly documents: string[] = [];

  private constructor(identity: OfficialIdentity, certificate: Certificate, kms: KmsEmulator, form: ExtendedJsonForm) {
    this.identity = identity;
    this.certificate = certificate;
    this.kms = kms;
    this.client = new KmsClient({ endpoint: kms.endpoint });
    this.form = form;
  }

  /** One that was set up a month ago, with the identity key in KMS. */
  static async start(form: ExtendedJsonForm = 'relaxed'): Promise<ReferenceGateway> {
    const identity = await newOfficialIdentity();
    const der = await derSerializePrivateKey(identity.privateKey);
    const kms = await KmsEmulator.start({
      supply: async () => createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }),
    });
    kms.createKey(IDENTITY_KEY, 'ASYMMETRIC_SIGN', 'RSA_SIGN_PSS_2048_SHA256');
    kms.createKey(WRAPPING_KEY, 'ENCRYPT_DECRYPT');
    const started = Date.now() - 30 * DAY;
    const certificate = await issueGatewayCertificate({
      issuerPrivateKey: identity.privateKey,
      subjectPublicKey: identity.publicKey,
      validityStartDate: new Date(started - BACKDATING),
      validityEndDate: new Date(started + OWN_LIFETIME),
    });
    const gateway = new ReferenceGateway(identity, certificate, kms, form);
    gateway.add({ key: 'current_id', value: identity.id });
    gateway.add({
      nodeId: identity.id,
      publicKey: await derSerializePublicKey(identity.publicKey),
      kmsKey: IDENTITY_KEY.split('/').at(-1),
      kmsKeyVersion: 1,
    });
    await gateway.addCertificate(certificate);
    await gateway.addSessionKey(await SessionKeyPair.generate(), undefined);
    return gateway;
  }

  /** Settings with which our gateway finds the same KMS. */
  get environment(): Record<string, string> {
    const keyRing = IDENTITY_KEY.slice(0, IDENTITY_KEY.indexOf('/cryptoKeys/'));
    return { KEYS: 'gcp-kms', KMS_KEY_RING: keyRing, KMS_ENDPOINT: this.kms.endpoint };
  }

  async addCertificate(certificate: Certificate): Promise<void> {
    this.add({
      subjectId: await certificate.calculateSubjectId(),
      issuerId: certificate.getIssuerId() ?? (await certificate.calculateSubjectId()),
      pathSerialized: Buffer.from(new CertificationPath(certificate, []).serialize()),
      expiryDate: certificate.expiryDate,
    });
  }

  /** Registers a private gateway as the reference implementation does; it speaks to no server yet. */
  async register(): Promise<OfficialPrivateGateway> {
    const identity = await newOfficialIdentity();
    const certificate = await issueGatewayCertificate({
      issuerCertificate: this.certificate,
      issuerPrivateKey: this.identity.privateKey,
      subjectPublicKey: identity.publicKey,
      validityStartDate: new Date(Date.now() - BACKDATING),
      validityEndDate: new Date(Date.now() + PEER_LIFETIME),
    });
    const session = await SessionKeyPair.generate();
    await this.addSessionKey(session, identity.id);
    const { sessionKey } = session;
    const registration = new PrivateNodeRegistration(certificate, this.certificate, 'gateway.test', sessionKey);
    return new OfficialPrivateGateway(officialClient('http://127.0.0.1:1'), identity, registration);
  }

  /** A peer's newest session key, as it came in a message. @returns its id */
  async addPeerSessionKey(peer: string): Promise<Buffer> {
    const { sessionKey } = await SessionKeyPair.generate();
    this.add({
      peerId: peer,
      keyId: sessionKey.keyId,
      keyDer: await derSerializePublicKey(sessionKey.publicKey),
      creationDate: new Date(Date.now() - 2 * DAY),
    });
    return sessionKey.keyId;
  }

  /** The private half, encrypted by KMS and bound to both nodes. */
  async addSessionKey({ privateKey, sessionKey }: SessionKeyPair, peer: string | undefined): Promise<void> {
    const der = await derSerializePrivateKey(privateKey);
    const context = Buffer.from(peer ? `${this.identity.id},${peer}` : this.identity.id);
    this.add({
      keyId: sessionKey.keyId.toString('hex'),
      nodeId: this.identity.id,
      ...(peer && { peerId: peer }),
      privateKeyCiphertext: await this.client.encrypt(WRAPPING_KEY, der, context),
      creationDate: new Date(Date.now() - DAY),
    });
  }

  /** A document, as `mongoexport` writes it. */
  add(fields: Readonly<Record<string, unknown>>): void {
    this.documents.push(JSON.stringify({ _id: { $oid: objectId() }, ...extended(fields, this.form), __v: 0 }));
  }

  /** All of it, a line each. */
  export(): string {
    return `${this.documents.join('\n')}\n`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await this.kms[Symbol.asyncDispose]();
  }
}

/** Puts a parcel where the reference implementation keeps it for a private gateway. @returns the object's name */
export async function putWaitingParcel(
  { url, bucket }: { url: string; bucket: string },
  parcel: Buffer,
  ids: { peer: string; recipient: string; sender: string; parcel: string },
): Promise<string> {
  const digest = createHash('sha256').update(ids.parcel).digest('hex');
  const name = `parcels/gateway-bound/${ids.peer}/${ids.recipient}/${ids.sender}/${digest}`;
  await new Storage({ apiEndpoint: url }).bucket(bucket).file(name).save(parcel, { resumable: false });
  return name;
}

function objectId(): string {
  const seconds = Math.floor((Date.now() - 30 * DAY) / 1000);
  return seconds.toString(16).padStart(8, '0') + randomBytes(8).toString('hex');
}

/** Fields as MongoDB Extended JSON, version 2. */
function extended(fields: Readonly<Record<string, unknown>>, form: ExtendedJsonForm): Record<string, unknown> {
  const value = (given: unknown) => {
    if (Buffer.isBuffer(given)) {
      return { $binary: { base64: given.toString('base64'), subType: '00' } };
    }
    if (given instanceof Date) {
      return { $date: form === 'relaxed' ? given.toISOString() : { $numberLong: `${given.getTime()}` } };
    }
    return typeof given === 'number' && form === 'canonical' ? { $numberInt: `${given}` } : given;
  };
  return Object.fromEntries(Object.entries(fields).map(([name, given]) => [name, value(given)]));
}
