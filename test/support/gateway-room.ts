/** The gateway room on real embedded stores, with time and chance in the test's hands and no doors. */
import { rmSync } from 'node:fs';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import { type LocalBackends, openLocalBackends } from '../../src/backends/local/local-backends.ts';
import { ConnectionParams } from '../../src/gateway/connection-params.ts';
import { Identity } from '../../src/gateway/identity.ts';
import type { Mailboxes } from '../../src/gateway/mailbox.ts';
import { ParcelDelivery } from '../../src/gateway/parcel-delivery.ts';
import { ParcelStorage } from '../../src/gateway/parcel-storage.ts';
import type { Amount } from '../../src/gateway/ports.ts';
import { Registration } from '../../src/gateway/registration.ts';
import { SessionKeys } from '../../src/gateway/session-keys.ts';
import { machineRandom, newMachineKeyPair } from '../../src/machine.ts';
import { temporaryDirectory } from './gateway.ts';
import { ManualClock } from './manual-clock.ts';
import type { TestNode } from './pki.ts';

export const INTERNET_ADDRESS = 'gateway.example.com';

export interface GatewayRoom extends AsyncDisposable {
  readonly clock: ManualClock;
  readonly backends: LocalBackends;
  readonly identity: Identity;
  readonly sessionKeys: SessionKeys;
  readonly connectionParams: ConnectionParams;
  readonly registration: Registration;
  readonly storage: ParcelStorage;
  readonly mailboxes: Mailboxes;
  readonly delivery: ParcelDelivery;
  /** This gateway as the issuer of test certificates. */
  asNode(): TestNode;
}

/** Opens the room on a new data directory, which goes with it; the clock starts at the machine's time. */
export async function openGatewayRoom(
  clock: ManualClock = new ManualClock(Date.now()),
  quotas: { mailboxQuota?: Amount; outboxQuota?: Amount } = {},
): Promise<GatewayRoom> {
  const directory = temporaryDirectory();
  const random = machineRandom;
  const backends = await openLocalBackends({ directory, clock, random });
  const { objects, records, work, signals, meters, identityKeys, wrapping } = backends;
  const identity = await Identity.open({ internetAddress: INTERNET_ADDRESS, identityKeys, records, random, clock });
  const sessionKeys = new SessionKeys({ records, wrapping, newKeyPair: newMachineKeyPair, random, clock });
  const storage = new ParcelStorage({ objects, records, work, signals, meters, clock, ...quotas });
  const certificates = new CertificateCache();
  return {
    clock,
    backends,
    identity,
    sessionKeys,
    connectionParams: new ConnectionParams({ identity, sessionKeys, records, clock }),
    registration: new Registration({ identity, sessionKeys, records, random, clock }),
    storage,
    mailboxes: storage.mailboxes,
    delivery: new ParcelDelivery({ identity, storage, meters, certificates, clock }),
    asNode() {
      const { key, certificate } = identity.issuer();
      const { publicKey } = identity.issuingKey();
      return { id: publicKey.nodeId, key, publicKey, certificate, privateKey: Buffer.alloc(0) };
    },
    async [Symbol.asyncDispose]() {
      await backends[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
