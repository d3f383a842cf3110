/**
 * The chain of certificates from our gateway to a sender, made by hand, and parcels under it in which any part can be
 * put wrong. Dates are fixed, so that what is made today is judged the same in years.
 */
import { readBer } from '../../src/awala/asn1/reader.ts';
import { contextConstructed, Tag } from '../../src/awala/asn1/tags.ts';
import { integer } from '../../src/awala/asn1/writer.ts';
import { type Certificate, readCertificate } from '../../src/awala/pki/certificate.ts';
import {
  BOOLEAN,
  basicConstraints,
  type CertificateParts,
  type HandmadeKey,
  handmadeCertificate,
  handmadeKey,
  handmadeRamfContent,
  handmadeSignedData,
  issuerAndSerialNumber,
  type RamfParts,
  type SignedDataParts,
} from './handmade.ts';

const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** When the messages are judged. */
export const NOW = Date.UTC(2026, 10, 20, 12);

export const PARCEL_PREFIX = Buffer.from('Awala\x50\x00', 'latin1');

export interface HandmadeKeys {
  readonly gateway: HandmadeKey;
  readonly privateGateway: HandmadeKey;
  readonly endpoint: HandmadeKey;
  readonly sender: HandmadeKey;
  readonly stranger: HandmadeKey;
}

/** The chain's certificates, DER. */
export interface HandmadeCertificates {
  readonly gateway: Buffer;
  readonly privateGateway: Buffer;
  readonly endpoint: Buffer;
  readonly pda: Buffer;
}

/** What may be put wrong in a parcel. */
export interface ParcelChanges {
  readonly signedData?: Partial<SignedDataParts>;
  readonly ramf?: Partial<RamfParts>;
  readonly pda?: Partial<CertificateParts>;
  readonly endpoint?: Partial<CertificateParts>;
  readonly privateGateway?: Partial<CertificateParts>;
  /** Certificates that go along; the whole chain but our own, when absent. */
  readonly certificates?: (made: HandmadeCertificates) => readonly Buffer[];
}

export class HandmadeChain {
  readonly keys: HandmadeKeys;
  readonly certificates: HandmadeCertificates;

  private constructor(keys: HandmadeKeys) {
    this.keys = keys;
    this.certificates = this.certify({});
  }

  static async make(): Promise<HandmadeChain> {
    return new HandmadeChain({
      gateway: await handmadeKey('internet-gateway'),
      privateGateway: await handmadeKey('private-gateway'),
      endpoint: await handmadeKey('endpoint'),
      sender: await handmadeKey('sender'),
      stranger: await handmadeKey('stranger'),
    });
  }

  /** Our own certificates. */
  trusted(): Certificate[] {
    return [readCertificate(this.certificates.gateway)];
  }

  /** The certificate of `subject` by `issuer`, an endpoint's unless told otherwise. */
  certificate(subject: keyof HandmadeKeys, issuer: keyof HandmadeKeys, parts: Partial<CertificateParts> = {}): Buffer {
    return handmadeCertificate({
      subject: this.keys[subject],
      issuer: this.keys[issuer],
      notBefore: NOW - 30 * DAY,
      notAfter: NOW + 60 * DAY,
      ...parts,
    });
  }

  /** A delivery authorization (PDA) for the sender. */
  pda(parts: Partial<CertificateParts> = {}): Buffer {
    return this.certificate('sender', 'endpoint', {
      constraints: basicConstraints(integer(0)),
      ...parts,
    });
  }

  private certify(changes: ParcelChanges): HandmadeCertificates {
    const gatewayConstraints = (pathLength: number) => basicConstraints(BOOLEAN.true, integer(pathLength));
    return {
      gateway:
        this.certificates?.gateway ?? this.certificate('gateway', 'gateway', { constraints: gatewayConstraints(2) }),
      privateGateway: this.certificate('privateGateway', 'gateway', {
        constraints: gatewayConstraints(1),
        ...changes.privateGateway,
      }),
      endpoint: this.certificate('endpoint', 'privateGateway', changes.endpoint),
      pda: this.pda(changes.pda),
    };
  }

  /** SignedData by the sender. */
  signedData(content: Buffer, changes: Partial<SignedDataParts> = {}, pda = this.certificates.pda): Buffer {
    return handmadeSignedData({
      content,
      signer: this.keys.sender,
      certificates: [pda, this.certificates.endpoint, this.certificates.privateGateway],
      identifier: identifierOf(pda),
      ...changes,
    });
  }

  /** A parcel from the sender to the endpoint, an hour old. */
  parcel(changes: ParcelChanges = {}): Buffer {
    const made = changes.pda || changes.endpoint || changes.privateGateway ? this.certify(changes) : this.certificates;
    const content = handmadeRamfContent({
      recipientId: this.keys.endpoint.id,
      creation: NOW - HOUR,
      ...changes.ramf,
    });
    const certificates = changes.certificates?.(made) ?? [made.pda, made.endpoint, made.privateGateway];
    return Buffer.concat([PARCEL_PREFIX, this.signedData(content, { certificates, ...changes.signedData }, made.pda)]);
  }
}

/** IssuerAndSerialNumber of a certificate that may be too wrong to be read. */
export function identifierOf(certificate: Buffer): Buffer {
  const signedPart = readBer(certificate).sequence().next().children();
  signedPart.optional(contextConstructed(0));
  const serialNumber = signedPart.next(Tag.INTEGER).raw;
  signedPart.next();
  return issuerAndSerialNumber(signedPart.next().raw, serialNumber);
}
