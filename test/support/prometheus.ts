/** A real Prometheus of a test's own, which scrapes what it is told to. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestOptions } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { stringify } from 'yaml';
import { needsTool } from './needs-tool.ts';

const POLL = 50;

/** Options for a test that runs Prometheus or its promtool. */
export function needsPrometheus(command: 'prometheus' | 'promtool' = 'prometheus'): TestOptions {
  return needsTool(command, 'apt-get install prometheus');
}

/** A value of an instant query, with its labels. */
export interface QueryResult {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Prometheus extends AsyncDisposable {
  /** What a query gives now. @throws Error when it cannot be read */
  query(text: string): Promise<QueryResult[]>;
  /** Resolves with what a query gives, as soon as that satisfies the condition. */
  until(text: string, condition: (results: readonly QueryResult[]) => boolean): Promise<QueryResult[]>;
}

/**
 * Starts Prometheus, which scrapes `target` every second and evaluates the rules as often.
 *
 * @param target host and port; or jobs, as in its configuration
 * @param rules contents of a rules file
 */
export async function startPrometheus(target: string | readonly object[], rules: string): Promise<Prometheus> {
  const directory = mkdtempSync(path.join(tmpdir(), 'prometheus-'));
  writeFileSync(path.join(directory, 'rules.yaml'), rules);
  const config = {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: ['rules.yaml'],
    scrape_configs:
      typeof target === 'string' ? [{ job_name: 'relay-gateway', static_configs: [{ targets: [target] }] }] : target,
  };
  const file = path.join(directory, 'prometheus.yaml');
  writeFileSync(file, stringify(config));
  const address = `127.0.0.1:${await freePort()}`;
  const child = spawn(
    'prometheus',
    [`--config.file=${file}`, `--storage.tsdb.path=${directory}/data`, `--web.listen-address=${address}`],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let errors = '';
  child.stderr.on('data', (text) => {
    errors += text;
  });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  await ready(child, `http://${address}/-/ready`, () => errors);

  const query = async (text: string): Promise<QueryResult[]> => {
    const response = await fetch(`http://${address}/api/v1/query?query=${encodeURIComponent(text)}`);
    const answer = (await response.json()) as {
      status: string;
      error?: string;
      data: { result: { metric: Record<string, string>; value: [number, string] }[] };
    };
    if (answer.status !== 'success') {
      throw new Error(`${text}: ${answer.error}`);
    }
    return answer.data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  };
  return {
    query,
    async until(text, condition) {
      for (;;) {
        const results = await query(text);
        if (condition(results)) {
          return results;
        }
        await pause(POLL);
      }
    },
    async [Symbol.asyncDispose]() {
      const exited = child.exitCode === null ? once(child, 'exit') : undefined;
      kill();
      await exited;
      process.off('exit', kill);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Resolves when a program of a test answers. @throws Error with what it said, when it ends before */
export async function ready(child: ChildProcess, url: string, errors: () => string): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) {
      throw new Error(`${child.spawnfile} ended with ${child.exitCode}:\n${errors()}`);
    }
    const response = await fetch(url).catch(() => undefined);
    if (response?.ok) {
      return;
    }
    await pause(POLL);
  }
}

/** A port of the loopback where nothing listens at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
