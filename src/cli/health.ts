/** `relay-gateway health`: asks the gateway that runs on this machine, by its ops port, whether it is well. */
import { isIP } from 'node:net';
import { type Environment, readConfig } from '../config.ts';

const FAULT = 1;

/** Longer than any check may take, in milliseconds. */
const TIMEOUT = 5500;

/** Where a server listens on all addresses, it is asked at this machine's own. */
const ANY_ADDRESS: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

/**
 * Prints what `GET /ping` answers.
 *
 * @returns the exit code: 1 when a check fails, or nobody answers in time
 * @throws ConfigError
 */
export async function showHealth(environment: Environment): Promise<number> {
  const { opsBindHost, opsPort } = readConfig(environment);
  const host = ANY_ADDRESS[opsBindHost] ?? opsBindHost;
  const url = `http://${isIP(host) === 6 ? `[${host}]` : host}:${opsPort}/ping`;
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT), redirect: 'error' });
    console.log(await answer.text());
    return answer.ok ? 0 : FAULT;
  } catch (error) {
    const { message, cause } = error as Error;
    throw new Error(`No answer from ${url}: ${cause instanceof Error ? cause.message : message}`);
  }
}
