/** A program of others that serves HTTP, of a test's own: on a free port, in a folder that goes with it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from './free-port.ts';

const POLL = 50;

export interface HttpProgram extends AsyncDisposable {
  /** Host and port. */
  readonly address: string;
}

/**
 * Resolves when it answers; disposal kills it.
 *
 * @param options.files what is in its folder at the start: names and contents
 * @param options.parametersOf its parameters, for the address where it is to listen and its folder
 * @param options.ready path at which it answers 200 once it is ready
 * @param options.environmentOf its environment beside the PATH
 * @throws Error with what it said, when it ends before
 */
export async function startHttpProgram(
  command: string,
  options: {
    files: Readonly<Record<string, string>>;
    parametersOf: (address: string, directory: string) => readonly string[];
    ready: string;
    environmentOf?: (directory: string) => Readonly<Record<string, string>>;
  },
): Promise<HttpProgram> {
  const directory = mkdtempSync(path.join(tmpdir(), `${command}-`));
  for (const [name, text] of Object.entries(options.files)) {
    writeFileSync(path.join(directory, name), text);
  }
  const address = `127.0.0.1:${await freePort()}`;
  const child = spawn(command, options.parametersOf(address, directory), {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], ...options.environmentOf?.(directory) },
  });
  let errors = '';
  child.stderr.on('data', (text) => {
    errors += text;
  });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  while (!(await fetch(`http://${address}${options.ready}`).catch(() => undefined))?.ok) {
    if (child.exitCode !== null) {
      throw new Error(`${command} ended with ${child.exitCode}:\n${errors}`);
    }
    await pause(POLL);
  }
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
