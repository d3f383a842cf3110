/** Asks the gateway that runs on a data directory, through its control socket; where none runs, its stores. */
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { pino } from 'pino';
import { controlAnswers } from '../compose/control.ts';
import { openCore } from '../compose/core.ts';
import { controlSocketPath, type Environment, readConfig } from '../config.ts';
import { createLogger } from '../log.ts';
import type { ControlParameters } from '../services/control/control-socket.ts';

/** How long a running gateway may take to answer, in milliseconds. */
const TIMEOUT = 10_000;

/** After this time, in milliseconds, a person is told that the answer takes long. */
const PATIENCE = 1000;

const STANDARD_ERROR = 2;

/**
 * Has a question answered, or an order carried out, by the gateway that runs; by this process when none does.
 *
 * @param question as in `ControlAnswers`
 * @param options.timeout how long the gateway may take, in milliseconds
 * @throws ConfigError; StoreError; Error when a gateway listens but refuses, fails or is silent
 */
export async function askGateway<Answer>(
  environment: Environment,
  question: string,
  parameters: ControlParameters = {},
  { timeout = TIMEOUT }: { timeout?: number } = {},
): Promise<Answer> {
  const config = readConfig(environment);
  const start = performance.now();
  const progress = setInterval(() => {
    console.error(`... ${Math.round((performance.now() - start) / 1000)} s so far`);
  }, PATIENCE);
  try {
    const socketPath = controlSocketPath(config.dataDirectory);
    const running = await askRunningGateway(socketPath, question, parameters, timeout);
    if (running) {
      return running.answer as Answer;
    }
    // What is changed is logged here as the gateway would log it.
    const log = createLogger(config.logLevel, pino.destination({ dest: STANDARD_ERROR, sync: true }));
    await using core = await openCore(config, log);
    return (await controlAnswers(core, log, true)[question]?.(parameters)) as Answer;
  } finally {
    clearInterval(progress);
  }
}

/** @returns undefined when no gateway listens there */
async function askRunningGateway(
  socketPath: string,
  question: string,
  parameters: ControlParameters,
  timeout: number,
): Promise<{ answer: unknown } | undefined> {
  const [method = '', path = ''] = question.split(' ');
  const exchanged = await exchange(socketPath, method, `/${path}?${new URLSearchParams(parameters)}`, timeout);
  if (!exchanged) {
    return undefined;
  }
  const answer: unknown = JSON.parse(exchanged.body);
  if (exchanged.status !== 200) {
    throw new Error(`The running gateway refused: ${(answer as { message: string }).message}`);
  }
  return { answer };
}

function exchange(
  socketPath: string,
  method: string,
  path: string,
  timeout: number,
): Promise<{ status: number; body: string } | undefined> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, method, path, timeout });
    call.on('timeout', () => call.destroy(new Error(`The running gateway gave no answer in ${timeout / 1000} s`)));
    call.on('error', (error: NodeJS.ErrnoException) => {
      // No socket, or one that a process left which died.
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
        resolve(undefined);
      } else {
        reject(error);
      }
    });
    call.on('response', (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    call.end();
  });
}
