/**
 * What becomes of cargo: it is decrypted, and each message in it is taken care of; then it is deleted.
 *
 * All of it may be done again, by another worker at the same time or after a crash, and changes nothing then: parcels
 * that were taken are known by their records, and everything else says the same when it is said twice.
 */
import { createHash } from 'node:crypto';
import { type CargoItem, type CargoItemKind, readCargoMessageSet } from '../../awala/cargo/cargo-message-set.ts';
import { readParcelCollectionAck } from '../../awala/cargo/parcel-collection-ack.ts';
import { readParcelDeliveryDeauthorization } from '../../awala/cargo/parcel-delivery-deauthorization.ts';
import { AwalaError } from '../../awala/errors.ts';
import type { CertificateCache } from '../../awala/pki/certificate-cache.ts';
import { verifyPath } from '../../awala/pki/certification-path.ts';
import { RamfType, readRamfMessage, verifyRamfMessage } from '../../awala/ramf/ramf-message.ts';
import type { ChannelSessions } from '../channel-sessions.ts';
import { GatewayError, type TraceIds } from '../errors.ts';
import { giveBack } from '../give-back.ts';
import type { Identity } from '../identity.ts';
import type { JournalWriter } from '../journal.ts';
import type { Mailboxes } from '../mailbox.ts';
import { expiryAtRest, parcelDigest, storedParcelIds } from '../parcel-at-rest.ts';
import type { ParcelDelivery } from '../parcel-delivery.ts';
import type { Clock, StoredObject } from '../ports.ts';
import type { Revocations } from '../revocations.ts';
import { CLOCK_DRIFT } from '../time.ts';
import type { CargoLoads } from './cargo-loads.ts';
import { type CargoStorage, cargoSender } from './cargo-storage.ts';
import type { CollectedParcels } from './collected-parcels.ts';

/** Messages of one cargo that are taken care of at the same time, so that stores can group their writes. */
const CONCURRENT_ITEMS = 128;

/** What became of one message. */
export interface ItemOutcome {
  readonly kind: CargoItemKind;
  readonly ids: TraceIds;
  readonly result:
    | 'taken'
    /** Was taken before. */
    | 'repeated'
    /** Is of no use to this gateway. */
    | 'ignored'
    /** For good, or malformed. */
    | 'refused'
    /** There was no room: the cargo is to be opened again. */
    | 'waiting';
  /** Why, where it was refused or has to wait. */
  readonly error?: AwalaError | GatewayError;
}

/** What became of a cargo. */
export type CargoOutcome =
  /** All in it was taken care of, and it is deleted. */
  | { readonly result: 'opened'; readonly ids: TraceIds; readonly items: number }
  /** It could not be opened and never will be: it is deleted. */
  | { readonly result: 'dropped'; readonly ids: TraceIds; readonly error: AwalaError | GatewayError }
  /** Some of it has to wait: it is to be opened again later. */
  | { readonly result: 'waiting'; readonly ids: TraceIds; readonly items: number }
  /** Another worker has opened it, or it expired. */
  | { readonly result: 'gone' };

/** Told of each message; what it resolves is waited for, so that a long cargo leaves others their turn. */
export type NoteItem = (outcome: ItemOutcome) => Promise<void>;

/** Up to when the mailbox of the cargo's sender was loaded into cargo: ms since 1970. Read once a cargo. */
type LoadedUntil = () => Promise<number>;

export interface CargoProcessingParts {
  readonly identity: Identity;
  readonly storage: CargoStorage;
  readonly sessions: ChannelSessions;
  readonly delivery: ParcelDelivery;
  readonly collected: CollectedParcels;
  readonly loads: CargoLoads;
  readonly mailboxes: Mailboxes;
  readonly revocations: Revocations;
  readonly certificates: CertificateCache;
  readonly clock: Clock;
  readonly journal?: JournalWriter;
}

export class CargoProcessing {
  private readonly parts: CargoProcessingParts;

  constructor(parts: CargoProcessingParts) {
    this.parts = parts;
  }

  /**
   * Opens the cargo under a key.
   *
   * @throws StoreError when a store is away or full: to be tried again
   */
  async open(key: string, note: NoteItem): Promise<CargoOutcome> {
    const { storage } = this.parts;
    const stored = await storage.read(key);
    if (!stored) {
      return { result: 'gone' };
    }
    const ids: TraceIds = { trace: stored.metadata['trace'] ?? '', peer: cargoSender(key) };
    let items: Iterable<CargoItem>;
    try {
      items = await this.decrypt(stored, ids);
    } catch (error) {
      if (error instanceof AwalaError || error instanceof GatewayError) {
        await storage.remove(stored);
        return { result: 'dropped', ids, error };
      }
      throw error;
    }
    const { count, isWaiting } = await this.takeAll(items, ids, note);
    if (isWaiting) {
      return { result: 'waiting', ids, items: count };
    }
    await storage.remove(stored);
    return { result: 'opened', ids, items: count };
  }

  /** The messages in cargo, whose outside was verified when it came; its signer's certificate may be revoked since. */
  private async decrypt({ body, key }: StoredObject, ids: TraceIds): Promise<Iterable<CargoItem>> {
    const { sessions, certificates, revocations } = this.parts;
    const cargo = readRamfMessage(RamfType.CARGO, body, certificates);
    ids.cargo = cargo.messageId;
    revocations.requireUnrevoked(cargo.sender);
    const plaintext = await sessions.decrypt(cargo.payload, cargoSender(key), cargo.creation);
    giveBack(body);
    return readCargoMessageSet(plaintext);
  }

  private async takeAll(
    items: Iterable<CargoItem>,
    cargoIds: TraceIds,
    note: NoteItem,
  ): Promise<{ count: number; isWaiting: boolean }> {
    const remaining = items[Symbol.iterator]();
    let count = 0;
    let isWaiting = false;
    let hasFailed = false;
    // They may revoke the certificate that signed the cargo, which is not opened again then.
    const revocations: CargoItem[] = [];
    let loadedUntil: Promise<number> | undefined;
    const loaded = () => {
      loadedUntil ??= this.parts.loads.until(peerOf(cargoIds));
      return loadedUntil;
    };
    const takeOne = async (item: CargoItem) => {
      const outcome = await this.take(item, { ...cargoIds }, loaded);
      isWaiting ||= outcome.result === 'waiting';
      await note(outcome);
    };
    const takeSome = async () => {
      for (let next = remaining.next(); !next.done && !hasFailed; next = remaining.next()) {
        count++;
        if (next.value.kind === 'certificate-revocation') {
          revocations.push(next.value);
        } else {
          await takeOne(next.value);
        }
      }
    };
    const takers = Array.from({ length: CONCURRENT_ITEMS }, () =>
      takeSome().catch((error: unknown) => {
        // The others finish what they have in hand.
        hasFailed = true;
        throw error;
      }),
    );
    const failed = (await Promise.allSettled(takers)).find(({ status }) => status === 'rejected');
    if (failed) {
      throw (failed as PromiseRejectedResult).reason;
    }
    for (const revocation of revocations) {
      await takeOne(revocation);
    }
    return { count, isWaiting };
  }

  /** Takes care of one message; what is wrong with it stops none of the others. @throws StoreError */
  private async take({ kind, bytes }: CargoItem, ids: TraceIds, loaded: LoadedUntil): Promise<ItemOutcome> {
    try {
      return { kind, ids, result: await this.takeKind(kind, bytes, ids, loaded) };
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'OUTBOX_FULL') {
        return { kind, ids, result: 'waiting', error };
      }
      if (error instanceof AwalaError || error instanceof GatewayError) {
        return { kind, ids, result: 'refused', error };
      }
      throw error;
    }
  }

  private async takeKind(
    kind: CargoItemKind,
    bytes: Buffer,
    ids: TraceIds,
    loaded: LoadedUntil,
  ): Promise<ItemOutcome['result']> {
    switch (kind) {
      case 'parcel':
        return this.takeParcel(bytes, ids);
      case 'parcel-collection-ack':
        return this.takeCollectionAck(bytes, ids, loaded);
      case 'parcel-delivery-deauthorization':
        return this.takeDeauthorization(bytes, ids);
      case 'certificate-revocation':
        return this.takeCertificateRevocation(bytes, ids);
      case 'certificate-rotation':
        // It is for private gateways: ours come from nobody.
        return 'ignored';
      case 'unknown':
        throw new AwalaError('CARGO_MESSAGE_SET_MALFORMED', 'Message in cargo is of no known type');
    }
  }

  /** A collection acknowledgement is owed only once the parcel is stored, or refused for good. */
  private async takeParcel(bytes: Buffer, ids: TraceIds): Promise<ItemOutcome['result']> {
    const { delivery, collected } = this.parts;
    const peer = peerOf(ids);
    const parcel = delivery.read(bytes, ids);
    const name = { sender: parcel.sender.subjectId, recipient: parcel.recipient.id, messageId: parcel.messageId };
    const content = createHash('sha256').update(bytes).digest();
    if (await collected.includes(peer, { ...name, content })) {
      return 'repeated';
    }
    let refusal: unknown;
    try {
      await delivery.fromCargo(parcel, peer, ids);
    } catch (error) {
      if (!isForGood(error)) {
        throw error;
      }
      refusal = error;
    }
    await collected.add(peer, { ...name, content, expiry: expiryAtRest(parcel, this.parts.clock.now()) });
    if (refusal) {
      throw refusal;
    }
    return 'taken';
  }

  /**
   * Deletes the parcel from the mailbox of the gateway that signed the cargo, and from no other; not one that has come in
   * its place since the last cargo was loaded.
   */
  private async takeCollectionAck(bytes: Buffer, ids: TraceIds, loaded: LoadedUntil): Promise<ItemOutcome['result']> {
    const { mailboxes, journal } = this.parts;
    const peer = peerOf(ids);
    const { senderEndpointId: sender, recipientEndpointId: recipient, parcelId } = readParcelCollectionAck(bytes);
    Object.assign(ids, { sender, recipient, parcel: parcelId });
    const entry = await mailboxes.find(peer, parcelDigest({ sender, recipient, messageId: parcelId }));
    // By the store's own clock where it has one, so that none of two processes' hides a newer version.
    if (!entry || (entry.storedAt ?? entry.arrival) > (await loaded())) {
      return 'repeated';
    }
    await mailboxes.remove(peer, entry);
    // By the ids that it came with: this is the end of its way.
    journal?.record({ event: 'acknowledged', door: 'cargo', ...storedParcelIds(entry), peer });
    return 'taken';
  }

  private async takeDeauthorization(bytes: Buffer, ids: TraceIds): Promise<ItemOutcome['result']> {
    const deauthorization = readParcelDeliveryDeauthorization(bytes);
    ids.recipient = deauthorization.endpointId;
    if (!(await this.parts.revocations.revokeAuthorizations(peerOf(ids), deauthorization))) {
      throw new AwalaError('DEAUTHORIZATION_MALFORMED', 'Endpoints of this private gateway revoked too much already');
    }
    return 'taken';
  }

  /** Revokes the very certificate that signed the message; the gateway's others and its mailbox stay. */
  private async takeCertificateRevocation(bytes: Buffer, ids: TraceIds): Promise<ItemOutcome['result']> {
    const { identity, certificates, clock, revocations } = this.parts;
    const revocation = readRamfMessage(RamfType.REVOCATION, bytes, certificates);
    const { sender, recipient, payload, signedData } = revocation;
    await identity.judge(() => {
      if (payload.length > 0 || !identity.ownKey(recipient.id)) {
        throw new AwalaError('RAMF_MALFORMED', 'Certificate revocation is for another gateway, or has a payload');
      }
    });
    if (sender.subjectId !== peerOf(ids)) {
      throw new AwalaError('CERTIFICATE_UNTRUSTED', 'Certificate revocation is not by the gateway that sent the cargo');
    }
    const now = clock.now();
    verifyRamfMessage(revocation, now, CLOCK_DRIFT);
    await identity.judge(() =>
      verifyPath(sender, {
        intermediates: [],
        trusted: identity.trusted(),
        now,
        drift: CLOCK_DRIFT,
        cache: signedData.cache,
      }),
    );
    await revocations.revokeCertificate(sender);
    return 'taken';
  }
}

function isForGood(error: unknown): boolean {
  return error instanceof AwalaError || (error instanceof GatewayError && error.code !== 'OUTBOX_FULL');
}

function peerOf({ peer = '' }: TraceIds): string {
  return peer;
}
