/**
 * Configuration to objects: the stores, in the backends that were chosen, and what lives in them.
 */
import { DEFAULT_SESSION_ALGORITHMS } from '../awala/cms/write-enveloped-data.ts';
import { CertificateCache } from '../awala/pki/certificate-cache.ts';
import type { Config } from '../config.ts';
import { CargoStorage } from '../gateway/cargo/cargo-storage.ts';
import { CollectedParcels } from '../gateway/cargo/collected-parcels.ts';
import { ChannelSessions } from '../gateway/channel-sessions.ts';
import { ConnectionParams } from '../gateway/connection-params.ts';
import { Identity, TAKEOVER_MARGIN } from '../gateway/identity.ts';
import { ParcelDelivery } from '../gateway/parcel-delivery.ts';
import { ParcelStorage } from '../gateway/parcel-storage.ts';
import { PeerLimits } from '../gateway/peer-limits.ts';
import { PeerSessionKeys } from '../gateway/peer-session-keys.ts';
import { Peers } from '../gateway/peers.ts';
import type { Clock } from '../gateway/ports.ts';
import { requireRestored } from '../gateway/restoration.ts';
import { Revocations } from '../gateway/revocations.ts';
import { SessionKeys } from '../gateway/session-keys.ts';
import type { Logger } from '../log.ts';
import { machineClock, machineRandom, newMachineKeyPair } from '../machine.ts';
import { type Backends, openBackends } from './backends.ts';
import { isIssuing } from './issuing.ts';
import { patiently as retried } from './patience.ts';

/** The stores and what lives in them: all that a command needs which serves nobody. */
export interface Core extends AsyncDisposable {
  readonly backends: Backends;
  readonly identity: Identity;
  readonly sessionKeys: SessionKeys;
  readonly connectionParams: ConnectionParams;
  readonly storage: ParcelStorage;
  readonly peers: Peers;
  readonly revocations: Revocations;
  readonly sessions: ChannelSessions;
  readonly cargo: CargoStorage;
  readonly collected: CollectedParcels;
  /** How often each private gateway may do something. */
  readonly peerLimits: PeerLimits;
  /** Takes parcels from whichever door. */
  readonly delivery: ParcelDelivery;
  readonly certificates: CertificateCache;
  readonly clock: Clock;
}

/**
 * @param watch gives the backends as the rest is to see them, e.g. with their calls counted
 * @throws Error in one line, when the data directory cannot be used or another gateway has it; StoreError
 */
export async function openCore(
  config: Config,
  logger?: Logger,
  clock: Clock = machineClock,
  watch: (backends: Backends) => Backends = (backends) => backends,
): Promise<Core> {
  await using stack = new AsyncDisposableStack();
  const random = machineRandom;
  const until = performance.now() + config.startPatience;
  const backends = watch(stack.use(await openBackends(config, logger, clock)));
  /** What is in the data directory is there at once or never. */
  const patiently = <Outcome>(attempt: () => Promise<Outcome>) =>
    config.records === 'local' ? attempt() : retried(attempt, { until, log: logger });
  const { objects, records, signals, meters, work, identityKeys, wrapping } = backends;
  await patiently(() => Promise.all([backends.joinFleet(), requireRestored(records)]));
  const sessionKeys = new SessionKeys({
    records,
    wrapping,
    newKeyPair: newMachineKeyPair,
    random,
    clock,
  });
  const [identity, peers, revocations] = await Promise.all([
    patiently(() =>
      Identity.open({
        internetAddress: config.internetAddress,
        identityKeys,
        records,
        random,
        clock,
        // Who shares the records learns of a new key within a round of housekeeping, or two where a store was away.
        takeover: config.records === 'local' ? 0 : 2 * config.housekeepingPeriod + TAKEOVER_MARGIN,
        isIssuer: isIssuing(config),
      }),
    ),
    Peers.open({ records, signals, clock, policy: config.registrationPolicy }),
    Revocations.open({ records, signals, random, clock }),
  ]);
  stack.use(peers);
  stack.use(revocations);
  const sessions = new ChannelSessions({
    sessionKeys,
    peerKeys: new PeerSessionKeys({ records }),
    random,
    algorithms: { ...DEFAULT_SESSION_ALGORITHMS, content: config.cargoCipher },
  });
  const connectionParams = new ConnectionParams({ identity, sessionKeys, records, clock });
  const storage = new ParcelStorage({
    objects,
    records,
    work,
    signals,
    meters,
    clock,
    journal: backends.journal,
    mailboxQuota: { count: config.mailboxParcels, octets: config.mailboxOctets },
    outboxQuota: { count: config.outboxParcels, octets: config.outboxOctets },
  });
  const cargo = new CargoStorage({
    objects,
    queue: work,
    meters,
    clock,
    quota: { count: config.cargoCount, octets: config.cargoOctets },
  });
  const collected = new CollectedParcels({ records, meters, clock });
  const certificates = new CertificateCache();
  const peerLimits = new PeerLimits(meters, {
    deliveries: config.deliveriesPerPeer,
    collections: config.collectionsPerPeer,
  });
  const delivery = new ParcelDelivery({
    identity,
    storage,
    meters,
    certificates,
    clock,
    journal: backends.journal,
    peers,
    peerLimits,
    revocations,
  });
  const resources = stack.move();
  return {
    backends,
    identity,
    sessionKeys,
    connectionParams,
    storage,
    peers,
    revocations,
    sessions,
    cargo,
    collected,
    peerLimits,
    delivery,
    certificates,
    clock,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
