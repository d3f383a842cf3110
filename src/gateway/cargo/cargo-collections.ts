/**
 * Who may collect cargo: the holder of a cargo collection authorization (CCA) that a private gateway of ours signed for
 * us, once.
 */
import {
  readCargoCollectionAuthorization,
  verifyCargoCollectionAuthorization,
  verifyCargoDeliveryAuthorization,
} from '../../awala/cargo/cargo-collection-authorization.ts';
import { readCargoCollectionRequest } from '../../awala/cargo/cargo-collection-request.ts';
import { AwalaError } from '../../awala/errors.ts';
import type { Certificate } from '../../awala/pki/certificate.ts';
import type { CertificateCache } from '../../awala/pki/certificate-cache.ts';
import type { ChannelSessions } from '../channel-sessions.ts';
import { GatewayError, type TraceIds } from '../errors.ts';
import type { Identity } from '../identity.ts';
import type { OwnKey } from '../identity-keys.ts';
import { type JournalWriter, NO_JOURNAL } from '../journal.ts';
import type { Mailboxes } from '../mailbox.ts';
import type { Peers } from '../peers.ts';
import type { Clock, Random, Records, Signals } from '../ports.ts';
import type { Revocations } from '../revocations.ts';
import { CLOCK_DRIFT } from '../time.ts';
import {
  CargoCollection,
  type CargoCollectionParts,
  type CargoSizes,
  DEFAULT_CARGO_SIZES,
} from './cargo-collection.ts';
import { CargoLoads } from './cargo-loads.ts';
import { CargoWriter } from './cargo-writer.ts';
import { CcaClaims } from './cca-claims.ts';
import type { CollectedParcels } from './collected-parcels.ts';

export interface CargoCollectionsParts {
  readonly identity: Identity;
  readonly mailboxes: Mailboxes;
  readonly collectedParcels: CollectedParcels;
  readonly sessions: ChannelSessions;
  readonly records: Records;
  readonly signals: Signals;
  readonly certificates: CertificateCache;
  readonly random: Random;
  readonly clock: Clock;
  /** Whose certificates are refused; nobody's where it is absent. */
  readonly revocations?: Revocations;
  /** Who is blocked; nobody where it is absent. */
  readonly peers?: Peers;
  readonly journal?: JournalWriter;
  readonly sizes?: CargoSizes;
}

export class CargoCollections {
  private readonly parts: CargoCollectionsParts;
  private readonly collectionParts: CargoCollectionParts;
  private readonly claims: CcaClaims;
  private readonly underWay = new Set<CargoCollection>();

  constructor(parts: CargoCollectionsParts) {
    const { journal = NO_JOURNAL, sizes = DEFAULT_CARGO_SIZES } = parts;
    this.parts = parts;
    this.collectionParts = { ...parts, journal, sizes, writer: new CargoWriter(parts), loads: new CargoLoads(parts) };
    this.claims = new CcaClaims(parts);
    parts.peers?.whenBlocked((peer) => this.examine(peer));
    parts.revocations?.whenRevoked((holder) => this.examine(holder));
  }

  /**
   * Opens the collection that a CCA authorizes, and ends any other under it.
   *
   * @param bytes the CCA
   * @param ids filled in with who it is for, also when it is refused
   * @returns to be disposed of
   * @throws AwalaError when the CCA or what it carries is not valid; GatewayError CCA_FOR_ANOTHER_GATEWAY,
   *   SESSION_KEY_UNKNOWN, PEER_BLOCKED, CCA_SPENT, CCA_SUPERSEDED; StoreError
   */
  async open(bytes: Buffer, ids: TraceIds): Promise<CargoCollection> {
    const { identity, certificates, clock, sessions } = this.parts;
    const now = clock.now();
    const cca = readCargoCollectionAuthorization(bytes, certificates);
    ids.cca = cca.messageId;
    await identity.judge(() => {
      if (!identity.ownKey(cca.recipient.id)) {
        throw new GatewayError('CCA_FOR_ANOTHER_GATEWAY', `CCA is for ${cca.recipient.id}, not for this gateway`);
      }
      verifyCargoCollectionAuthorization(cca, identity.trusted(), now, CLOCK_DRIFT);
    });
    const recipient = cca.sender;
    const peer = recipient.subjectId;
    ids.peer = peer;
    this.requireWelcome(recipient);
    const request = readCargoCollectionRequest(await sessions.decrypt(cca.payload, peer, cca.creation));
    const authorization = request.cargoDeliveryAuthorization;
    verifyCargoDeliveryAuthorization(authorization, recipient.publicKey, now, CLOCK_DRIFT);
    const key = await identity.judge(() => ownKeyOf(authorization, identity));
    const claim = await this.claims.claim({ sender: peer, messageId: cca.messageId, expiry: cca.expiry });
    const address = { recipient, authorization, key };
    const collection: CargoCollection = new CargoCollection(this.collectionParts, address, claim, () =>
      this.underWay.delete(collection),
    );
    this.underWay.add(collection);
    // It may have been blocked while the claim was made.
    this.examine(peer);
    return collection;
  }

  /** @throws AwalaError CERTIFICATE_REVOKED; GatewayError PEER_BLOCKED */
  private requireWelcome(recipient: Certificate): void {
    this.parts.peers?.requireWelcome(recipient.subjectId);
    this.parts.revocations?.requireUnrevoked(recipient);
  }

  /** Ends what a private gateway may collect no longer. */
  private examine(peer: string): void {
    for (const collection of this.underWay) {
      if (collection.recipient.subjectId === peer) {
        try {
          this.requireWelcome(collection.recipient);
        } catch (error) {
          collection.forbid(error as AwalaError | GatewayError);
        }
      }
    }
  }
}

/** The key that a cargo delivery authorization was issued to. @throws AwalaError CERTIFICATE_UNTRUSTED */
function ownKeyOf({ subjectId }: Certificate, identity: Identity): OwnKey {
  const key = identity.ownKey(subjectId);
  if (!key) {
    throw new AwalaError(
      'CERTIFICATE_UNTRUSTED',
      `Cargo delivery authorization is for ${subjectId}, not for this gateway`,
    );
  }
  return key;
}
