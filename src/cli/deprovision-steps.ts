/** What `relay-gateway deprovision` does, in order: look, tell, see that it may, ask, do. */

import { liveProcesses } from '../compose/live-processes.ts';
import type { RedisPlace } from '../config/values.ts';
import { machineClock } from '../machine.ts';
import { Cloud } from '../provision/cloud.ts';
import type { Environment } from '../provision/environment.ts';
import type { Found } from '../provision/plan.ts';
import {
  describeRemoval,
  lockOf,
  obstacleTo,
  REMOVAL_STEPS,
  type RemovalStep,
  removalsOf,
} from '../provision/removal.ts';
import { databaseName, wantsOf } from '../provision/wants.ts';
import { readEnvironmentFile } from './environment-file.ts';
import { askFor } from './question.ts';
import { asTyped, leftCommand, stopCommand, stopEnvironment } from './stop-environment.ts';

const FAULT = 1;
const BAD_USAGE = 2;

export interface DeprovisionOptions {
  readonly file: string;
  /** What the file must be for. */
  readonly name: string | undefined;
  /** Undefined: tell of all. */
  readonly step: RemovalStep | undefined;
  readonly isDry: boolean;
  /** The Internet address that goes. */
  readonly confirmation: string | undefined;
  /** Path of the helmfile by which the gateway was installed. */
  readonly helmfile: string;
  /** How long processes may take to end, in milliseconds. */
  readonly patience: number;
  /** Undefined where nobody says where Redis is. */
  readonly redis: RedisPlace | undefined;
}

/** @returns the exit code */
export async function deprovision(options: DeprovisionOptions): Promise<number> {
  const { file, name, step, isDry, confirmation, helmfile, patience, redis } = options;
  const environment = await readEnvironmentFile(file, name);
  if (!environment) {
    return BAD_USAGE;
  }
  await using cloud = new Cloud(environment);
  const found = await cloud.find(wantsOf(environment));
  const lives = () => livesOf(environment, found);
  const atWork = await lives();
  for (const one of step ? [step] : REMOVAL_STEPS) {
    if (one === 'stop') {
      tellStop(environment, { atWork, helmfile });
    } else {
      tell(one, environment, found, redis);
    }
  }
  if (isDry || step === undefined) {
    return 0;
  }
  const obstacle = lockOf(environment, Date.now()) ?? obstacleTo(step, environment, found, atWork);
  if (obstacle !== undefined) {
    console.error(obstacle);
    return FAULT;
  }
  const removals = removalsOf(step, environment, found);
  const isNothing = removals.length === 0 && step !== 'stop' && !(step === 'empty' && redis);
  if (!isNothing && !(await isConfirmed(environment, step, confirmation))) {
    console.error('Nothing was done');
    return FAULT;
  }
  if (step === 'stop') {
    await stopEnvironment({ environment, helmfile, patience, lives });
    console.log('done: no process of the gateway is at work');
  }
  for (const removal of removals) {
    await cloud.remove(removal);
    console.log(`done: ${describeRemoval(removal)}`);
  }
  if (step === 'empty' && redis) {
    const { removeKeys } = await import('../backends/redis/remove-keys.ts');
    console.log(`done: take ${await removeKeys(redis, environment.internetAddress)} keys of the gateway out of Redis`);
  }
  return 0;
}

/** Nobody is at work on a database that is not there. */
async function livesOf(environment: Environment, found: Found): Promise<string[]> {
  const { project, database, endpoints } = environment;
  if (!found.databases.has(databaseName(environment))) {
    return [];
  }
  const emulator = endpoints.firestore && new URL(endpoints.firestore).host;
  const processes = await liveProcesses({ project, database, emulator }, machineClock);
  return processes.map(
    ({ holder, until }) => `${holder}${until === undefined ? '' : `, until ${new Date(until).toISOString()}`}`,
  );
}

function tellStop(
  environment: Environment,
  { atWork, helmfile }: { atWork: readonly string[]; helmfile: string },
): void {
  console.log(`stop:${atWork.length === 0 ? ' no process of the gateway is at work' : ''}`);
  for (const life of atWork) {
    console.log(`  at work: ${life}`);
  }
  console.log(`  run ${asTyped(stopCommand(environment, helmfile))}`);
  console.log('  if what is installed there is for this Internet address');
  console.log(`  wait until nobody is at work, nor anything left of ${asTyped(leftCommand(environment))}`);
}

function tell(step: RemovalStep, environment: Environment, found: Found, redis: RedisPlace | undefined): void {
  const removals = removalsOf(step, environment, found);
  console.log(`\n${step}:${removals.length === 0 ? ' nothing is left to do' : ''}`);
  for (const removal of removals) {
    console.log(`  ${describeRemoval(removal)}`);
  }
  if (step === 'empty') {
    console.log(
      redis
        ? '  take the keys of the gateway out of Redis at REDIS_URL'
        : `  by yourself, or with REDIS_URL in the environment: empty Redis, or remove ${environment.redis.instance}`,
    );
  }
  if (step === 'destroy-keys' && environment.areKeysLocal) {
    const volumes = 'persistentvolumeclaims --selector app.kubernetes.io/instance=gateway';
    console.log(`  by yourself: kubectl --namespace ${environment.namespace} delete ${volumes}, which have the keys`);
  }
}

async function isConfirmed(
  { name, internetAddress }: Environment,
  step: RemovalStep,
  confirmation: string | undefined,
): Promise<boolean> {
  const question = `Step ${step} of taking ${name} down. Go on? Type its Internet address, ${internetAddress}: `;
  return (confirmation ?? (await askFor(question))) === internetAddress;
}
