/**
 * Configuration to objects: the one place where backends are picked and services are given what they need.
 *
 * What is made last ends first, and whatever fails half-way ends what was made before it.
 */
import { DEFAULT_SESSION_ALGORITHMS } from './awala/cms/write-enveloped-data.ts';
import { CertificateCache } from './awala/pki/certificate-cache.ts';
import type { KmsKeys } from './backends/gcp/kms/kms-keys.ts';
import { type LocalBackends, openLocalBackends } from './backends/local/local-backends.ts';
import type { RedisBackends } from './backends/redis/redis-backends.ts';
import { controlAnswers } from './compose-control.ts';
import type { Worker } from './compose-workers.ts';
import { type Config, controlSocketPath } from './config.ts';
import { CargoStorage } from './gateway/cargo-storage.ts';
import { ChannelSessions } from './gateway/channel-sessions.ts';
import { CollectedParcels } from './gateway/collected-parcels.ts';
import { ConnectionParams } from './gateway/connection-params.ts';
import { Identity } from './gateway/identity.ts';
import { ParcelStorage } from './gateway/parcel-storage.ts';
import { PeerSessionKeys } from './gateway/peer-session-keys.ts';
import { Peers } from './gateway/peers.ts';
import type { Clock } from './gateway/ports.ts';
import { Revocations } from './gateway/revocations.ts';
import { SessionKeys } from './gateway/session-keys.ts';
import type { Logger } from './log.ts';
import { machineChance, machineClock, machineRandom, newMachineKeyPair } from './machine.ts';
import { openControlSocket } from './services/control/control-socket.ts';
import type { Check, Server, Service } from './services/service.ts';
import { Housekeeping } from './workers/housekeeping.ts';

/** How often a process looks whether private gateways were blocked, or something revoked, in milliseconds. */
const BLOCKS_LOOK = 3000;

/** Parcels in outboxes that one round of housekeeping compares with the queue. */
const REQUEUED_AT_ONCE = 10_000;

/** The stores and what lives in them: all that a command needs which serves nobody. */
export interface Core extends AsyncDisposable {
  readonly backends: LocalBackends;
  /** What processes share; undefined where this one is alone. */
  readonly shared: RedisBackends | undefined;
  /** Undefined where keys are kept locally. */
  readonly kms: KmsKeys | undefined;
  readonly identity: Identity;
  readonly sessionKeys: SessionKeys;
  readonly connectionParams: ConnectionParams;
  readonly storage: ParcelStorage;
  readonly peers: Peers;
  readonly revocations: Revocations;
  readonly sessions: ChannelSessions;
  readonly cargo: CargoStorage;
  readonly collected: CollectedParcels;
  readonly certificates: CertificateCache;
  readonly clock: Clock;
}

/** @throws Error in one line, when the data directory cannot be used or another gateway has it; StoreError */
export async function openCore(config: Config, logger?: Logger, clock: Clock = machineClock): Promise<Core> {
  await using stack = new AsyncDisposableStack();
  const random = machineRandom;
  const local = stack.use(
    await openLocalBackends({
      directory: config.dataDirectory,
      clock,
      random,
      log: logger,
      journalOctets: config.journalOctets,
    }),
  );
  const redis = config.signals === 'redis' ? await import('./compose-redis.ts') : undefined;
  const shared = stack.use(await redis?.openShared(config, logger, clock));
  const sharing = shared && redis ? redis.withShared(local, shared) : local;
  const bucket = config.objectStore === 'gcs' ? await import('./compose-gcs.ts') : undefined;
  const backends = bucket ? await bucket.withBucket(sharing, config, logger, clock) : sharing;
  const { objects, records, signals, meters, work } = backends;
  const keys = config.keys === 'gcp-kms' ? await import('./compose-kms.ts') : undefined;
  const kms = stack.use(await keys?.openKeys(config, { records, clock, log: logger }));
  const { identityKeys, wrapping } = kms ?? backends;
  const sessionKeys = new SessionKeys({
    records,
    wrapping,
    newKeyPair: newMachineKeyPair,
    random,
    clock,
  });
  const identity = await Identity.open({
    internetAddress: config.internetAddress,
    identityKeys,
    records,
    random,
    clock,
  });
  const peers = stack.use(await Peers.open({ records, signals, clock, policy: config.registrationPolicy }));
  const revocations = stack.use(await Revocations.open({ records, signals, random, clock }));
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
  const resources = stack.move();
  return {
    backends,
    shared,
    kms,
    identity,
    sessionKeys,
    connectionParams,
    storage,
    peers,
    revocations,
    sessions,
    cargo,
    collected,
    certificates: new CertificateCache(),
    clock,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** The gateway at work. */
export interface Gateway extends AsyncDisposable {
  readonly identity: Identity;
  readonly connectionParams: ConnectionParams;
  /** What listens, and where. */
  readonly services: readonly Service[];

  /**
   * Takes nothing new, finishes what is in hand, and closes the stores (flow 7 of docs/flow.md). Idempotent.
   *
   * @param deadline when it aborts, what is still open is cut
   */
  stop(deadline: AbortSignal): Promise<void>;

  /** Stops within the grace period. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts all that the configuration asks for; resolves when every service listens.
 *
 * @throws Error in one line, when the data directory or a port cannot be had; StoreError
 */
export async function startGateway(config: Config, logger: Logger, clock?: Clock): Promise<Gateway> {
  await using stack = new AsyncDisposableStack();
  // The stores open while the services are loaded: each takes half of the time that a start takes.
  const [core, { openServers }] = await Promise.all([openCore(config, logger, clock), import('./compose-servers.ts')]);
  stack.use(core);
  const { identity, connectionParams, backends, shared, kms } = core;

  const checks: Check[] = [{ name: 'stores', check: () => backends.check() }];
  if (shared) {
    checks.push({ name: 'redis', check: () => shared.check() });
  }
  if (kms) {
    checks.push({ name: 'kms', check: () => kms.check() });
  }
  const servers = await openServers(config, logger, core, checks);
  let workers: Promise<readonly Worker[]> = Promise.resolve([]);
  const stop = stopOnce(servers, () => workers);
  stack.defer(() => stop(AbortSignal.timeout(config.gracePeriod)));
  await listenAll(servers);
  checks.push(...servers);
  if (config.services.includes('worker')) {
    // Nobody waits for them: the doors are open meanwhile.
    workers = startWorkers(config, logger, core);
    void workers.then((started) => checks.push(...started));
  }

  stack.use(await openControlSocket(controlSocketPath(config.dataDirectory), controlAnswers(core, logger)));
  stack.use(keepHouse(config, logger, core));
  stack.use(watchBlocks(logger, core));

  const resources = stack.move();
  return {
    identity,
    connectionParams,
    services: servers,
    async stop(deadline) {
      await stop(deadline);
      await resources.disposeAsync();
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** Rejects when one cannot listen, but only when the others do or do not: one that is about to listen cannot be stopped. */
async function listenAll(servers: readonly Server[]): Promise<void> {
  for (const outcome of await Promise.allSettled(servers.map((server) => server.listen()))) {
    if (outcome.status === 'rejected') {
      throw outcome.reason;
    }
  }
}

/** @throws StoreError */
async function startWorkers(config: Config, logger: Logger, core: Core): Promise<Worker[]> {
  const { startInternetDelivery, startCargoWorker } = await import('./compose-workers.ts');
  await core.cargo.requeue();
  return [startInternetDelivery(config, logger, core), startCargoWorker(logger, core)];
}

/** Stops all servers and workers together; whoever asks again waits for the same end. */
function stopOnce(
  servers: readonly Server[],
  workers: () => Promise<readonly Worker[]>,
): (deadline: AbortSignal) => Promise<void> {
  let stopped: Promise<void> | undefined;
  const stop = async (deadline: AbortSignal) => {
    const stopWorkers = async () => Promise.all((await workers()).map((worker) => worker.stop(deadline)));
    await Promise.all([...servers.map((server) => server.stop(deadline)), stopWorkers()]);
  };
  return (deadline) => {
    stopped ??= stop(deadline);
    return stopped;
  };
}

/** A block or revocation reaches every process within five seconds, also where its signal is lost. */
function watchBlocks(logger: Logger, { peers, revocations }: Core): Housekeeping {
  const watch = new Housekeeping({
    chores: [
      { name: 'blocked peers', run: () => peers.refresh() },
      { name: 'revocations', run: () => revocations.refresh() },
    ],
    period: BLOCKS_LOOK,
    chance: machineChance,
    onError: (chore, err) => logger.error({ chore, err }, 'Housekeeping failed'),
  });
  watch.start();
  return watch;
}

function keepHouse(config: Config, logger: Logger, { identity, backends, shared, storage, cargo }: Core): Housekeeping {
  const housekeeping = new Housekeeping({
    chores: [
      { name: 'identity', run: () => identity.refresh() },
      { name: 'stores', run: () => backends.housekeeping() },
      { name: 'redis', run: async () => shared?.housekeeping() },
      { name: 'held parcels', run: () => storage.held.refresh() },
      { name: 'cargo', run: () => cargo.requeue() },
      { name: 'outboxes', run: () => storage.outbox.requeue(REQUEUED_AT_ONCE) },
    ],
    period: config.housekeepingPeriod,
    chance: machineChance,
    onError: (chore, err) => logger.error({ chore, err }, 'Housekeeping failed'),
  });
  housekeeping.start();
  return housekeeping;
}
