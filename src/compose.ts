/**
 * Configuration to objects: a whole gateway. `compose/` holds its parts, each in a file.
 *
 * What is made last ends first, and whatever fails half-way ends what was made before it.
 */
import { setImmediate } from 'node:timers/promises';
import { keepHouse, watchBlocks } from './compose/chores.ts';
import { controlAnswers } from './compose/control.ts';
import { type Core, openCore } from './compose/core.ts';
import { openTelemetry, type Telemetry, watchBackends, watchGateway } from './compose/telemetry.ts';
import type { Worker } from './compose/workers.ts';
import { type Config, controlSocketPath } from './config.ts';
import type { ConnectionParams } from './gateway/connection-params.ts';
import type { Identity } from './gateway/identity.ts';
import type { Clock } from './gateway/ports.ts';
import { type Logger, setLevel } from './log.ts';
import { openControlSocket } from './services/control/control-socket.ts';
import { DebugMode, debugAnswers } from './services/control/debug-mode.ts';
import { CheckRounds } from './services/ops/check-rounds.ts';
import { Ending } from './services/ops/ending.ts';
import type { Server, Service } from './services/service.ts';

/** The gateway at work. */
export interface Gateway extends AsyncDisposable {
  readonly identity: Identity;
  readonly connectionParams: ConnectionParams;
  /** What listens, and where. */
  readonly services: readonly Service[];

  /** Resolves when the stores answer. @throws StoreError */
  checkStores(): Promise<void>;

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
  const telemetry = stack.use(await openTelemetry(config, logger, clock));
  // The stores open while the services are loaded: each takes half of the time that a start takes.
  const [core, { openServers }] = await Promise.all([
    openCore(config, logger, clock, (opened) => watchBackends(opened, config, telemetry)),
    import('./compose/servers.ts'),
  ]);
  stack.use(core);
  const { identity, connectionParams, backends } = core;

  const checks = [...backends.checks];
  const rounds = new CheckRounds(checks, logger);
  const ending = new Ending(config.stopLead, logger);
  const servers = await openServers(config, logger, core, telemetry, {
    checks: rounds,
    stopping: () => ending.reason,
  });
  let workers: Promise<readonly Worker[]> = Promise.resolve([]);
  const stop = stopOnce(ending, servers, () => workers);
  stack.defer(() => stop(AbortSignal.timeout(config.gracePeriod)));
  await listenAll(servers);
  checks.push(...servers);
  stack.use(watchGateway(config, logger, { telemetry, core, checks: rounds, servers }));

  const debug = stack.use(
    new DebugMode({
      log: logger,
      setLevel: (level) => setLevel(logger, level),
      level: config.logLevel,
      now: () => core.clock.now(),
    }),
  );
  const answers = { ...controlAnswers(core, logger), ...debugAnswers(debug) };
  stack.use(await openControlSocket(controlSocketPath(config.dataDirectory), answers));
  stack.use(keepHouse(config, logger, core));
  stack.use(watchBlocks(logger, core));

  if (config.services.includes('worker')) {
    // Nobody waits for them: the doors are open, and the gateway is ready, before they are loaded.
    workers = startWorkers(config, logger, core, telemetry);
    void workers.then((started) => checks.push(...started));
  }

  const resources = stack.move();
  return {
    identity,
    connectionParams,
    services: servers,
    checkStores: () => backends.check(),
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

async function startWorkers(config: Config, logger: Logger, core: Core, telemetry: Telemetry): Promise<Worker[]> {
  await setImmediate();
  const { startInternetDelivery, startCargoWorker } = await import('./compose/workers.ts');
  return [startInternetDelivery(config, logger, core), startCargoWorker(logger, core, telemetry.onCargo)];
}

/**
 * Stops all servers and workers together, but for the ops port, which tells how that goes; whoever asks again waits for the
 * same end.
 */
function stopOnce(
  ending: Ending,
  servers: readonly Server[],
  workers: () => Promise<readonly Worker[]>,
): (deadline: AbortSignal) => Promise<void> {
  let stopped: Promise<void> | undefined;
  const stop = async (deadline: AbortSignal) => {
    const [ops, doors] = partition(servers, ({ name }) => name === 'ops');
    for (const door of doors) {
      door.announceStop?.();
    }
    await ending.begin(deadline);
    const stopWorkers = async () => Promise.all((await workers()).map((worker) => worker.stop(deadline)));
    await Promise.all([...doors.map((server) => server.stop(deadline)), stopWorkers()]);
    await Promise.all(ops.map((server) => server.stop(deadline)));
  };
  return (deadline) => {
    stopped ??= stop(deadline);
    return stopped;
  };
}

function partition<Item>(items: readonly Item[], isFirst: (item: Item) => boolean): [Item[], Item[]] {
  return [items.filter(isFirst), items.filter((item) => !isFirst(item))];
}
