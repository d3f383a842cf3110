/**
 * Real Redis servers for tests: the one on the PATH or, on Debian and Ubuntu, unpacked from the distribution's own
 * packages into a cache folder, without root.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import type { TestOptions } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from './free-port.ts';
import { needsTool } from './needs-tool.ts';

/** The server and what it is linked with; Sentinel is the same program under another name. */
const PACKAGES = ['redis-server', 'redis-tools', 'libjemalloc2', 'liblzf1'];

const CACHE = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'relay-gateway', 'redis');

const START_LIMIT = 10_000;
const POLL = 20;

interface Program {
  readonly command: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Options for a test that runs Redis; skips it where there is none. @throws Error in continuous integration */
export function needsRedis(): TestOptions {
  return program() ? {} : needsTool('redis-server', 'apt-get install redis-server');
}

let found: Program | undefined;

function program(): Program | undefined {
  found ??= onPath() ?? unpacked();
  return found;
}

function onPath(): Program | undefined {
  for (const directory of (process.env['PATH'] ?? '').split(path.delimiter)) {
    const command = path.join(directory, 'redis-server');
    if (existsSync(command)) {
      return { command, environment: { PATH: process.env['PATH'] } };
    }
  }
  return undefined;
}

function unpacked(): Program | undefined {
  const command = path.join(CACHE, 'usr/bin/redis-server');
  if (!existsSync(command) && !unpack()) {
    return undefined;
  }
  const libraries = path.join(CACHE, 'usr/lib');
  const folders = [libraries, ...readdirSync(libraries).map((name) => path.join(libraries, name))];
  return { command, environment: { PATH: process.env['PATH'], LD_LIBRARY_PATH: folders.join(':') } };
}

/** Never throws: where it fails, the machine has no Redis. */
function unpack(): boolean {
  mkdirSync(path.dirname(CACHE), { recursive: true });
  // Test files run side by side; whoever is first with a whole folder wins.
  const work = mkdtempSync(`${CACHE}-`);
  try {
    execFileSync('apt-get', ['download', ...PACKAGES], { cwd: work, stdio: 'ignore', timeout: 60_000 });
    for (const file of readdirSync(work).filter((name) => name.endsWith('.deb'))) {
      execFileSync('dpkg', ['-x', file, 'root'], { cwd: work, stdio: 'ignore' });
    }
    accessSync(path.join(work, 'root/usr/bin/redis-server'));
    renameSync(path.join(work, 'root'), CACHE);
    return true;
  } catch {
    return existsSync(path.join(CACHE, 'usr/bin/redis-server'));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

export interface RedisServer extends AsyncDisposable {
  readonly port: number;
  /** As in `REDIS_URL`. */
  readonly url: string;
  /** Sends a signal; resolves when the process has ended, unless the signal only stops or continues it. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port; resolves when it answers. */
  start(): Promise<void>;
  /** Gives the answer to a command, raw as it comes (RESP). */
  ask(...words: string[]): Promise<string>;
}

/**
 * Starts a Redis on a free port of loopback that keeps nothing on disk; disposal kills it.
 *
 * @param options further options of the command line, e.g. `['--requirepass', 'secret']`
 */
export async function startRedis(options: readonly string[] = []): Promise<RedisServer> {
  return startServer((port, directory) => [
    ...['--port', `${port}`, '--bind', '127.0.0.1', '--dir', directory, '--save', '', '--appendonly', 'no'],
    ...options,
  ]);
}

/** Starts whatever these parameters say, on a free port. */
export async function startServer(
  parametersOf: (port: number, directory: string) => readonly string[],
): Promise<RedisServer> {
  const { command, environment } = program() ?? {};
  if (!command) {
    throw new Error('There is no redis-server on this machine');
  }
  const directory = mkdtempSync(path.join(tmpdir(), 'redis-'));
  const port = await freePort();
  const parameters = parametersOf(port, directory);
  let child: ChildProcess;
  let exited: Promise<unknown> = Promise.resolve();
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  const server: RedisServer = {
    port,
    url: `redis://127.0.0.1:${port}`,
    async kill(signal = 'SIGKILL') {
      child.kill(signal);
      if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') {
        await exited;
      }
    },
    async start() {
      child = spawn(command, parameters, { env: environment ?? {}, stdio: 'ignore', cwd: directory });
      exited = once(child, 'exit');
      for (const end = performance.now() + START_LIMIT; ; await pause(POLL)) {
        const answer = await ask(port, ['PING']).catch(() => '');
        if (answer !== '' && !answer.startsWith('-LOADING')) {
          return;
        }
        if (child.exitCode !== null || performance.now() > end) {
          throw new Error(`Redis does not start on port ${port} (exit code ${child.exitCode})`);
        }
      }
    },
    ask: (...words) => ask(port, words),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await exited;
      process.off('exit', killAtExit);
      rmSync(directory, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

/** One command on a connection of its own, without a client; the answer must fit a packet. */
async function ask(port: number, words: readonly string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    const encoded = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('');
    socket.write(`*${words.length}\r\n${encoded}`);
    const [answer] = await once(socket, 'data', { signal: AbortSignal.timeout(START_LIMIT) });
    return String(answer);
  } finally {
    socket.destroy();
  }
}

/** How often each command was called by clients since the last `CONFIG RESETSTAT`; scripts' own calls aside. */
export async function commandCounts(
  server: RedisServer,
): Promise<Record<'evalsha' | 'eval' | 'publish' | 'subscribe', number>> {
  const statistics = await server.ask('INFO', 'commandstats');
  const count = (command: string) => Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(statistics)?.[1] ?? 0);
  return {
    evalsha: count('evalsha'),
    eval: count('eval'),
    publish: count('publish'),
    subscribe: count('subscribe'),
  };
}
