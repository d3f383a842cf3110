/**
 * Delivery of cargo by couriers (RS-000): verified from outside, stored, queued; then, and only then, acknowledged.
 *
 * Couriers are nobody: it is the private gateway which signed the cargo that must be one of ours. What is inside is
 * looked at later, by workers, since a courier has only seconds.
 */
import { createHash } from 'node:crypto';
import type { CertificateCache } from '../../awala/pki/certificate-cache.ts';
import { verifyPath } from '../../awala/pki/certification-path.ts';
import {
  checkMessageDates,
  type RamfMessage,
  RamfType,
  readRamfMessage,
  verifyRamfMessage,
} from '../../awala/ramf/ramf-message.ts';
import { GatewayError, type TraceIds } from '../errors.ts';
import type { Identity } from '../identity.ts';
import type { Peers } from '../peers.ts';
import type { Clock } from '../ports.ts';
import type { Revocations } from '../revocations.ts';
import { CLOCK_DRIFT } from '../time.ts';
import type { CargoStorage } from './cargo-storage.ts';

export class CargoDelivery {
  private readonly identity: Identity;
  private readonly storage: CargoStorage;
  private readonly revocations: Revocations;
  private readonly certificates: CertificateCache;
  private readonly clock: Clock;
  private readonly peers: Peers | undefined;

  constructor(parts: {
    identity: Identity;
    storage: CargoStorage;
    revocations: Revocations;
    certificates: CertificateCache;
    clock: Clock;
    peers?: Peers;
  }) {
    this.identity = parts.identity;
    this.storage = parts.storage;
    this.revocations = parts.revocations;
    this.certificates = parts.certificates;
    this.clock = parts.clock;
    this.peers = parts.peers;
  }

  /**
   * Takes cargo; durable when it resolves.
   *
   * @param ids filled in with what is learnt of the cargo, also when it is refused
   * @throws AwalaError, GatewayError WRONG_GATEWAY or PEER_BLOCKED when it is refused for good; GatewayError CARGO_FULL,
   *   StoreError when it is refused for now
   */
  async deliver(bytes: Buffer, ids: TraceIds): Promise<void> {
    const cargo = readRamfMessage(RamfType.CARGO, bytes, this.certificates);
    ids.cargo = cargo.messageId;
    // A courier that is told that it is of no use stops carrying it: by keys that others use already, it may be.
    await this.identity.judge(() => this.verify(cargo));
    const peer = cargo.sender.subjectId;
    ids.peer = peer;
    this.peers?.requireWelcome(peer);
    const isStored = await this.storage.put(peer, {
      digest: cargoDigest(cargo),
      bytes,
      // What came in time by its sender's clock must not be gone by ours.
      expiry: cargo.expiry + CLOCK_DRIFT,
      trace: ids.trace,
    });
    if (!isStored) {
      throw new GatewayError('CARGO_FULL', `Private gateway ${peer} has too much cargo here that is not opened yet`);
    }
  }

  private verify(cargo: RamfMessage): void {
    const { sender, recipient, signedData } = cargo;
    const now = this.clock.now();
    // What costs least comes first.
    if (!this.identity.ownKey(recipient.id)) {
      throw new GatewayError('WRONG_GATEWAY', `Cargo is for ${recipient.id}, not for this gateway`);
    }
    checkMessageDates(cargo, now, CLOCK_DRIFT);
    // Issued by us directly, else an endpoint could pass for the private gateway that it is behind.
    verifyPath(sender, {
      intermediates: [],
      trusted: this.identity.trusted(),
      now,
      drift: CLOCK_DRIFT,
      cache: signedData.cache,
    });
    this.revocations.requireUnrevoked(sender);
    verifyRamfMessage(cargo, now, CLOCK_DRIFT);
  }
}

/** The signature covers all that the cargo says, so that only the very same cargo has the same digest. */
function cargoDigest({ messageId, signedData }: RamfMessage): string {
  return createHash('sha256').update(signedData.signature.octets).update(messageId).digest('base64url');
}
