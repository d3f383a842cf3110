/**
 * Configuration to objects: the one place where backends are picked and services are given what they need.
 *
 * What is made last ends first, and whatever fails half-way ends what was made before it.
 */
import { CertificateCache } from './awala/pki/certificate-cache.ts';
import { type LocalBackends, openLocalBackends } from './backends/local/local-backends.ts';
import { type Config, controlSocketPath, type ServiceName } from './config.ts';
import { ConnectionParams } from './gateway/connection-params.ts';
import { Identity } from './gateway/identity.ts';
import { ParcelCollections } from './gateway/parcel-collections.ts';
import { ParcelDelivery } from './gateway/parcel-delivery.ts';
import { ParcelStorage } from './gateway/parcel-storage.ts';
import type { Clock } from './gateway/ports.ts';
import { Registration } from './gateway/registration.ts';
import { SessionKeys } from './gateway/session-keys.ts';
import { MINUTE } from './gateway/time.ts';
import type { Logger } from './log.ts';
import { machineChance, machineClock, machineRandom, newMachineKeyPair } from './machine.ts';
import { serveCollection } from './services/collection/collection.ts';
import { openControlSocket } from './services/control/control-socket.ts';
import { reportIdentity } from './services/control/identity-report.ts';
import { AddressLimits } from './services/http/address-limits.ts';
import { BodyBudget } from './services/http/request-bodies.ts';
import { createHttpServer, type HttpServer } from './services/http/server.ts';
import type { TlsFiles } from './services/http/tls-certificate.ts';
import { serveOps } from './services/ops/ops.ts';
import { servePoHttp } from './services/pohttp/pohttp.ts';
import { servePoWeb } from './services/poweb/poweb.ts';
import type { Check, Service } from './services/service.ts';
import { Housekeeping } from './workers/housekeeping.ts';

/** Over which time `REGISTRATIONS_PER_ADDRESS` counts, in milliseconds. */
const REGISTRATIONS_PERIOD = 5 * MINUTE;

/** The stores and what lives in them: all that a command needs which serves nobody. */
export interface Core extends AsyncDisposable {
  readonly backends: LocalBackends;
  readonly identity: Identity;
  readonly sessionKeys: SessionKeys;
  readonly connectionParams: ConnectionParams;
  readonly storage: ParcelStorage;
  readonly clock: Clock;
}

/** @throws Error in one line, when the data directory cannot be used or another gateway has it; StoreError */
export async function openCore(config: Config, logger?: Logger, clock: Clock = machineClock): Promise<Core> {
  await using stack = new AsyncDisposableStack();
  const random = machineRandom;
  const backends = stack.use(await openLocalBackends({ directory: config.dataDirectory, clock, random, log: logger }));
  const { objects, records, signals, meters } = backends;
  const sessionKeys = new SessionKeys({
    records,
    wrapping: backends.wrapping,
    newKeyPair: newMachineKeyPair,
    random,
    clock,
  });
  const identity = await Identity.open({
    internetAddress: config.internetAddress,
    identityKeys: backends.identityKeys,
    records,
    random,
    clock,
  });
  const connectionParams = new ConnectionParams({ identity, sessionKeys, records, clock });
  const storage = new ParcelStorage({
    objects,
    signals,
    meters,
    clock,
    mailboxQuota: { count: config.mailboxParcels, octets: config.mailboxOctets },
    outboxQuota: { count: config.outboxParcels, octets: config.outboxOctets },
  });
  const resources = stack.move();
  return {
    backends,
    identity,
    sessionKeys,
    connectionParams,
    storage,
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
  const core = stack.use(await openCore(config, logger, clock));
  const { identity, connectionParams, backends } = core;

  const checks: Check[] = [{ name: 'stores', check: () => backends.check() }];
  const servers = await openServers(config, logger, core, checks);
  const stop = stopOnce(servers);
  stack.defer(() => stop(AbortSignal.timeout(config.gracePeriod)));
  await listenAll(servers);
  checks.push(...servers);

  stack.use(
    await openControlSocket(controlSocketPath(config.dataDirectory), {
      identity: () => reportIdentity(identity, connectionParams),
    }),
  );
  stack.use(keepHouse(config, logger, core));

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

/** The servers of the chosen services, with their routes; none listens yet. */
async function openServers(
  config: Config,
  logger: Logger,
  core: Core,
  checks: readonly Check[],
): Promise<HttpServer[]> {
  const { identity, backends, clock, connectionParams, sessionKeys, storage } = core;
  const { records, meters } = backends;
  const isChosen = (name: ServiceName) => config.services.includes(name);
  const certificates = new CertificateCache();
  const delivery = new ParcelDelivery({ identity, storage, meters, certificates, clock });
  const registrationRate = { limit: config.registrationsPerAddress, period: REGISTRATIONS_PERIOD };
  const limits = new AddressLimits({
    meters,
    clock,
    rates: { preRegistration: registrationRate, registration: registrationRate },
  });
  const bodyBudget = new BodyBudget(config.bodiesInFlight);
  const open = (name: string, port: number): Promise<HttpServer> =>
    createHttpServer({
      name,
      host: config.bindHost,
      port,
      log: logger,
      tls: tlsFiles(config),
      trustedProxies: config.trustedProxies,
      bodyBudget,
      limits: { maxConnections: config.connectionsPerPort, minUploadOctetsPerSecond: config.minUploadRate },
    });

  const servers: HttpServer[] = [];
  if (isChosen('poweb') || isChosen('collection')) {
    // In one process the two share a port, as clients know only one address for both.
    const server = await open(isChosen('poweb') ? 'poweb' : 'collection', config.powebPort);
    if (isChosen('poweb')) {
      const registration = new Registration({ identity, sessionKeys, records, random: machineRandom, clock });
      await servePoWeb(server, { registration, delivery, connectionParams, limits });
    }
    if (isChosen('collection')) {
      const collections = new ParcelCollections({ identity, storage, certificates, clock });
      serveCollection(server, { collections, limits, maxAge: config.collectionMaxAge });
    }
    servers.push(server);
  }
  if (isChosen('pohttp')) {
    const server = await open('pohttp', config.pohttpPort);
    await servePoHttp(server, { delivery });
    servers.push(server);
  }
  if (isChosen('ops')) {
    // For this machine and its cluster: neither TLS nor proxies stand before it.
    const server = await createHttpServer({ name: 'ops', host: config.opsBindHost, port: config.opsPort, log: logger });
    await serveOps(server, { checks });
    servers.push(server);
  }
  return servers;
}

/** Rejects when one cannot listen, but only when the others do or do not: one that is about to listen cannot be stopped. */
async function listenAll(servers: readonly HttpServer[]): Promise<void> {
  for (const outcome of await Promise.allSettled(servers.map((server) => server.listen()))) {
    if (outcome.status === 'rejected') {
      throw outcome.reason;
    }
  }
}

function tlsFiles({ tlsCertificateFile, tlsKeyFile }: Config): TlsFiles | undefined {
  return tlsCertificateFile && tlsKeyFile ? { certificateFile: tlsCertificateFile, keyFile: tlsKeyFile } : undefined;
}

/** Stops all servers together; whoever asks again waits for the same end. */
function stopOnce(servers: readonly HttpServer[]): (deadline: AbortSignal) => Promise<void> {
  let stopped: Promise<void> | undefined;
  return (deadline) => {
    stopped ??= Promise.all(servers.map((server) => server.stop(deadline))).then(() => undefined);
    return stopped;
  };
}

function keepHouse(config: Config, logger: Logger, { identity, backends, storage }: Core): Housekeeping {
  const housekeeping = new Housekeeping({
    chores: [
      { name: 'identity', run: () => identity.refresh() },
      { name: 'stores', run: () => backends.housekeeping() },
      { name: 'held parcels', run: () => storage.held.refresh() },
    ],
    period: config.housekeepingPeriod,
    chance: machineChance,
    onError: (chore, err) => logger.error({ chore, err }, 'Housekeeping failed'),
  });
  housekeeping.start();
  return housekeeping;
}
