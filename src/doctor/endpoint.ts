/**
 * An endpoint behind the doctor's private gateway, and a correspondent of it that it authorizes (RS-000, RS-002).
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Certificate } from '../awala/pki/certificate.ts';
import { issueCertificate } from '../awala/pki/issue-certificate.ts';
import type { Recipient } from '../awala/ramf/ramf-message.ts';
import { writeParcel } from '../awala/ramf/write-ramf.ts';
import { type NodeKey, newNodeKey } from './node-key.ts';

const SERIAL_NUMBER_OCTETS = 16;

/** How long the doctor's parcels live, in seconds: should it be cut short, they are gone soon after. */
const TTL = 600;

/** Octets of a parcel's payload; random, for the doctor looks only whether the same come back. */
const PAYLOAD_OCTETS = 1024;

const SECOND = 1000;

/** Signed parcels to one endpoint, from one that it authorized. */
export class Endpoint {
  private readonly id: string;
  private readonly sender: NodeKey;
  private readonly authorization: Certificate;
  private readonly authorities: readonly Certificate[];

  private constructor(id: string, sender: NodeKey, authorization: Certificate, authorities: readonly Certificate[]) {
    this.id = id;
    this.sender = sender;
    this.authorization = authorization;
    this.authorities = authorities;
  }

  /** Makes an endpoint and a sender; issues the one's certificate and the other's delivery authorization (PDA). */
  static async create(gateway: { key: NodeKey; certificate: Certificate }): Promise<Endpoint> {
    const [key, sender] = await Promise.all([newNodeKey(), newNodeKey()]);
    const { notBefore, notAfter } = gateway.certificate;
    const certificate = await issueCertificate({
      subjectPublicKey: key.publicKey,
      issuer: { key: gateway.key.signing, certificate: gateway.certificate },
      notBefore,
      notAfter,
      isCa: true,
      pathLength: 0,
      serialNumber: randomBytes(SERIAL_NUMBER_OCTETS),
    });
    const authorization = await issueCertificate({
      subjectPublicKey: sender.publicKey,
      issuer: { key: key.signing, certificate },
      notBefore,
      notAfter,
      isCa: false,
      pathLength: 0,
      serialNumber: randomBytes(SERIAL_NUMBER_OCTETS),
    });
    return new Endpoint(key.publicKey.nodeId, sender, authorization, [certificate, gateway.certificate]);
  }

  /**
   * Writes a parcel to the endpoint.
   *
   * @param internetAddress the endpoint's gateway, as senders on the Internet give it
   * @param now milliseconds since the epoch
   */
  writeParcel(
    internetAddress: string | undefined,
    now: number,
    payload: Buffer = randomBytes(PAYLOAD_OCTETS),
  ): Promise<Buffer> {
    const recipient: Recipient = internetAddress === undefined ? { id: this.id } : { id: this.id, internetAddress };
    return writeParcel(
      {
        recipient,
        messageId: randomUUID(),
        creation: Math.floor(now / SECOND) * SECOND,
        ttl: TTL,
        payload,
      },
      { key: this.sender.signing, certificate: this.authorization },
      this.authorities,
    );
  }
}
