/** Asks the gateway that runs on a data directory, through its control socket. */
import { request } from 'node:http';
import { text } from 'node:stream/consumers';

/** How long a running gateway may take to answer, in milliseconds. */
const TIMEOUT = 10_000;

/**
 * @returns the answer, or undefined when no gateway listens there
 * @throws Error when a gateway listens but refuses, fails or is silent
 */
export async function askRunningGateway(socketPath: string, question: string): Promise<unknown> {
  const answer = await exchange(socketPath, `/${question}`);
  if (!answer) {
    return undefined;
  }
  const value: unknown = JSON.parse(answer.body);
  if (answer.status !== 200) {
    throw new Error(`The running gateway refused: ${(value as { message: string }).message}`);
  }
  return value;
}

function exchange(socketPath: string, path: string): Promise<{ status: number; body: string } | undefined> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, timeout: TIMEOUT });
    call.on('timeout', () => call.destroy(new Error(`The running gateway gave no answer in ${TIMEOUT / 1000} s`)));
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
