/**
 * What a private gateway is sent in cargo, in this order (protocol sections 6 and 9): acknowledgements (PCAs) that it has
 * not been sent in a complete collection yet, its next certificate when that is due, parcels, oldest first, the other
 * acknowledgements, since couriers lose cargo, and last the parcels that are too large to travel with anything else.
 */
import { hash } from 'node:crypto';
import { type CertificateRotationForm, writeCertificateRotation } from '../../awala/cargo/certificate-rotation.ts';
import { writeParcelCollectionAck } from '../../awala/cargo/parcel-collection-ack.ts';
import type { Certificate } from '../../awala/pki/certificate.ts';
import type { Mailboxes } from '../mailbox.ts';
import { storedParcelIds } from '../parcel-at-rest.ts';
import type { ObjectEntry, Records } from '../ports.ts';
import { type CertificateParts, certifyPrivateGateway, isRotationDue } from '../private-gateway-certificate.ts';
import { type FoundParcel, oldestFirst, readParcels } from '../waiting-parcels.ts';
import type { OutgoingItem } from './cargo-packing.ts';
import { ITEM_DIGEST_OCTETS } from './cca-claims.ts';
import type { CollectedParcels, OwedAck } from './collected-parcels.ts';

/** Both, since the peer's stack is not known and each reads its own only; it skips the other. */
const ROTATION_FORMS: readonly CertificateRotationForm[] = ['octet-strings', 'certificates'];

/** Acknowledgements to be repeated that are kept from the first reading to their turn; more are read again. */
const KEPT_ACKS = 1000;

export interface CargoContentsParts extends CertificateParts {
  readonly mailboxes: Mailboxes;
  readonly collectedParcels: CollectedParcels;
  readonly records: Records;
}

export interface CargoContentsOptions {
  /** The certificate by which the private gateway asks. */
  readonly recipient: Certificate;
  /** Octets of the largest parcel that travels with others. */
  readonly largestShared: number;
  /** Digests, in binary strings, of the items that the private gateway's courier has already. */
  readonly acknowledged: ReadonlySet<string>;
}

/** When the last complete collection began, in ms since 1970; 0 if there was none. @throws StoreError */
async function lastCollection(records: Records, peer: string): Promise<number> {
  return ((await records.get('cargo-collections', peer))?.fields['began'] as number | undefined) ?? 0;
}

export class CargoContents {
  private readonly parts: CargoContentsParts;
  private readonly options: CargoContentsOptions;
  private readonly peer: string;
  /** Newer versions of parcels that went in the place of those that were listed. */
  private readonly replacements = new Set<string>();

  constructor(parts: CargoContentsParts, options: CargoContentsOptions) {
    this.parts = parts;
    this.options = options;
    this.peer = options.recipient.subjectId;
  }

  /**
   * All messages in their order, as many together as come at once.
   *
   * @throws StoreError; Error when the identity key's keeper does not sign
   */
  async *items(): AsyncGenerator<readonly OutgoingItem[]> {
    const { largestShared } = this.options;
    const last = await lastCollection(this.parts.records, this.peer);
    const repeated: OwedAck[] = [];
    let isAllKept = true;
    const isNew = (owed: OwedAck) => {
      if (owed.collected < last && repeated.length < KEPT_ACKS) {
        repeated.push(owed);
      } else if (owed.collected < last) {
        isAllKept = false;
      }
      return owed.collected >= last;
    };
    yield* this.acks(this.owed(), isNew);
    yield* this.rotation();
    let hasLarger = false;
    yield* this.parcels(({ size }) => {
      hasLarger ||= size > largestShared;
      return size <= largestShared;
    });
    yield* this.acks(isAllKept ? repeated : this.owed(), ({ collected }) => collected < last);
    if (hasLarger) {
      yield* this.parcels(({ size }) => size > largestShared);
    }
  }

  private owed(): AsyncIterable<OwedAck> {
    return this.parts.collectedParcels.owedTo(this.peer);
  }

  private async *acks(
    all: AsyncIterable<OwedAck> | Iterable<OwedAck>,
    isDue: (owed: OwedAck) => boolean,
  ): AsyncGenerator<readonly OutgoingItem[]> {
    for await (const owed of all) {
      if (!isDue(owed) || owed.expiry <= this.parts.clock.now()) {
        continue;
      }
      const bytes = writeParcelCollectionAck(owed.ack);
      const digest = itemDigest(bytes);
      if (!this.isDone(() => digest)) {
        yield [{ bytes, expiry: owed.expiry, digest }];
      }
    }
  }

  private async *rotation(): AsyncGenerator<readonly OutgoingItem[]> {
    const { recipient } = this.options;
    const digests = ROTATION_FORMS.map((form) => itemDigest(form));
    if (!isRotationDue(recipient, this.parts) || digests.every((digest) => this.isDone(() => digest))) {
      return;
    }
    const { certificate, issuer } = await certifyPrivateGateway(recipient.publicKey, this.parts);
    if (certificate.notAfter <= recipient.notAfter && certificate.issuerId === recipient.issuerId) {
      return;
    }
    await this.prolongRegistration(certificate);
    yield ROTATION_FORMS.map((form) => ({
      bytes: writeCertificateRotation({ leaf: certificate, authorities: [issuer] }, form),
      expiry: certificate.notAfter,
      digest: itemDigest(form),
    }));
  }

  /** What is known of the private gateway is kept as long as it has a certificate. */
  private async prolongRegistration({ notAfter }: Certificate): Promise<void> {
    const record = await this.parts.records.get('private-gateways', this.peer);
    if (record) {
      await this.parts.records.replace('private-gateways', this.peer, record.version, record.fields, notAfter);
    }
  }

  private async *parcels(isOfSize: (entry: ObjectEntry) => boolean): AsyncGenerator<readonly OutgoingItem[]> {
    const { mailboxes } = this.parts;
    const isWanted = (entry: ObjectEntry) => isOfSize(entry) && !this.isDone(() => parcelDigest(entry));
    const entries = oldestFirst(() => mailboxes.listPages(this.peer), isWanted);
    for await (const parcels of readParcels(mailboxes, entries)) {
      const items: OutgoingItem[] = [];
      for (const parcel of parcels) {
        const item = this.parcelItem(parcel, isOfSize);
        if (item) {
          items.push(item);
        }
      }
      yield items;
    }
  }

  /** Undefined when the parcel has expired, or has gone or will go in another place. */
  private parcelItem(
    { entry, stored }: FoundParcel,
    isOfSize: (entry: ObjectEntry) => boolean,
  ): OutgoingItem | undefined {
    const { expiry, arrival, body: bytes } = stored;
    const digest = parcelDigest(stored);
    if (stored.version !== entry.version) {
      // It may come again in its own place, or be of the other size.
      if (!isOfSize(stored) || this.isDone(() => digest)) {
        return undefined;
      }
      this.replacements.add(digest);
    }
    if (expiry <= this.parts.clock.now()) {
      return undefined;
    }
    const ids = storedParcelIds(stored);
    ids.peer = this.peer;
    return { bytes, expiry, digest, ids, arrival };
  }

  /** @param digest is made only when there is something to compare it with: there are many parcels */
  private isDone(digest: () => string): boolean {
    const { acknowledged } = this.options;
    if (acknowledged.size === 0 && this.replacements.size === 0) {
      return false;
    }
    const text = digest();
    return acknowledged.has(text) || this.replacements.has(text);
  }
}

function parcelDigest({ key, version }: ObjectEntry): string {
  return itemDigest(`${key}\0${version}`);
}

/** A binary string: Node makes a buffer of octets of its own at four times the cost. */
function itemDigest(item: string | Buffer): string {
  return hash('sha256', item, 'binary').slice(0, ITEM_DIGEST_OCTETS);
}
