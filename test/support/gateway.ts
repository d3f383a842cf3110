/** Real gateways for tests: inside the test's own process, or as the program that operators run. */
import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import type { DestinationStream } from 'pino';
import { startGateway as composeGateway, type Gateway } from '../../src/compose.ts';
import { type Environment, readConfig, type ServiceName } from '../../src/config.ts';
import type { Clock } from '../../src/gateway/ports.ts';
import { createLogger } from '../../src/log.ts';

export const projectRoot = path.resolve(import.meta.dirname, '../..');

/** Any free ports, so that gateways run side by side. */
export const FREE_PORTS = { POWEB_PORT: '0', POHTTP_PORT: '0', COGRPC_PORT: '0', OPS_PORT: '0' };

export interface GatewayOptions {
  /** Settings besides the ports and the data directory, as in the environment. */
  readonly environment?: Environment;
  /** The data directory; by default a new one, which goes when the gateway is disposed of. */
  readonly directory?: string;
}

/** Where a test reaches a gateway. */
export interface GatewayAddresses {
  readonly nodeId: string;
  readonly internetAddress: string;
  /** Without a slash at the end; empty where the service is not chosen. */
  readonly poweb: string;
  readonly pohttp: string;
  readonly cogrpc: string;
  readonly ops: string;
  readonly directory: string;
}

export interface InProcessGateway extends GatewayAddresses, AsyncDisposable {
  readonly gateway: Gateway;
}

/**
 * Starts a gateway in this process.
 *
 * @param options.log takes the log's JSON lines; by default nothing is logged
 * @param options.clock what the gateway takes for the present; the machine's by default
 * @param options.services also where the configuration would not let them run alone
 */
export async function startGateway(
  options: GatewayOptions & { log?: DestinationStream; clock?: Clock; services?: readonly ServiceName[] } = {},
): Promise<InProcessGateway> {
  const directory = options.directory ?? temporaryDirectory();
  const read = readConfig({ ...FREE_PORTS, DATA_DIR: directory, ...options.environment });
  const config = { ...read, services: options.services ?? read.services };
  const logger = createLogger(options.log ? config.logLevel : 'silent', options.log ?? { write: () => undefined }, {
    addresses: config.logAddresses,
    messageKey: config.logMessageKey,
  });
  const gateway = await composeGateway(config, logger, options.clock);
  const urls = Object.fromEntries(gateway.services.map(({ name, url }) => [name, url]));
  const { id: nodeId, internetAddress } = gateway.identity;
  return {
    gateway,
    ...addresses({ nodeId, internetAddress, listening: urls }, directory),
    async [Symbol.asyncDispose]() {
      await gateway.stop(AbortSignal.abort());
      if (options.directory === undefined) {
        rmSync(directory, { recursive: true, force: true });
      }
    },
  };
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A line of the program's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg: string };

export interface SpawnedGateway extends GatewayAddresses, AsyncDisposable {
  readonly process: ChildProcess;
  /** Resolves when the process has ended. */
  readonly exited: Promise<Exit>;
  /** The last lines that it logged, at most 10,000. */
  readonly log: LogLine[];
  /** What it wrote to standard error, when it has ended. */
  readonly errors: Promise<string>;
  /** From the start of the process to its being ready, in milliseconds. */
  readonly startTime: number;
  /** Resolves when it has logged this message. */
  logged(message: string): Promise<LogLine>;
  /** Sends a signal and resolves when the process has ended. */
  end(signal: NodeJS.Signals): Promise<Exit>;
}

const MAX_LOG_LINES = 10_000;

/**
 * Starts the program as operators do and waits until it is ready. Disposal kills it.
 *
 * @param options.under a command with its options that runs the program, such as strace
 * @param options.onLine told of each line that it logs
 * @throws Error with what the program wrote to standard error, when it ends before it is ready
 */
export async function spawnGateway(
  options: GatewayOptions & { under?: readonly string[]; onLine?: (line: LogLine) => void } = {},
): Promise<SpawnedGateway> {
  const directory = options.directory ?? temporaryDirectory();
  const [command = '', ...parameters] = [...(options.under ?? []), process.execPath, 'bin/relay-gateway.js', 'serve'];
  const started = performance.now();
  const child = spawn(command, parameters, {
    cwd: projectRoot,
    env: { PATH: process.env['PATH'], ...FREE_PORTS, DATA_DIR: directory, ...options.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: options.under !== undefined,
  });
  const send = (signal: NodeJS.Signals) => {
    // What runs the program may not pass a signal on, so both get it.
    if (options.under && child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      process.kill(-child.pid, signal);
    } else {
      child.kill(signal);
    }
  };
  const kill = () => send('SIGKILL');
  process.once('exit', kill);
  const exited = once(child, 'close').then(([code, signal]): Exit => {
    process.off('exit', kill);
    return { code, signal };
  });
  const errors = text(child.stderr);

  const log: LogLine[] = [];
  const lines = new EventEmitter();
  createInterface(child.stdout).on('line', (json) => {
    const line = JSON.parse(json) as LogLine;
    log.push(line);
    if (log.length > MAX_LOG_LINES) {
      log.shift();
    }
    lines.emit(`line: ${line.msg}`, line);
    options.onLine?.(line);
  });
  const logged = async (message: string): Promise<LogLine> =>
    log.find(({ msg }) => msg === message) ?? (await once(lines, `line: ${message}`))[0];
  const failed = exited.then(async (exit): Promise<never> => {
    throw new Error(`Gateway ended with ${exit.code ?? exit.signal} before it was ready:\n${await errors}`);
  });
  const line = await Promise.race([logged('Ready'), failed]);
  // It will end one day, and nobody waits for that any more.
  failed.catch(() => undefined);

  const end = (signal: NodeJS.Signals) => {
    send(signal);
    return exited;
  };
  return {
    process: child,
    exited,
    log,
    logged,
    errors,
    startTime: performance.now() - started,
    end,
    ...addresses(line as unknown as ReadyLine, directory),
    async [Symbol.asyncDispose]() {
      await end('SIGKILL');
      if (options.directory === undefined) {
        rmSync(directory, { recursive: true, force: true });
      }
    },
  };
}

/** A new directory for a gateway's data; who asks for it removes it. */
export function temporaryDirectory(): string {
  return mkdtempSync(path.join(tmpdir(), 'relay-gateway-'));
}

interface ReadyLine {
  readonly nodeId: string;
  readonly internetAddress: string;
  readonly listening: Readonly<Record<string, string>>;
}

function addresses({ nodeId, internetAddress, listening }: ReadyLine, directory: string): GatewayAddresses {
  const { poweb = listening['collection'] ?? '', pohttp = '', cogrpc = '', ops = '' } = listening;
  return { nodeId, internetAddress, poweb, pohttp, cogrpc, ops, directory };
}
