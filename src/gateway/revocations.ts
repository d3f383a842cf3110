/**
 * What was revoked by those who had it: certificates of private gateways (RS-000, gateway certificate revocation) and
 * delivery authorizations (PDAs) of endpoints (RS-000, parcel delivery deauthorization).
 *
 * Records hold them; this object holds a picture of them in memory, so that a parcel costs no look-up. Whoever adds one
 * tells the others by a signal; as that may be lost, `refresh` is called every few seconds, too, and reads one record
 * unless something was added.
 */
import type { ParcelDeliveryDeauthorization } from '../awala/cargo/parcel-delivery-deauthorization.ts';
import { AwalaError, type AwalaErrorCode } from '../awala/errors.ts';
import type { Certificate } from '../awala/pki/certificate.ts';
import type { AuthorizedParcel } from '../awala/ramf/parcel.ts';
import type { Clock, Random, Records, Signals, Subscription } from './ports.ts';
import { CLOCK_DRIFT, DAY } from './time.ts';

/** PDAs that the endpoints behind one private gateway may have revoked at once; further ones are not recorded. */
export const MAX_REVOKED_AUTHORIZATIONS = 4_000;

/** Characters of a node id (RS-002): no endpoint has an id of another length. */
const NODE_ID_LENGTH = 65;

/** The longest time that a deauthorization is in force: no PDA outlives its gateways' certificates. */
const MAX_DEAUTHORIZATION = 365 * DAY;

/** How many records of one message are written at the same time. */
const CONCURRENT_WRITES = 32;

const CHANNEL = 'revocations';
/** The record that changes with each addition. */
const MARK = 'revocations-mark';
const MARK_OCTETS = 8;
const EVERY_AUTHORIZATION = 'all';

export class Revocations implements Disposable {
  private readonly records: Records;
  private readonly signals: Signals;
  private readonly random: Random;
  private readonly clock: Clock;
  private subscription: Subscription | undefined;
  private readonly listeners: ((holder: string) => void)[] = [];
  /** `ISSUER/SERIAL` */
  private certificates: ReadonlySet<string> = new Set();
  /** `PEER/ENDPOINT/SERIAL` to the end in milliseconds. */
  private authorizations: ReadonlyMap<string, number> = new Map();
  private authorizationsOf: ReadonlyMap<string, number> = new Map();
  /** The version of the mark that the picture is at least as new as. */
  private seen: string | undefined;
  private reading: Promise<void> | undefined;

  private constructor(parts: RevocationsParts) {
    this.records = parts.records;
    this.signals = parts.signals;
    this.random = parts.random;
    this.clock = parts.clock;
  }

  /** @throws StoreError */
  static async open(parts: RevocationsParts): Promise<Revocations> {
    const revocations = new Revocations(parts);
    // Should a store be away, the next regular refresh makes up for it.
    const refresh = () => void revocations.refresh().catch(() => undefined);
    revocations.subscription = await parts.signals.subscribe(CHANNEL, refresh, refresh);
    await revocations.readAll(await revocations.mark());
    return revocations;
  }

  [Symbol.dispose](): void {
    this.subscription?.close();
  }

  /**
   * @param code what the refusal is to say
   * @throws AwalaError with that code when its holder revoked this very certificate
   */
  requireUnrevoked(certificate: Certificate, code: AwalaErrorCode = 'CERTIFICATE_REVOKED'): void {
    // Names are long, each parcel comes with several certificates, and revocations are rare.
    if (this.certificates.size > 0 && this.certificates.has(certificateName(certificate))) {
      throw new AwalaError(code, `Certificate of ${certificate.subjectId} was revoked by its holder`);
    }
  }

  /** Whether what lets a parcel into its mailbox still holds. @throws AwalaError CERTIFICATE_REVOKED, PARCEL_UNAUTHORIZED */
  requireAuthorized({ path, mailbox, parcel, pda }: AuthorizedParcel): void {
    for (const certificate of path) {
      this.requireUnrevoked(certificate);
    }
    if (this.authorizations.size === 0) {
      return;
    }
    const endpoint = `${mailbox}/${parcel.recipient.id}`;
    for (const serialNumber of [pda.serialNumber, EVERY_AUTHORIZATION]) {
      if ((this.authorizations.get(`${endpoint}/${serialNumber}`) ?? 0) > this.clock.now()) {
        throw new AwalaError(
          'PARCEL_UNAUTHORIZED',
          `Recipient ${parcel.recipient.id} revoked the sender's authorization`,
        );
      }
    }
  }

  /** Revokes the very certificate, whatever others its holder has; durable when it resolves. @throws StoreError */
  async revokeCertificate(certificate: Certificate): Promise<void> {
    const end = certificate.notAfter + CLOCK_DRIFT;
    const fields = { holder: certificate.subjectId };
    if (await this.records.create('revoked-certificates', certificateName(certificate), fields, end)) {
      await this.announce();
    }
  }

  /**
   * Has `listener` told of each holder of a certificate that is revoked from now on: what it is doing under that one
   * must end, and what it may go on with under another it does again. It must not throw.
   */
  whenRevoked(listener: (holder: string) => void): void {
    this.listeners.push(listener);
  }

  /**
   * Revokes what an endpoint behind private gateway `peer` asked for; durable when it resolves. An endpoint that is
   * behind another gateway is not concerned, whoever names it.
   *
   * @returns false when the peer's endpoints have revoked too many already
   * @throws StoreError
   */
  async revokeAuthorizations(peer: string, deauthorization: ParcelDeliveryDeauthorization): Promise<boolean> {
    const { endpointId, serialNumbers } = deauthorization;
    const now = this.clock.now();
    const end = Math.min(deauthorization.expiry, now + MAX_DEAUTHORIZATION);
    if (end <= now || endpointId.length !== NODE_ID_LENGTH) {
      return true;
    }
    const wanted = serialNumbers.length === 0 ? [EVERY_AUTHORIZATION] : serialNumbers;
    const names = [...new Set(wanted)]
      .map((serialNumber) => `${peer}/${endpointId}/${serialNumber}`)
      .filter((name) => (this.authorizations.get(name) ?? 0) < end);
    if ((this.authorizationsOf.get(peer) ?? 0) + names.length > MAX_REVOKED_AUTHORIZATIONS) {
      return false;
    }
    for (let start = 0; start < names.length; start += CONCURRENT_WRITES) {
      const some = names.slice(start, start + CONCURRENT_WRITES);
      await Promise.all(some.map((name) => this.records.put('revoked-authorizations', name, { end }, end)));
    }
    if (names.length > 0) {
      await this.announce();
    }
    return true;
  }

  /** Reads what was added, here or elsewhere. To be called every few seconds. @throws StoreError */
  async refresh(): Promise<void> {
    const mark = await this.mark();
    if (mark !== this.seen) {
      await this.readAll(mark);
    }
  }

  private async mark(): Promise<string | undefined> {
    return (await this.records.get('configuration', MARK))?.version;
  }

  /** A crash before this has the cargo that brought the revocation opened again, and this done then. */
  private async announce(): Promise<void> {
    await this.records.put('configuration', MARK, { mark: this.random(MARK_OCTETS) });
    this.signals.publish(CHANNEL, Buffer.alloc(0));
    await this.refresh();
  }

  /** One reading at a time; a later one starts after it, so that it never ends with an older picture. */
  private async readAll(mark: string | undefined): Promise<void> {
    const before = this.reading;
    const reading = (async () => {
      await before?.catch(() => undefined);
      await this.readPicture();
      this.seen = mark;
    })();
    this.reading = reading;
    await reading;
  }

  private async readPicture(): Promise<void> {
    const certificates = new Set<string>();
    const holders = new Set<string>();
    for await (const { key, fields } of this.records.list('revoked-certificates')) {
      certificates.add(key);
      if (!this.certificates.has(key)) {
        holders.add(fields['holder'] as string);
      }
    }
    const authorizations = new Map<string, number>();
    const counts = new Map<string, number>();
    for await (const { key, fields } of this.records.list('revoked-authorizations')) {
      const peer = key.slice(0, key.indexOf('/'));
      authorizations.set(key, fields['end'] as number);
      counts.set(peer, (counts.get(peer) ?? 0) + 1);
    }
    this.certificates = certificates;
    this.authorizations = authorizations;
    this.authorizationsOf = counts;
    for (const holder of holders) {
      for (const tell of this.listeners) {
        tell(holder);
      }
    }
  }
}

export interface RevocationsParts {
  readonly records: Records;
  readonly signals: Signals;
  readonly random: Random;
  readonly clock: Clock;
}

function certificateName({ issuerId, serialNumber }: Certificate): string {
  return `${issuerId}/${serialNumber}`;
}
