/**
 * How an environment is taken down, in steps that come one after the other: pure, from what the file wants and what was found.
 */
import { RECORD_KINDS } from '../gateway/ports.ts';
import type { Environment } from './environment.ts';
import { type Found, missingMembers } from './plan.ts';
import { databaseName, type WantedBinding, wantsOf } from './wants.ts';

export const REMOVAL_STEPS = ['stop', 'empty', 'remove', 'destroy-keys'] as const;

export type RemovalStep = (typeof REMOVAL_STEPS)[number];

/** One thing to be done in the cloud. */
export type Removal =
  /** By its lifecycle, within a day or two. */
  | { readonly kind: 'empty bucket'; readonly name: string }
  | { readonly kind: 'empty database'; readonly name: string; readonly collections: readonly string[] }
  | { readonly kind: 'revoke'; readonly binding: WantedBinding }
  | { readonly kind: 'remove bucket'; readonly name: string }
  | { readonly kind: 'remove database'; readonly name: string }
  /** Scheduled, and revocable until then. */
  | { readonly kind: 'destroy key version'; readonly name: string };

/** What a step has to do still; to stop is no change of what is in the cloud. */
export function removalsOf(step: RemovalStep, environment: Environment, found: Found): Removal[] {
  const bucket = found.buckets.get(environment.bucket);
  const database = databaseName(environment);
  const hasDatabase = found.databases.has(database);
  switch (step) {
    case 'stop':
      return [];
    case 'empty':
      return [
        ...(bucket && !bucket.isEmptying ? [{ kind: 'empty bucket' as const, name: environment.bucket }] : []),
        // Whether it has documents is not looked at: to delete none does no harm.
        ...(hasDatabase ? [{ kind: 'empty database' as const, name: database, collections: RECORD_KINDS }] : []),
      ];
    case 'remove':
      return [
        ...givenBindings(environment, found).map((binding) => ({ kind: 'revoke' as const, binding })),
        ...(bucket ? [{ kind: 'remove bucket' as const, name: environment.bucket }] : []),
        ...(hasDatabase ? [{ kind: 'remove database' as const, name: database }] : []),
      ];
    case 'destroy-keys':
      return [...found.keys.values()]
        .flatMap(({ versions }) => versions)
        .filter(({ state }) => state !== 'DESTROYED' && state !== 'DESTROY_SCHEDULED')
        .map(({ name }) => ({ kind: 'destroy key version', name }));
  }
}

/** What was given to services; administrators keep theirs, since they bring keys back. */
function givenBindings(environment: Environment, found: Found): WantedBinding[] {
  return wantsOf({ ...environment, administrators: [] }).filter(
    (want): want is WantedBinding =>
      want.kind === 'binding' &&
      missingMembers(want, found.policies.get(want.resource) ?? []).length < want.members.length,
  );
}

/**
 * Why a step may not be done yet, in a sentence; undefined where it may.
 *
 * @param lives processes of the gateway that are at work, each in a few words
 */
export function obstacleTo(
  step: RemovalStep,
  environment: Environment,
  found: Found,
  lives: readonly string[],
): string | undefined {
  const bucket = found.buckets.get(environment.bucket);
  if (step !== 'stop' && lives.length > 0) {
    return `The gateway is at work (${lives.join('; ')}): do --step stop first`;
  }
  if (step === 'remove' && bucket && !bucket.isEmptying) {
    return 'The bucket is not being emptied: do --step empty first';
  }
  if (step === 'destroy-keys' && (bucket || found.databases.has(databaseName(environment)))) {
    return 'The bucket or the database is still there: do --step remove first';
  }
  return undefined;
}

const DAY = 86_400_000;

/** A flag that was left behind must not unlock anything in a year. */
const LONGEST_UNLOCK = 7 * DAY;

/** Why the file does not unlock the environment, in a sentence; undefined where it does. @param now milliseconds */
export function lockOf({ name, removableUntil }: Environment, now: number): string | undefined {
  const until = Date.parse(`${removableUntil}T23:59:59Z`);
  if (removableUntil === undefined) {
    return `${name} is locked: to take it down, write removableUntil: YYYY-MM-DD into its file, within a week from now`;
  }
  if (!(until > now)) {
    return `${name} is locked again: removableUntil was ${removableUntil}`;
  }
  return until > now + LONGEST_UNLOCK + DAY ? `${name} is locked: removableUntil must be within a week` : undefined;
}

/** As one line tells it. */
export function describeRemoval(removal: Removal): string {
  switch (removal.kind) {
    case 'empty bucket':
      return `have the lifecycle of bucket ${removal.name} delete every message, which takes a day or two`;
    case 'empty database':
      return `delete all documents of ${removal.name}`;
    case 'revoke':
      return `take ${removal.binding.role} on ${removal.binding.resource} from the services`;
    case 'remove bucket':
      return `remove bucket ${removal.name}`;
    case 'remove database':
      return `take the delete protection of ${removal.name} away, and remove it`;
    case 'destroy key version':
      return `schedule the destruction of ${removal.name}`;
  }
}
