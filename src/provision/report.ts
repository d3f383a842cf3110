/** A plan and its outcome, for people and programs. */
import type { Environment } from './environment.ts';
import type { Found, FoundVersion, Plan, Step } from './plan.ts';
import { ringName, type Want } from './wants.ts';

/** What is shown of a step: `ok`, `make` or `differs`, the kind of thing, its name, and more lines where needed. */
export function stepRows({ steps, extras }: Plan, environment: Environment): string[][] {
  return [
    ...steps.flatMap((step) => [
      [MARKS[step.state], step.want.kind, shortened(nameOf(step.want), environment)],
      ...(step.state === 'missing' && step.want.kind === 'collection' ? [] : step.details).map((detail) => [
        '',
        '',
        `  ${shortened(detail, environment)}`,
      ]),
    ]),
    ...extras.map((extra) => ['extra', 'binding', shortened(extra, environment)]),
  ];
}

const MARKS: Readonly<Record<Step['state'], string>> = { there: 'ok', missing: 'make', differs: 'differs' };

/** As one line says it: `3 to make, 1 differs, 30 as wanted`. */
export function summary({ steps, extras }: Plan): string {
  const count = (state: Step['state']) => steps.filter((step) => step.state === state).length;
  const parts = [
    [count('missing'), 'to make'],
    [count('differs'), 'otherwise than wanted'],
    [extras.length, 'beyond what is wanted'],
    [count('there'), 'as wanted'],
  ] as const;
  return parts
    .filter(([number]) => number > 0)
    .map(([number, what]) => `${number} ${what}`)
    .join(', ');
}

/** Of each key's version that is not destroyed: key, version, location, algorithm, state, node id. */
export function keyRows({ keys }: Found, { location }: Environment): string[][] {
  return [...keys].flatMap(([key, { versions }]) =>
    versions
      .filter(({ state }) => state !== 'DESTROYED')
      .map((version) => [
        lastOf(key),
        lastOf(version.name),
        location,
        version.algorithm,
        version.state,
        version.nodeId ?? '',
      ]),
  );
}

export const KEY_HEADINGS = ['key', 'version', 'location', 'algorithm', 'state', 'node id'];

/** The same as `stepRows` and `keyRows`, for programs. */
export function reportDocument(plan: Plan, found: Found, environment: Environment) {
  return {
    environment: environment.name,
    steps: plan.steps.map(({ want, state, details }) => ({ kind: want.kind, name: nameOf(want), state, details })),
    extras: plan.extras,
    keys: [...found.keys].flatMap(([key, { versions }]) =>
      versions.map(({ name, state, algorithm, nodeId }: FoundVersion) => ({
        key,
        version: Number(lastOf(name)),
        location: environment.location,
        algorithm,
        state,
        nodeId: nodeId ?? null,
      })),
    ),
  };
}

export function nameOf(want: Want): string {
  return want.kind === 'binding' ? `${want.role} on ${want.resource}` : want.name;
}

/** Without what is the same in each line. */
function shortened(text: string, environment: Environment): string {
  const pool = `principal://iam.googleapis.com/projects/${environment.projectNumber}/locations/global/workloadIdentityPools/${environment.project}.svc.id.goog/subject/`;
  return text.replaceAll(`${ringName(environment)}/`, '').replaceAll(pool, '');
}

function lastOf(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1);
}
