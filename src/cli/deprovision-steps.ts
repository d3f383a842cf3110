/** What `relay-gateway deprovision` does, in order: look, tell, see that it may, ask, do. */
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
import { wantsOf } from '../provision/wants.ts';
import { readEnvironmentFile } from './environment-file.ts';
import { askFor } from './question.ts';

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
}

/** @returns the exit code */
export async function deprovision({ file, name, step, isDry, confirmation }: DeprovisionOptions): Promise<number> {
  const environment = await readEnvironmentFile(file, name);
  if (!environment) {
    return BAD_USAGE;
  }
  await using cloud = new Cloud(environment);
  const found = await cloud.find(wantsOf(environment));
  tellStop(environment);
  for (const one of step ? [step] : REMOVAL_STEPS) {
    tell(one, environment, found);
  }
  if (isDry || step === undefined) {
    return 0;
  }
  const obstacle = lockOf(environment, Date.now()) ?? obstacleTo(step, environment, found);
  if (obstacle !== undefined) {
    console.error(obstacle);
    return FAULT;
  }
  const removals = removalsOf(step, environment, found);
  if (removals.length > 0 && !(await isConfirmed(environment, step, confirmation))) {
    console.error('Nothing was done');
    return FAULT;
  }
  for (const removal of removals) {
    await cloud.remove(removal);
    console.log(`done: ${describeRemoval(removal)}`);
  }
  return 0;
}

/** No cluster is called from here: whoever takes the gateway away sees what it does. */
function tellStop({ name, namespace }: Environment): void {
  console.log('stop, by yourself, before anything else:');
  console.log(`  helmfile --environment ${name} destroy`);
  console.log(`  kubectl --namespace ${namespace} get pods,services,ingresses`);
}

function tell(step: RemovalStep, environment: Environment, found: Found): void {
  const removals = removalsOf(step, environment, found);
  console.log(`\n${step}:${removals.length === 0 ? ' nothing is left to do' : ''}`);
  for (const removal of removals) {
    console.log(`  ${describeRemoval(removal)}`);
  }
  if (step === 'empty') {
    console.log(`  by yourself: redis-cli -u URL FLUSHALL, or remove ${environment.redis.instance}`);
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
