/**
 * Delivery of parcels to this gateway: verified, routed, stored; then, and only then, acknowledged.
 *
 * Routing (protocol section 4): a parcel for a private endpoint behind this gateway goes to a mailbox; any other from
 * a private gateway goes to the outbox; one from the Internet is never relayed.
 */
import type { CertificateCache } from '../awala/pki/certificate-cache.ts';
import { verifyParcelCountersignature } from '../awala/poweb/countersignature.ts';
import {
  type AuthorizedParcel,
  type Parcel,
  readParcel,
  verifyParcelForInternet,
  verifyParcelForMailbox,
} from '../awala/ramf/parcel.ts';
import { GatewayError, type TraceIds } from './errors.ts';
import type { Identity } from './identity.ts';
import type { Mailboxes } from './mailbox.ts';
import type { Outbox } from './outbox.ts';
import type { Clock, Meters } from './ports.ts';
import { CLOCK_DRIFT } from './time.ts';

export class ParcelDelivery {
  private readonly identity: Identity;
  private readonly mailboxes: Mailboxes;
  private readonly outbox: Outbox;
  private readonly meters: Meters;
  private readonly certificates: CertificateCache;
  private readonly clock: Clock;

  constructor(parts: {
    identity: Identity;
    mailboxes: Mailboxes;
    outbox: Outbox;
    meters: Meters;
    certificates: CertificateCache;
    clock: Clock;
  }) {
    this.identity = parts.identity;
    this.mailboxes = parts.mailboxes;
    this.outbox = parts.outbox;
    this.meters = parts.meters;
    this.certificates = parts.certificates;
    this.clock = parts.clock;
  }

  /**
   * Takes a parcel from a private gateway (PoWeb); durable when it resolves.
   *
   * @param countersignature DER of the private gateway's detached signature over the parcel
   * @param ids filled in with what is learnt of the parcel, also when it is refused
   * @throws AwalaError COUNTERSIGNATURE_* when the sender is not authenticated, other codes when the parcel is wrong;
   *   GatewayError; StoreError
   */
  async fromPrivateGateway(bytes: Buffer, countersignature: Buffer, ids: TraceIds): Promise<void> {
    const now = this.clock.now();
    const trusted = this.identity.trusted();
    const signer = verifyParcelCountersignature(countersignature, bytes, trusted, this.certificates, now, CLOCK_DRIFT);
    ids.peer = signer.subjectId;
    const parcel = this.read(bytes, ids);
    const destination = parcel.recipient.internetAddress;
    if (destination === undefined || this.isOurs(destination)) {
      await this.deliver(verifyParcelForMailbox(parcel, trusted, now, CLOCK_DRIFT), ids);
    } else {
      verifyParcelForInternet(parcel, now, CLOCK_DRIFT);
      await this.outbox.put(signer.subjectId, parcel, destination, ids);
    }
  }

  /**
   * Takes a parcel from an Internet node (PoHTTP); durable when it resolves.
   *
   * @param ids filled in with what is learnt of the parcel, also when it is refused
   * @throws AwalaError; GatewayError WRONG_GATEWAY, RATE_EXCEEDED; StoreError
   */
  async fromInternet(bytes: Buffer, ids: TraceIds): Promise<void> {
    const parcel = this.read(bytes, ids);
    const destination = parcel.recipient.internetAddress;
    if (destination !== undefined && !this.isOurs(destination)) {
      throw new GatewayError('WRONG_GATEWAY', `Recipient is served by ${destination}, not by this gateway`);
    }
    await this.deliver(verifyParcelForMailbox(parcel, this.identity.trusted(), this.clock.now(), CLOCK_DRIFT), ids);
  }

  private read(bytes: Buffer, ids: TraceIds): Parcel {
    const parcel = readParcel(bytes, this.certificates);
    ids.parcel = parcel.messageId;
    ids.sender = parcel.sender.subjectId;
    ids.recipient = parcel.recipient.id;
    return parcel;
  }

  private async deliver({ parcel, mailbox, pda }: AuthorizedParcel, ids: TraceIds): Promise<void> {
    const rate = pda.pdaRateLimit;
    // Serial numbers are unique to an issuer (RFC 5280), so the two name one authorization.
    const authorization = `pda/${parcel.recipient.id}/${pda.serialNumber}`;
    if (rate && !(await this.meters.take(authorization, rate.limit, rate.periodMs))) {
      throw new GatewayError(
        'RATE_EXCEEDED',
        `Sender may deliver ${rate.limit} parcels in ${rate.periodMs / 1000} seconds`,
      );
    }
    await this.mailboxes.put(mailbox, parcel, ids);
  }

  private isOurs(internetAddress: string): boolean {
    return internetAddress.toLowerCase() === this.identity.internetAddress.toLowerCase();
  }
}
