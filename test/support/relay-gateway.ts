/** Runs the `relay-gateway` command to its end, as operators do. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { projectRoot } from './gateway.ts';

const run = promisify(execFile);

/** How long a command may take, in milliseconds. */
const LIMIT = 30_000;

export interface CommandOutcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Gives what the command printed, whatever its exit code. @param limit milliseconds after which it is killed */
export async function runRelayGateway(
  parameters: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  limit = LIMIT,
): Promise<CommandOutcome> {
  const options = { env: { PATH: process.env['PATH'], ...environment }, cwd: projectRoot, timeout: limit };
  try {
    return { code: 0, ...(await run(process.execPath, ['bin/relay-gateway.js', ...parameters], options)) };
  } catch (error) {
    return error as CommandOutcome;
  }
}
