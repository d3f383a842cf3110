/** What `relay-gateway provision` does, in order: look, plan, show, ask, make, look again, tell. */
import path from 'node:path';
import { Cloud } from '../provision/cloud.ts';
import type { Environment } from '../provision/environment.ts';
import { isAsWanted, type Plan, planOf } from '../provision/plan.ts';
import { KEY_HEADINGS, keyRows, nameOf, reportDocument, stepRows, summary } from '../provision/report.ts';
import { helmfileValues } from '../provision/values-file.ts';
import { type Auditor, wantsOf } from '../provision/wants.ts';
import { srvRecords } from '../quickstart/dns-records.ts';
import { placeFile } from '../quickstart/managed-file.ts';
import { readEnvironmentFile } from './environment-file.ts';
import { askFor } from './question.ts';
import { table } from './table.ts';

const FAULT = 1;
const BAD_USAGE = 2;

export interface ProvisionOptions {
  readonly file: string;
  /** What the file must be for. */
  readonly name: string | undefined;
  readonly isDry: boolean;
  readonly isCheck: boolean;
  readonly isJson: boolean;
  readonly isAgreed: boolean;
  readonly auditor: Auditor | undefined;
}

/** @returns the exit code */
export async function provision(options: ProvisionOptions): Promise<number> {
  const environment = await readEnvironmentFile(options.file, options.name);
  if (!environment) {
    return BAD_USAGE;
  }
  const wants = wantsOf(environment, options.auditor);
  await using cloud = new Cloud(environment);
  let found = await cloud.find(wants);
  let plan = planOf(wants, found);
  const print = options.isJson ? () => undefined : (text: string) => console.log(text);
  print(`${environment.name}: ${environment.internetAddress}, project ${environment.project}\n`);
  print(`${table(stepRows(plan, environment))}\n\n${summary(plan)}`);

  const isMaking = !options.isDry && !options.isCheck && plan.steps.some(({ state }) => state === 'missing');
  if (isMaking) {
    if (!(await mayAct(environment, options))) {
      console.error('Nothing was done');
      return FAULT;
    }
    await cloud.make(plan, Date.now(), ({ want }) => print(`making ${want.kind} ${nameOf(want)}`));
    found = await cloud.find(wants);
    plan = planOf(wants, found);
    print(`\n${summary(plan)}`);
  }
  const values = { path: valuesPath(options.file), text: helmfileValues(environment), mode: 0o644 };
  const isLooking = options.isDry || options.isCheck;
  const { outcome, difference } = await placeFile(values, { isDry: isLooking, command: 'provision' });
  const records = srvRecords(environment.internetAddress, environment.hosts);
  if (options.isJson) {
    const report = { ...reportDocument(plan, found, environment), dnsRecords: records, values: { ...values, outcome } };
    console.log(JSON.stringify(report, undefined, 2));
  } else {
    tellTheRest(environment, { keys: keyRows(found, environment), records });
    const isStillToWrite = isLooking && outcome !== 'unchanged' && outcome !== 'kept';
    print(`\nValues for helmfile: ${values.path} (${isStillToWrite ? 'not ' : ''}${outcome})`);
    for (const line of difference) {
      print(`  ${line}`);
    }
  }
  const isFine = isAsWanted(plan) && (!options.isCheck || outcome === 'unchanged');
  return isFine || (options.isDry && !hasDifferences(plan)) ? 0 : FAULT;
}

/** Production asks for its name, so that nobody acts on it by a line out of their shell's history. */
async function mayAct({ name, project }: Environment, { isAgreed }: ProvisionOptions): Promise<boolean> {
  if (name !== 'production' || isAgreed) {
    return true;
  }
  return (await askFor(`This acts on production, in project ${project}. Go on? Type "production": `)) === 'production';
}

function hasDifferences({ steps, extras }: Plan): boolean {
  return extras.length > 0 || steps.some(({ state }) => state === 'differs');
}

function valuesPath(file: string): string {
  const { dir, name } = path.parse(file);
  return path.join(dir, `${name}.values.yaml`);
}

function tellTheRest(
  { hosts }: Environment,
  { keys, records }: { keys: readonly string[][]; records: readonly string[] },
): void {
  if (keys.length > 0) {
    console.log(`\n${table([KEY_HEADINGS, ...keys])}`);
  }
  const names = [...new Set(Object.values(hosts))].join(', ');
  console.log(`\nDNS records to publish, each once, in a zone with DNSSEC, beside the addresses of ${names}:\n`);
  console.log(records.map((line) => `  ${line}`).join('\n'));
}
