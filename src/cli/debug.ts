/** `relay-gateway debug`: has the gateway that runs on this machine log all that happens, for a while, and looks into it. */
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { Command, InvalidArgumentError } from 'commander';
import { duration, ValueError } from '../config/values.ts';
import { controlSocketPath, type Environment, readConfig } from '../config.ts';
import type { ControlParameters } from '../services/control/control-socket.ts';
import type { DebugReport } from '../services/control/debug-mode.ts';

const BAD_USAGE = 2;

/** For its owner's eyes. */
const MODE = 0o600;

const SUCCESS = 200;

interface DebugOptions {
  readonly for: number;
  readonly cpuProfile?: string;
  readonly heapSnapshot?: string;
  readonly withSecrets?: true;
  readonly stop?: true;
  readonly json?: true;
}

const HELP = `
The log then tells every request, every call of a store and every step of every message, by ids: no payload, no key. It
ends by itself; begin and end are in the log. Run it on the machine or in the pod that is to be looked at.

Example:
  $ relay-gateway debug --for 5s --cpu-profile gateway.cpuprofile`;

/** The command, for the program to add to its own. */
export function debugCommand(environment: Environment): Command {
  return new Command('debug')
    .description('Have the gateway that runs on this machine log all that happens, for a while.')
    .option('--for <time>', 'for how long, up to 1h', readTime, 900_000)
    .option('--cpu-profile <file>', 'take a CPU profile of it, of a minute at most, and wait for it')
    .option('--heap-snapshot <file>', 'write down all that is in memory; the gateway stands still meanwhile')
    .option('--with-secrets', 'understand that a heap snapshot holds all keys and messages in memory')
    .option('--stop', 'end it now')
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(async (options: DebugOptions) => {
      process.exitCode = await debug(environment, options);
    });
}

async function debug(environment: Environment, options: DebugOptions): Promise<number> {
  const { cpuProfile, heapSnapshot, json } = options;
  if (heapSnapshot !== undefined && !options.withSecrets) {
    console.error(
      'A heap snapshot holds identity and session keys, credentials and messages, as they are in memory. Say ' +
        '--with-secrets if that is understood, keep the file as safe as the gateway, and delete it soon.',
    );
    return BAD_USAGE;
  }
  const socketPath = controlSocketPath(readConfig(environment).dataDirectory);
  const ask = (question: string, parameters: ControlParameters = {}) => askGateway(socketPath, question, parameters);
  const question = options.stop ? 'debug/stop' : 'debug/start';
  const report = JSON.parse(await text(await ask(question, { time: `${options.for}` }))) as DebugReport;
  const told = report.isOn ? `Debug mode until ${report.until}` : 'Debug mode is off';
  console.log(json ? JSON.stringify(report, undefined, 2) : told);
  if (heapSnapshot !== undefined) {
    await save(heapSnapshot, await ask('debug/heap-snapshot'));
  }
  if (cpuProfile !== undefined) {
    await save(cpuProfile, await ask('debug/cpu-profile', { time: `${options.for}` }));
  }
  return 0;
}

/** Never in place of a file that is there; what came only in part goes again. */
async function save(file: string, answer: IncomingMessage): Promise<void> {
  const target = createWriteStream(path.resolve(file), { flags: 'wx', mode: MODE });
  const isOpen = new Promise<boolean>((resolve) => {
    target.once('open', () => resolve(true)).once('error', () => resolve(false));
  });
  try {
    await pipeline(answer, target);
  } catch (error) {
    if (await isOpen) {
      await rm(path.resolve(file), { force: true });
    }
    throw error;
  }
  console.error(`Written to ${file}, for its owner's eyes only`);
}

/** @throws Error when no gateway runs here, or it refuses */
function askGateway(socketPath: string, question: string, parameters: ControlParameters): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, method: 'POST', path: `/${question}?${new URLSearchParams(parameters)}` });
    call.on('error', (error: NodeJS.ErrnoException) => {
      const isGone = error.code === 'ENOENT' || error.code === 'ECONNREFUSED';
      reject(isGone ? new Error('No gateway runs on this DATA_DIR') : error);
    });
    call.on('response', (answer) => {
      if (answer.statusCode === SUCCESS) {
        resolve(answer);
        return;
      }
      text(answer).then((body) => reject(new Error(`The gateway refused: ${JSON.parse(body).message}`)), reject);
    });
    call.end();
  });
}

function readTime(given: string): number {
  try {
    return duration('1s', '1h')(given);
  } catch (error) {
    if (error instanceof ValueError) {
      throw new InvalidArgumentError(`It ${error.message}.`);
    }
    throw error;
  }
}
