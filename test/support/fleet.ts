/** A gateway as many processes: each service, and two workers, on stores that they share. */
import { type Cloud, startCloud } from './cloud.ts';
import { type Front, startFront } from './front.ts';
import { type GatewayAddresses, type LogLine, type SpawnedGateway, spawnGateway } from './gateway.ts';

/** Names of the processes: each is what `SERVICES` has, beside `ops`. */
const PROCESSES = ['poweb', 'collection', 'pohttp', 'cogrpc', 'worker', 'worker'] as const;

export type Settings = Readonly<Record<string, string>>;

export interface Ports {
  readonly poweb: number;
  readonly pohttp: number;
  readonly cogrpc: number;
}

export interface Fleet extends AsyncDisposable {
  readonly cloud: Cloud;
  /** How clients reach it; `poweb` is the address of both PoWeb and collection. */
  readonly addresses: Omit<GatewayAddresses, 'ops' | 'directory'>;
  readonly processes: readonly SpawnedGateway[];
  /** What `SERVICES` has of a process, by its place in `processes`. */
  servicesOf(index: number): string;
  /** The first process of a service. */
  process(service: string): SpawnedGateway;
  /** Starts one more process of the same gateway. Disposed of with the fleet, or before. */
  spawn(services: string, environment?: Settings): Promise<SpawnedGateway>;
  /** Ends a process and starts another in its place. */
  replace(service: string, signal: NodeJS.Signals): Promise<SpawnedGateway>;
  /** Sends collections elsewhere; back to the process for them when that is undefined. */
  collectAt(url: string | undefined): void;
  /** Settings of each process, beside its services. */
  readonly environment: Settings;
  /** Has `listener` told of each line of all logs, until it is disposed of. */
  listen(listener: (line: LogLine) => void): Disposable;
}

/**
 * @param options.environment settings of all processes, beside those of the stores
 * @param options.cloud one that is there already, and stays
 * @param options.settingsOf settings of the processes of one service
 * @param options.ports where clients find it; free ones by default
 */
export async function startFleet(
  options: { environment?: Settings; cloud?: Cloud; ports?: Ports; settingsOf?: (service: string) => Settings } = {},
): Promise<Fleet> {
  await using stack = new AsyncDisposableStack();
  const cloud = options.cloud ?? stack.use(await startCloud());
  const listeners = new Set<(line: LogLine) => void>();
  const onLine = (line: LogLine) => {
    for (const listener of listeners) {
      listener(line);
    }
  };
  const running = new Set<SpawnedGateway>();
  stack.defer(async () => void (await Promise.all([...running].map((each) => each[Symbol.asyncDispose]()))));
  const spawn = async (services: string, environment: Settings = {}) => {
    const spawned = await spawnGateway({
      environment: {
        ...{ ...cloud.environment, ...options.environment, ...options.settingsOf?.(services), ...environment },
        SERVICES: `${services},ops`,
      },
      onLine,
    });
    running.add(spawned);
    return spawned;
  };
  const { ports } = options;
  const portOf: Readonly<Record<string, Settings>> = ports
    ? { pohttp: { POHTTP_PORT: `${ports.pohttp}` }, cogrpc: { COGRPC_PORT: `${ports.cogrpc}` } }
    : {};
  const starting = await Promise.allSettled(PROCESSES.map((service) => spawn(service, portOf[service])));
  const processes = starting.map((outcome) => {
    if (outcome.status === 'rejected') {
      throw outcome.reason;
    }
    return outcome.value;
  });
  const indexOf = (service: string) => PROCESSES.indexOf(service as (typeof PROCESSES)[number]);
  const processOf = (service: string) => processes[indexOf(service)] as SpawnedGateway;
  let elsewhere: string | undefined;
  const front: Front = stack.use(
    await startFront({
      ...(ports && { port: ports.poweb }),
      requests: () => processOf('poweb').poweb,
      sockets: () => elsewhere ?? processOf('collection').poweb,
    }),
  );
  const { nodeId, internetAddress } = processOf('poweb');
  const resources = stack.move();
  return {
    cloud,
    get addresses() {
      const { pohttp } = processOf('pohttp');
      return { nodeId, internetAddress, poweb: front.url, pohttp, cogrpc: processOf('cogrpc').cogrpc };
    },
    processes,
    servicesOf: (index) => `${PROCESSES[index]},ops`,
    process: processOf,
    spawn,
    environment: { ...cloud.environment, ...options.environment },
    collectAt(url) {
      elsewhere = url;
    },
    async replace(service, signal) {
      await processOf(service).end(signal);
      const next = await spawn(service);
      processes[indexOf(service)] = next;
      return next;
    },
    listen(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
