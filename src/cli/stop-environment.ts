/** Of `relay-gateway deprovision`, the step that stops: an environment's releases go by helmfile, then nothing may be left. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import type { Environment } from '../provision/environment.ts';

/** Between two looks, in milliseconds. */
const LOOK = 1000;

export interface StopParts {
  readonly environment: Environment;
  /** Path of the helmfile. */
  readonly helmfile: string;
  /** How long processes may take to end, in milliseconds. */
  readonly patience: number;
  /** Processes of the gateway that are at work, each in a few words. */
  readonly lives: () => Promise<readonly string[]>;
}

/** The command that takes the releases away, and with them pods, Services and load balancers. */
export function stopCommand({ name }: Environment, helmfile: string): [string, ...string[]] {
  return ['helmfile', '--file', helmfile, '--environment', name, 'destroy'];
}

/** The command that lists what is left in the cluster. */
export function leftCommand({ namespace }: Environment): [string, ...string[]] {
  // As helmfile.yaml names the release. The pod of `helm test` has ended, and stays: to Helm it is none of the release's.
  const selector = 'app.kubernetes.io/instance=gateway,app.kubernetes.io/component!=doctor';
  return [
    'kubectl',
    ...['--namespace', namespace, 'get', 'pods,services,ingresses'],
    ...['--selector', selector, '--output', 'name'],
  ];
}

/** The context of kubectl, which helmfile acts in; undefined where there is no kubectl, or no context. */
export async function currentContext(): Promise<string | undefined> {
  const { code, output } = await run(['kubectl', 'config', 'current-context'], 'pipe', 'ignore');
  return code === 0 ? output.trim() : undefined;
}

/** As a person types it. */
export function asTyped(command: readonly string[]): string {
  return command.map((word) => (/^[-\w./:=,]+$/.test(word) ? word : `'${word}'`)).join(' ');
}

/**
 * Has helmfile take the releases away, and resolves when no process is at work any more, nor anything in the cluster where
 * kubectl is there to tell. It may be done again.
 *
 * @throws Error that tells what to do
 */
export async function stopEnvironment(parts: StopParts): Promise<void> {
  const { environment, helmfile, patience } = parts;
  const command = stopCommand(environment, helmfile);
  if (!existsSync(helmfile)) {
    throw new Error(`There is no ${helmfile}: run it where the gateway's helmfile.yaml is, or say where by --helmfile`);
  }
  const { code } = await run(command, 'inherit');
  if (code === undefined) {
    throw new Error(
      `There is no helmfile on the PATH. Where there is one and helm, run\n  ${asTyped(command)}\nthen go on here with the next step, which looks whether a process is still at work`,
    );
  }
  if (code !== 0) {
    throw new Error(`${asTyped(command)} ended with ${code}: mend what it says, and run this step again`);
  }
  let left: readonly string[] = [];
  for (const end = performance.now() + patience; performance.now() < end; await delay(LOOK)) {
    left = [...(await parts.lives()), ...(await leftInCluster(environment))];
    if (left.length === 0) {
      return;
    }
  }
  throw new Error(
    `Still there after ${patience / 1000} s: ${left.join('; ')}. Run this step again when they have ended`,
  );
}

async function leftInCluster(environment: Environment): Promise<string[]> {
  const command = leftCommand(environment);
  const { code, output } = await run(command, 'pipe');
  if (code !== undefined && code !== 0) {
    throw new Error(`${asTyped(command)} ended with ${code}: mend what it says, and run this step again`);
  }
  return output.split('\n').filter((line) => line !== '');
}

/** @returns no code where there is no such program; the output where it is piped */
async function run(
  [program, ...parameters]: readonly [string, ...string[]],
  output: 'inherit' | 'pipe',
  errors: 'inherit' | 'ignore' = 'inherit',
): Promise<{ code: number | undefined; output: string }> {
  const child = spawn(program, parameters, { stdio: ['ignore', output, errors] });
  const code = new Promise<number | undefined>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ENOENT' ? resolve(undefined) : reject(error),
    );
    // A signal counts as a failure, as in a shell.
    child.once('close', (number) => resolve(number ?? -1));
  });
  const [ended, written] = await Promise.all([code, child.stdout ? text(child.stdout) : '']);
  return { code: ended, output: written };
}
