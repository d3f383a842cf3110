/**
 * Collection of parcels by private gateways (RS-016): who may collect, and what all collections share.
 */
import type { CertificateCache } from '../awala/pki/certificate-cache.ts';
import { readHandshakeResponse, verifyNonceSignature } from '../awala/poweb/collection-handshake.ts';
import { Budget } from './budget.ts';
import type { Identity } from './identity.ts';
import { type JournalWriter, NO_JOURNAL } from './journal.ts';
import {
  type CollectionOptions,
  type CollectionOutlet,
  type CollectionParts,
  ParcelCollection,
} from './parcel-collection.ts';
import type { ParcelStorage } from './parcel-storage.ts';
import type { PeerLimits } from './peer-limits.ts';
import type { Peers } from './peers.ts';
import type { Clock } from './ports.ts';
import { QueueRoom } from './queue-room.ts';
import type { Revocations } from './revocations.ts';
import { CLOCK_DRIFT } from './time.ts';

/** How many mailboxes are listed at once. */
const CONCURRENT_LISTINGS = 32;

/** Octets of parcels that are read and wait for slow clients to take them. */
const MEMORY_OCTETS = 256 * 1024 * 1024;

/** Each private gateway is one device, which has lost sight of all its collections but the newest. */
const DEFAULT_OPEN_PER_PEER = 8;

export class ParcelCollections {
  private readonly identity: Identity;
  private readonly certificates: CertificateCache;
  private readonly clock: Clock;
  private readonly peers: Peers | undefined;
  private readonly limits: PeerLimits | undefined;
  private readonly revocations: Revocations | undefined;
  private readonly parts: CollectionParts;
  private readonly openPerPeer: number;
  /** Those that are open, by private gateway; the oldest of each first. */
  private readonly opened = new Map<string, Set<ParcelCollection>>();

  /** @param parts.openPerPeer how many one private gateway may have open in this process; 0 is no limit */
  constructor(parts: {
    identity: Identity;
    storage: ParcelStorage;
    certificates: CertificateCache;
    clock: Clock;
    journal?: JournalWriter;
    peers?: Peers;
    peerLimits?: PeerLimits;
    revocations?: Revocations;
    openPerPeer?: number;
    room?: QueueRoom;
  }) {
    this.identity = parts.identity;
    this.certificates = parts.certificates;
    this.clock = parts.clock;
    this.peers = parts.peers;
    this.limits = parts.peerLimits;
    this.revocations = parts.revocations;
    this.openPerPeer = parts.openPerPeer ?? DEFAULT_OPEN_PER_PEER;
    this.parts = {
      storage: parts.storage,
      clock: parts.clock,
      journal: parts.journal ?? NO_JOURNAL,
      listings: new Budget(CONCURRENT_LISTINGS),
      memory: new Budget(MEMORY_OCTETS),
      room: parts.room ?? new QueueRoom(),
      onEnd: (collection) => this.forget(collection),
    };
  }

  /**
   * Verifies the answer to a challenge (RS-016).
   *
   * @returns node ids of the private gateways that signed the nonce, each once, at least one
   * @throws AwalaError HANDSHAKE_MALFORMED, HANDSHAKE_INVALID, if any signature is wrong; StoreError, where it may be right by
   *   keys of ours that were not read yet
   */
  authenticate(nonce: Buffer, handshakeResponse: Buffer): string[] {
    const { identity, certificates } = this;
    const now = this.clock.now();
    const signatures = readHandshakeResponse(handshakeResponse);
    const signers = identity.judgeNow(() => {
      const trusted = identity.trusted();
      return signatures.map((signature) =>
        verifyNonceSignature(signature, nonce, trusted, certificates, now, CLOCK_DRIFT),
      );
    });
    for (const signer of signers) {
      this.revocations?.requireUnrevoked(signer, 'HANDSHAKE_INVALID');
    }
    return [...new Set(signers.map((signer) => signer.subjectId))];
  }

  /**
   * Lets authenticated private gateways in.
   *
   * @throws GatewayError PEER_BLOCKED, PEER_LIMITED
   */
  async admit(peers: readonly string[]): Promise<void> {
    for (const peer of peers) {
      this.peers?.requireWelcome(peer);
      await this.limits?.take('collections', peer);
    }
  }

  /**
   * Has `listener` told of each private gateway whose collections must end: it was blocked, or has revoked a certificate
   * under which it may be collecting. It must not throw.
   */
  whenBlocked(listener: (peer: string) => void): void {
    this.peers?.whenBlocked(listener);
    this.revocations?.whenRevoked(listener);
  }

  /**
   * Starts a collection of all these private gateways' mailboxes; what goes wrong is told to `outlet`. Where one of them
   * has too many, its oldest is superseded.
   *
   * @throws GatewayError PEER_BLOCKED, when one was blocked since it was admitted
   */
  open(peers: readonly string[], options: CollectionOptions, outlet: CollectionOutlet): ParcelCollection {
    for (const peer of peers) {
      this.peers?.requireWelcome(peer);
    }
    const collection = new ParcelCollection(this.parts, peers, options, outlet);
    for (const peer of peers) {
      this.track(peer, collection);
    }
    collection.start();
    return collection;
  }

  private track(peer: string, collection: ParcelCollection): void {
    const ofPeer = this.opened.get(peer) ?? new Set();
    this.opened.set(peer, ofPeer.add(collection));
    if (this.openPerPeer > 0 && ofPeer.size > this.openPerPeer) {
      ofPeer.values().next().value?.supersede();
    }
  }

  private forget(collection: ParcelCollection): void {
    for (const peer of collection.peers) {
      const ofPeer = this.opened.get(peer);
      ofPeer?.delete(collection);
      if (ofPeer?.size === 0) {
        this.opened.delete(peer);
      }
    }
  }
}
