/** Prometheus' real blackbox exporter, of a test's own: it probes what it is asked for. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestOptions } from 'node:test';
import { needsTool } from './needs-tool.ts';
import { freePort, ready } from './prometheus.ts';

const PROGRAM = 'prometheus-blackbox-exporter';

/** Options for a test that runs it. */
export function needsBlackboxExporter(): TestOptions {
  return needsTool(PROGRAM, `apt-get install ${PROGRAM}`);
}

export interface BlackboxExporter extends AsyncDisposable {
  /** Host and port. */
  readonly address: string;
}

/**
 * @param modules contents of its configuration
 * @param authorities PEM file with the only certificates that it trusts
 */
export async function startBlackboxExporter(modules: string, authorities: string): Promise<BlackboxExporter> {
  const directory = mkdtempSync(path.join(tmpdir(), 'blackbox-'));
  const file = path.join(directory, 'blackbox.yml');
  writeFileSync(file, modules);
  const address = `127.0.0.1:${await freePort()}`;
  const child = spawn(PROGRAM, [`--config.file=${file}`, `--web.listen-address=${address}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], SSL_CERT_FILE: authorities, SSL_CERT_DIR: directory },
  });
  let errors = '';
  child.stderr.on('data', (text) => {
    errors += text;
  });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  await ready(child, `http://${address}/-/healthy`, () => errors);
  return {
    address,
    async [Symbol.asyncDispose]() {
      const exited = child.exitCode === null ? once(child, 'exit') : undefined;
      kill();
      await exited;
      process.off('exit', kill);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
