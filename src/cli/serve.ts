/**
 * `relay-gateway serve`: runs the gateway until it is told to stop.
 *
 * The first SIGTERM or SIGINT stops it in order (flow 7 of docs/flow.md), within the grace period; a second one ends it
 * at once.
 */
import { flushCompileCache } from 'node:module';
import { type Gateway, startGateway } from '../compose.ts';
import { type Config, type Environment, readConfig } from '../config.ts';
import { type Log, openLog } from '../log.ts';
import { findServiceManager } from './service-manager.ts';
import { table } from './table.ts';

const CLEAN = 0;
const FAULT = 1;

/** Of a millisecond. */
const MICROSECONDS = 1000;

/**
 * A signal that follows the first within so many milliseconds is the same one, come by another way: terminals and
 * supervisors signal the whole process group, and npm and our launcher pass on what they get.
 */
const SAME_SIGNAL = 200;

/**
 * Resolves when the gateway has ended.
 *
 * @returns the process's exit code
 * @throws ConfigError; Error in one line, when the gateway cannot start
 */
export async function serve(environment: Environment, version: string): Promise<number> {
  const config = readConfig(environment);
  const log = openLog(config.logLevel, { addresses: config.logAddresses, messageKey: config.logMessageKey });
  endOnFaults(log);
  using manager = findServiceManager(environment, log.logger);
  const toldToStop = stopSignal(log);
  try {
    const gateway = await startGateway(config, log.logger);
    announce(gateway, config, version, log);
    manager.tell('READY=1');
    manager.tell(`STATUS=Serves ${gateway.identity.internetAddress} as node ${gateway.identity.id}`);
    // A restart brings no store back that is elsewhere.
    const isAllHere = config.objectStore === 'local' && config.records === 'local';
    using alive = manager.watch(async () => (isAllHere ? gateway.checkStores() : undefined));
    flushCompileCache();

    const signal = await toldToStop;
    manager.tell('STOPPING=1');
    alive[Symbol.dispose]();
    log.logger.info({ signal, gracePeriod: config.gracePeriod }, 'Stopping');
    await gateway.stop(AbortSignal.timeout(config.gracePeriod));
    log.logger.info('Stopped');
    return CLEAN;
  } finally {
    await log.close();
  }
}

/** Tells programs by a line of the log, and people on standard error, that all services listen. */
function announce(gateway: Gateway, config: Config, version: string, log: Log): void {
  const { id: nodeId, internetAddress } = gateway.identity;
  const listening = Object.fromEntries(gateway.services.map(({ name, url }) => [name, url]));
  const milliseconds = Math.round(performance.now());
  const { user, system } = process.cpuUsage();
  const cpuMilliseconds = Math.round((user + system) / MICROSECONDS);
  log.logger.info({ nodeId, internetAddress, listening, version, milliseconds, cpuMilliseconds }, 'Ready');
  void log.flush();
  const rows = [
    ['Node id', nodeId],
    ['Internet address', internetAddress],
    ...gateway.services.map(({ name, url }) => [name, url]),
    ['Data', config.dataDirectory],
  ];
  console.error(`relay-gateway ${version} is ready after ${milliseconds} ms\n${table(rows, '  ')}`);
}

/** Resolves with the first signal to stop; the second ends the process. */
function stopSignal(log: Log): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let first: number | undefined;
  const onSignal = (signal: string) => {
    if (first === undefined) {
      first = performance.now();
      resolve(signal);
    } else if (performance.now() - first > SAME_SIGNAL) {
      log.logger.warn({ signal }, 'Ending at once');
      void log.flush().then(() => process.exit(FAULT));
    }
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  return promise;
}

/** What nobody caught leaves the process in an unknown state: better to end, and to start again from the stores. */
function endOnFaults(log: Log): void {
  process.on('uncaughtException', (err) => {
    log.logger.fatal({ err }, 'Uncaught error');
    // The log may be closed already.
    console.error(`relay-gateway: uncaught error: ${err instanceof Error ? err.stack : String(err)}`);
    // One that ends already, e.g. for bad configuration, has its code.
    void log.flush().then(() => process.exit(process.exitCode ?? FAULT));
  });
}
