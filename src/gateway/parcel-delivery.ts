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
import { type JournalWriter, NO_JOURNAL, reasonOf } from './journal.ts';
import { expiryAtRest, isNewer, type ParcelAtRest, parcelAtRest } from './parcel-at-rest.ts';
import { isWithinRate, rateOf } from './parcel-rate.ts';
import type { ParcelStorage } from './parcel-storage.ts';
import type { PeerLimits } from './peer-limits.ts';
import type { Peers } from './peers.ts';
import type { Clock, Meters, ObjectEntry } from './ports.ts';
import type { Revocations } from './revocations.ts';
import { CLOCK_DRIFT } from './time.ts';

export class ParcelDelivery {
  private readonly identity: Identity;
  private readonly storage: ParcelStorage;
  private readonly meters: Meters;
  private readonly certificates: CertificateCache;
  private readonly clock: Clock;
  private readonly journal: JournalWriter;
  private readonly peers: Peers | undefined;
  private readonly revocations: Revocations | undefined;
  private readonly limits: PeerLimits | undefined;

  constructor(parts: {
    identity: Identity;
    storage: ParcelStorage;
    meters: Meters;
    certificates: CertificateCache;
    clock: Clock;
    journal?: JournalWriter;
    peers?: Peers;
    revocations?: Revocations;
    peerLimits?: PeerLimits;
  }) {
    this.identity = parts.identity;
    this.storage = parts.storage;
    this.meters = parts.meters;
    this.certificates = parts.certificates;
    this.clock = parts.clock;
    this.journal = parts.journal ?? NO_JOURNAL;
    this.peers = parts.peers;
    this.revocations = parts.revocations;
    this.limits = parts.peerLimits;
  }

  /**
   * Takes a parcel from a private gateway (PoWeb); durable when it resolves.
   *
   * @param countersignature DER of the private gateway's detached signature over the parcel
   * @param ids filled in with what is learnt of the parcel, also when it is refused
   * @throws AwalaError COUNTERSIGNATURE_* when the sender is not authenticated, other codes when the parcel is wrong;
   *   GatewayError PEER_BLOCKED, PEER_LIMITED, OUTBOX_FULL; StoreError
   */
  async fromPrivateGateway(bytes: Buffer, countersignature: Buffer, ids: TraceIds): Promise<void> {
    await this.noted('poweb', ids, async (now) => {
      const { identity, certificates } = this;
      const signer = await identity.judge(() =>
        verifyParcelCountersignature(countersignature, bytes, identity.trusted(), certificates, now, CLOCK_DRIFT),
      );
      ids.peer = signer.subjectId;
      this.revocations?.requireUnrevoked(signer, 'COUNTERSIGNATURE_INVALID');
      this.peers?.requireWelcome(signer.subjectId);
      await this.limits?.take('deliveries', signer.subjectId);
      const parcel = this.read(bytes, ids);
      await this.route(parcel, signer.subjectId, ids, 'last');
      return parcel;
    });
  }

  /**
   * Takes a parcel that private gateway `peer` sent in cargo; durable when it resolves.
   *
   * @param ids filled in with where it was put
   * @throws AwalaError when it is refused for good; GatewayError OUTBOX_FULL when there is no room; StoreError
   */
  async fromCargo(parcel: Parcel, peer: string, ids: TraceIds): Promise<void> {
    await this.noted('cargo', ids, async () => {
      await this.route(parcel, peer, ids, 'any');
      return parcel;
    });
  }

  /**
   * Takes a parcel from an Internet node (PoHTTP); durable when it resolves.
   *
   * @param ids filled in with what is learnt of the parcel, also when it is refused
   * @throws AwalaError; GatewayError WRONG_GATEWAY, RATE_EXCEEDED, MAILBOX_FULL; StoreError
   */
  async fromInternet(bytes: Buffer, ids: TraceIds): Promise<void> {
    await this.noted('pohttp', ids, async () => {
      const parcel = this.read(bytes, ids);
      await this.deliver(parcel, ids);
      return parcel;
    });
  }

  /** Has the journal tell what became of a parcel; of one that could not be read, its door and the reason. */
  private async noted(door: string, ids: TraceIds, take: (now: number) => Promise<Parcel>): Promise<void> {
    const began = this.clock.now();
    try {
      const parcel = await take(began);
      const now = this.clock.now();
      const expiry = expiryAtRest(parcel, now);
      this.journal.record({ event: 'accepted', door, ...ids, size: parcel.raw.length, expiry, took: now - began });
    } catch (error) {
      this.journal.record({ event: 'refused', door, ...ids, ...reasonOf(error), took: this.clock.now() - began });
      throw error;
    }
  }

  /** Puts a parcel from the Internet into its mailbox, or refuses it. */
  private async deliver(parcel: Parcel, ids: TraceIds): Promise<void> {
    const destination = parcel.recipient.internetAddress;
    if (destination !== undefined && !this.isOurs(destination)) {
      throw new GatewayError('WRONG_GATEWAY', `Recipient is served by ${destination}, not by this gateway`);
    }
    const now = this.clock.now();
    const authorized = await this.verifyForMailbox(parcel, now);
    this.revocations?.requireAuthorized(authorized);
    ids.mailbox = authorized.mailbox;
    const rate = rateOf(authorized);
    if (rate && !(await isWithinRate(this.meters, rate))) {
      throw new GatewayError(
        'RATE_EXCEEDED',
        `Sender may deliver ${rate.limit} parcels in ${rate.period / 1000} seconds`,
      );
    }
    const atRest = parcelAtRest(parcel, ids, now);
    // Internet nodes try again what did not get through, and may have sent a newer version since.
    if (!(await this.storage.mailboxes.put(authorized.mailbox, atRest, (there) => isNewer(there, atRest)))) {
      throw new GatewayError('MAILBOX_FULL', `Mailbox of ${authorized.mailbox} is full`);
    }
    ids.place = 'mailbox';
    await this.storage.internetQueue.heardFrom(parcel.sender.subjectId);
  }

  /**
   * Reads a parcel; nothing of it is verified yet.
   *
   * @param ids filled in with its own
   * @throws AwalaError as `readParcel`
   */
  read(bytes: Buffer, ids: TraceIds): Parcel {
    const parcel = readParcel(bytes, this.certificates);
    ids.parcel = parcel.messageId;
    ids.sender = parcel.sender.subjectId;
    ids.recipient = parcel.recipient.id;
    return parcel;
  }

  /**
   * Stores a parcel that private gateway `sender` answers for where it is to wait.
   *
   * @param comes 'last' where its versions come in the order in which they were made
   */
  private async route(parcel: Parcel, sender: string, ids: TraceIds, comes: 'last' | 'any'): Promise<void> {
    const now = this.clock.now();
    const atRest = parcelAtRest(parcel, ids, now);
    const stays = comes === 'last' ? undefined : (there: ObjectEntry) => isNewer(there, atRest);
    const destination = parcel.recipient.internetAddress;
    if (destination === undefined || this.isOurs(destination)) {
      const authorized = await this.verifyForMailbox(parcel, now);
      this.revocations?.requireAuthorized(authorized);
      await this.deliverOrHold(authorized, sender, ids, { atRest, stays });
    } else {
      ids.destination = destination;
      verifyParcelForInternet(parcel, now, CLOCK_DRIFT);
      // Whether it was sent on before is for the worker to find out: nobody waits for that.
      await this.storage.outbox.put(sender, atRest, destination, stays);
      ids.place = 'outbox';
    }
  }

  private verifyForMailbox(parcel: Parcel, now: number): Promise<AuthorizedParcel> {
    return this.identity.judge(() => verifyParcelForMailbox(parcel, this.identity.trusted(), now, CLOCK_DRIFT));
  }

  /** A client keeps a parcel until it gets its 202, so it is held for it where it cannot be delivered yet. */
  private async deliverOrHold(
    authorized: AuthorizedParcel,
    sender: string,
    ids: TraceIds,
    { atRest, stays }: { atRest: ParcelAtRest; stays: ((there: ObjectEntry) => boolean) | undefined },
  ): Promise<void> {
    const { mailbox } = authorized;
    ids.mailbox = mailbox;
    const rate = rateOf(authorized);
    let isCounted = false;
    if (!this.storage.held.includes(mailbox, sender)) {
      isCounted = !rate || (await isWithinRate(this.meters, rate));
      if (isCounted && (await this.storage.mailboxes.put(mailbox, atRest, stays))) {
        ids.place = 'mailbox';
        return;
      }
    }
    await this.storage.held.hold(mailbox, sender, atRest, { rate: isCounted ? undefined : rate, stays });
    ids.place = 'held';
  }

  private isOurs(internetAddress: string): boolean {
    return internetAddress.toLowerCase() === this.identity.internetAddress.toLowerCase();
  }
}
