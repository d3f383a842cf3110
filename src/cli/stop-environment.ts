/** Of `relay-gateway deprovision`, the step that stops: an environment's releases go by helmfile, then nothing may be left. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import type { Environment } from '../provision/environment.ts';

/** Between two looks, in milliseconds. */
const LOOK = 1000;

/** As helmfile.yaml names the release. */
const RELEASE = 'app.kubernetes.io/instance=gateway';

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
export function stopCommand(environment: Environment, helmfile: string): [string, ...string[]] {
  const { name, context, namespace } = environment;
  return [
    ...['helmfile', '--file', helmfile, '--environment', name],
    ...['--kube-context', context ?? 'CONTEXT', '--namespace', namespace, 'destroy'],
  ] as [string, ...string[]];
}

/** The command that lists what is left in the cluster. */
export function leftCommand(environment: Environment): [string, ...string[]] {
  // The pod of `helm test` has ended, and stays: to Helm it is none of the release's.
  const selector = `${RELEASE},app.kubernetes.io/component!=doctor`;
  return kubectl(environment, 'get', 'pods,services,ingresses', '--selector', selector, '--output', 'name');
}

/** The command that tells for which Internet address what is installed there is. */
function addressCommand(environment: Environment): [string, ...string[]] {
  const address = '{range .items[*]}{.data.INTERNET_ADDRESS}{"\\n"}{end}';
  return kubectl(environment, 'get', 'configmaps', '--selector', RELEASE, '--output', `jsonpath=${address}`);
}

function kubectl({ context, namespace }: Environment, ...parameters: string[]): [string, ...string[]] {
  return ['kubectl', '--context', context ?? 'CONTEXT', '--namespace', namespace, ...parameters];
}

/** As a person types it. */
export function asTyped(command: readonly string[]): string {
  return command.map((word) => (/^[-\w./:=,]+$/.test(word) ? word : `'${word}'`)).join(' ');
}

/**
 * Has helmfile take the releases away, in the environment's own cluster and only if they are for its Internet address, and
 * resolves when no process is at work any more, nor anything in the cluster. It may be done again.
 *
 * @throws Error that tells what to do
 */
export async function stopEnvironment(parts: StopParts): Promise<void> {
  const { environment, helmfile, patience } = parts;
  const command = stopCommand(environment, helmfile);
  if (!existsSync(helmfile)) {
    throw new Error(`There is no ${helmfile}: run it where the gateway's helmfile.yaml is, or say where by --helmfile`);
  }
  await requireOurs(environment);
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

/** Another environment's releases have the same names. @throws Error */
async function requireOurs(environment: Environment): Promise<void> {
  const { context, internetAddress } = environment;
  if (context === undefined) {
    throw new Error(
      "The environment's file does not say in which cluster it is: add `context:`, one of `kubectl config get-contexts`",
    );
  }
  const others = (await linesOf(addressCommand(environment))).filter((address) => address !== internetAddress);
  if (others.length > 0) {
    throw new Error(`What is installed in ${context} is for ${others.join(', ')}, not for ${internetAddress}`);
  }
}

function leftInCluster(environment: Environment): Promise<string[]> {
  return linesOf(leftCommand(environment));
}

/** @throws Error where there is no kubectl, or it fails */
async function linesOf(command: [string, ...string[]]): Promise<string[]> {
  const { code, output } = await run(command, 'pipe');
  if (code === undefined) {
    throw new Error(`There is no kubectl on the PATH, which tells what is in the cluster: ${asTyped(command)}`);
  }
  if (code !== 0) {
    throw new Error(`${asTyped(command)} ended with ${code}: mend what it says, and run this step again`);
  }
  return output.split('\n').filter((line) => line !== '');
}

/** @returns no code where there is no such program; the output where it is piped */
async function run(
  [program, ...parameters]: readonly [string, ...string[]],
  output: 'inherit' | 'pipe',
): Promise<{ code: number | undefined; output: string }> {
  const child = spawn(program, parameters, { stdio: ['ignore', output, 'inherit'] });
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
