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
import type { Clock } from './ports.ts';
import { CLOCK_DRIFT } from './time.ts';

/** How many mailboxes are listed at once. */
const CONCURRENT_LISTINGS = 32;

/** Octets of parcels that are read and wait for slow clients to take them. */
const MEMORY_OCTETS = 256 * 1024 * 1024;

export class ParcelCollections {
  private readonly identity: Identity;
  private readonly certificates: CertificateCache;
  private readonly clock: Clock;
  private readonly parts: CollectionParts;

  constructor(parts: {
    identity: Identity;
    storage: ParcelStorage;
    certificates: CertificateCache;
    clock: Clock;
    journal?: JournalWriter;
  }) {
    this.identity = parts.identity;
    this.certificates = parts.certificates;
    this.clock = parts.clock;
    this.parts = {
      storage: parts.storage,
      clock: parts.clock,
      journal: parts.journal ?? NO_JOURNAL,
      listings: new Budget(CONCURRENT_LISTINGS),
      memory: new Budget(MEMORY_OCTETS),
    };
  }

  /**
   * Verifies the answer to a challenge (RS-016).
   *
   * @returns node ids of the private gateways that signed the nonce, each once, at least one
   * @throws AwalaError HANDSHAKE_MALFORMED, HANDSHAKE_INVALID, if any signature is wrong
   */
  authenticate(nonce: Buffer, handshakeResponse: Buffer): string[] {
    const trusted = this.identity.trusted();
    const now = this.clock.now();
    const signers = readHandshakeResponse(handshakeResponse).map((signature) =>
      verifyNonceSignature(signature, nonce, trusted, this.certificates, now, CLOCK_DRIFT),
    );
    return [...new Set(signers.map((signer) => signer.subjectId))];
  }

  /** Starts a collection of all these private gateways' mailboxes; what goes wrong is told to `outlet`. */
  open(peers: readonly string[], options: CollectionOptions, outlet: CollectionOutlet): ParcelCollection {
    const collection = new ParcelCollection(this.parts, peers, options, outlet);
    collection.start();
    return collection;
  }
}
