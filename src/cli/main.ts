/**
 * The `relay-gateway` command: reads the command line and the environment, and runs one command of this folder.
 *
 * Exit codes: 0 clean, 1 fault, 2 bad configuration or usage. Of the commands only the one that is called is loaded, so
 * that each starts fast; for help and after a slip, all are.
 */
import { readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import { CommanderError } from 'commander';
import { ConfigError } from '../config.ts';
import { newProgram } from './program.ts';

const FAULT = 1;
const BAD_USAGE = 2;

// Compiled code is kept between starts, which halves their time; where nothing can be written, it is not.
enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/relay-gateway', import.meta.url)));

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const program = await newProgram({ environment: process.env, version, word: process.argv[2] ?? '' });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCode(error);
}

/** Tells a person what went wrong, unless commander has done so. */
function exitCode(error: unknown): number {
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? 0 : BAD_USAGE;
  }
  if (error instanceof ConfigError) {
    console.error(error.message);
    return BAD_USAGE;
  }
  console.error(`relay-gateway: ${error instanceof Error ? error.message : error}`);
  return FAULT;
}
