/**
 * The doctor's private gateway by courier: it writes cargo and cargo collection authorizations (CCAs), and opens what
 * comes back (RS-000, RS-003, protocol sections 5 and 6).
 */
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { writeCargoCollectionRequest } from '../awala/cargo/cargo-collection-request.ts';
import { readCargoMessageSet, writeCargoMessageSet } from '../awala/cargo/cargo-message-set.ts';
import { readEnvelopedData } from '../awala/cms/enveloped-data.ts';
import { writeEnvelopedData } from '../awala/cms/write-enveloped-data.ts';
import type { Certificate } from '../awala/pki/certificate.ts';
import { CertificateCache } from '../awala/pki/certificate-cache.ts';
import { issueCertificate } from '../awala/pki/issue-certificate.ts';
import type { Registration } from '../awala/poweb/registration.ts';
import { RamfType, readRamfMessage, verifyRamfMessage } from '../awala/ramf/ramf-message.ts';
import { writeRamfMessage } from '../awala/ramf/write-ramf.ts';
import type { SessionKeyPair } from '../awala/session-key.ts';
import { DoctorFault } from './fault.ts';
import type { NodeKey } from './node-key.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** As deployed clients date cargo and CCAs (protocol section 2). */
const BACKDATING = 90 * MINUTE;

/** How long the doctor's cargo and authorizations live. */
const LIFETIME = HOUR;

const SERIAL_NUMBER_OCTETS = 16;
const KEY_ID_OCTETS = 8;

/** Android takes no gRPC message of this size. */
const MAX_CARGO_OCTETS = 4 * 1024 * 1024;

const MEND = "The gateway's cargo is not what couriers and private gateways take: update it";

export class CargoChannel {
  private readonly key: NodeKey;
  private readonly registration: Registration;
  private readonly authorization: Certificate;
  private readonly sessionKeys = new Map<string, SessionKeyPair>();

  private constructor(key: NodeKey, registration: Registration, authorization: Certificate) {
    this.key = key;
    this.registration = registration;
    this.authorization = authorization;
  }

  /** Issues the authorization (CDA) under which the gateway may send cargo. */
  static async create(key: NodeKey, registration: Registration): Promise<CargoChannel> {
    const { nodeCertificate, gatewayCertificate } = registration;
    const now = Date.now();
    const authorization = await issueCertificate({
      subjectPublicKey: gatewayCertificate.publicKey,
      issuer: { key: key.signing, certificate: nodeCertificate },
      notBefore: Math.max(now - BACKDATING, nodeCertificate.notBefore),
      notAfter: Math.min(now + LIFETIME, nodeCertificate.notAfter),
      isCa: false,
      pathLength: 0,
      serialNumber: randomBytes(SERIAL_NUMBER_OCTETS),
    });
    return new CargoChannel(key, registration, authorization);
  }

  /** A CCA, good for one collection. */
  writeCca(): Promise<Buffer> {
    const request = writeCargoCollectionRequest({ cargoDeliveryAuthorization: this.authorization });
    return this.write(RamfType.CARGO_COLLECTION_AUTHORIZATION, request);
  }

  /** Cargo for the gateway. */
  writeCargo(messages: readonly Buffer[]): Promise<Buffer> {
    return this.write(RamfType.CARGO, writeCargoMessageSet(messages));
  }

  /**
   * Opens cargo as the strictest of clients does.
   *
   * @returns the messages in it
   * @throws DoctorFault CARGO_WRONG; AwalaError where it cannot be read or is not valid
   */
  open(bytes: Buffer): Buffer[] {
    const { nodeCertificate } = this.registration;
    const cargo = readRamfMessage(RamfType.CARGO, bytes, new CertificateCache());
    verifyRamfMessage(cargo, Date.now(), 0);
    if (!cargo.sender.raw.equals(this.authorization.raw)) {
      throw wrong('Cargo is not signed under the authorization (CDA) that was given');
    }
    if (cargo.recipient.id !== nodeCertificate.subjectId || cargo.recipient.internetAddress !== undefined) {
      throw wrong('Cargo is for somebody else');
    }
    if (!cargo.signedData.certificates.some(({ raw }) => raw.equals(nodeCertificate.raw))) {
      throw wrong("Cargo does not carry its recipient's certificate: Android's couriers would drop it");
    }
    const envelope = readEnvelopedData(cargo.payload);
    const sessionKey = this.sessionKeys.get(envelope.recipientKeyId.toString('hex'));
    if (!sessionKey) {
      throw wrong('Cargo is encrypted for an unknown session key');
    }
    const messages = Array.from(readCargoMessageSet(envelope.decrypt(sessionKey.privateKey)), ({ bytes }) => bytes);
    if (bytes.length >= MAX_CARGO_OCTETS && messages.length > 1) {
      throw wrong(`Cargo has ${bytes.length} octets: Android's couriers take less than 4 MiB`);
    }
    return messages;
  }

  private write(type: number, plaintext: Buffer): Promise<Buffer> {
    const { registration, key } = this;
    const { nodeCertificate, gatewayCertificate, sessionKey } = registration;
    if (!sessionKey) {
      throw new DoctorFault('ANSWER_WRONG', 'The registration brought no session key', MEND);
    }
    const sender = this.newSessionKey();
    return writeRamfMessage(
      type,
      {
        recipient: { id: gatewayCertificate.subjectId },
        messageId: randomUUID(),
        creation: Math.max(Date.now() - BACKDATING, nodeCertificate.notBefore),
        ttl: (BACKDATING + LIFETIME) / 1000,
        payload: writeEnvelopedData({ plaintext, recipient: sessionKey, sender, random: randomBytes }),
      },
      { key: key.signing, certificate: nodeCertificate },
    );
  }

  private newSessionKey(): SessionKeyPair {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = {
      keyId: randomBytes(KEY_ID_OCTETS),
      privateKey: privateKey.export({ type: 'pkcs8', format: 'der' }),
      publicKey: publicKey.export({ type: 'spki', format: 'der' }),
    };
    this.sessionKeys.set(key.keyId.toString('hex'), key);
    return key;
  }
}

function wrong(reason: string): DoctorFault {
  return new DoctorFault('CARGO_WRONG', reason, MEND);
}
