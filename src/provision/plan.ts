/** What is there against what is wanted: pure, so that the same two always give the same plan. */
import type { Labels } from '../backends/gcp/kms/key-labels.ts';
import {
  AUDIT_TITLE,
  type Condition,
  type Want,
  type WantedBinding,
  type WantedBucket,
  type WantedKey,
} from './wants.ts';

/** A key as it was found. */
export interface FoundKey {
  readonly purpose: string;
  readonly algorithm: string;
  readonly protection: string;
  /** Seconds. */
  readonly rotation: number | undefined;
  readonly labels: Labels;
  /** State of the version that encrypts; of a symmetric key that has one. */
  readonly primary: string | undefined;
  readonly versions: readonly FoundVersion[];
}

export interface FoundVersion {
  readonly name: string;
  /** E.g. `ENABLED`, `DESTROY_SCHEDULED`. */
  readonly state: string;
  readonly algorithm: string;
  /** `0` and hexadecimal; of an identity key's version whose public half can be had. */
  readonly nodeId: string | undefined;
}

export interface FoundBucket {
  readonly location: string;
  readonly isUniform: boolean;
  readonly publicAccessPrevention: string;
  /** Seconds; 0 is off. */
  readonly softDelete: number;
  readonly isVersioned: boolean;
  /** `daysSinceCustomTime` of the rules that delete, where they have no other condition. */
  readonly lifecycleDays: readonly number[];
  /** Whether a rule deletes everything, whatever its time. */
  readonly isEmptying: boolean;
  /** Whether there are rules besides those for `customTime`. */
  readonly hasOtherRules: boolean;
  readonly labels: Labels;
}

export interface FoundBinding {
  readonly role: string;
  readonly members: readonly string[];
  readonly condition?: Condition | undefined;
}

/** What is still to be made of a collection. */
export type CollectionPart = 'ttl of expiry' | 'no index of fields' | 'no index of mark' | 'no index of expiry';

export const COLLECTION_PARTS: readonly CollectionPart[] = [
  'ttl of expiry',
  'no index of fields',
  'no index of mark',
  'no index of expiry',
];

/** Everything as it is in the cloud; names are those of the wants. */
export interface Found {
  readonly keyRings: ReadonlySet<string>;
  readonly keys: ReadonlyMap<string, FoundKey>;
  readonly buckets: ReadonlyMap<string, FoundBucket>;
  readonly databases: ReadonlyMap<string, { readonly location: string; readonly type: string }>;
  /** By collection: what of it is there. */
  readonly collections: ReadonlyMap<string, ReadonlySet<CollectionPart>>;
  /** By resource; those of a project have all that anybody put there. */
  readonly policies: ReadonlyMap<string, readonly FoundBinding[]>;
}

/** One thing, and what is to be done about it. */
export interface Step {
  readonly want: Want;
  /** `differs`: it is there and otherwise than wanted, which only people change. */
  readonly state: 'there' | 'missing' | 'differs';
  /** What is missing of it, or how it differs; texts for people. */
  readonly details: readonly string[];
}

export interface Plan {
  readonly steps: readonly Step[];
  /** Bindings beyond those wanted, which only people take away: `PRINCIPAL has ROLE on RESOURCE`. */
  readonly extras: readonly string[];
}

/** Whether everything is as the file says. */
export function isAsWanted({ steps, extras }: Plan): boolean {
  return extras.length === 0 && steps.every(({ state }) => state === 'there');
}

export function planOf(wants: readonly Want[], found: Found): Plan {
  return { steps: wants.map((want) => stepFor(want, found)), extras: extrasOf(wants, found) };
}

function stepFor(want: Want, found: Found): Step {
  switch (want.kind) {
    case 'key ring':
      return presence(want, found.keyRings.has(want.name));
    case 'key':
      return compared(want, found.keys.get(want.name), keyDifferences);
    case 'key version':
      return versionStep(want, found.keys.get(want.name));
    case 'bucket':
      return compared(want, found.buckets.get(want.name), bucketDifferences);
    case 'database':
      return compared(want, found.databases.get(want.name), ({ location }, there) => [
        ...difference('location', location, there.location),
        ...difference('type', 'FIRESTORE_NATIVE', there.type),
      ]);
    case 'collection':
      return lacking(
        want,
        COLLECTION_PARTS.filter((part) => !found.collections.get(want.name)?.has(part)),
      );
    case 'binding':
      return lacking(want, missingMembers(want, found.policies.get(want.resource) ?? []));
  }
}

function presence(want: Want, isThere: boolean): Step {
  return { want, state: isThere ? 'there' : 'missing', details: [] };
}

function lacking(want: Want, parts: readonly string[]): Step {
  return { want, state: parts.length === 0 ? 'there' : 'missing', details: parts };
}

function compared<Wanted extends Want, There>(
  want: Wanted,
  there: There | undefined,
  differences: (want: Wanted, there: There) => string[],
): Step {
  if (there === undefined) {
    return presence(want, false);
  }
  const details = differences(want, there);
  return { want, state: details.length === 0 ? 'there' : 'differs', details };
}

/** Destroyed versions count as none: a key that came back gets a new one. One that is disabled is somebody's decision. */
function versionStep(want: Want, key: FoundKey | undefined): Step {
  const states = key?.versions.map(({ state }) => state) ?? [];
  if (states.some(isUsable)) {
    const hasPrimary = key?.purpose !== 'ENCRYPT_DECRYPT' || isUsable(key.primary ?? '');
    return lacking(want, hasPrimary ? [] : ['none of those that can be used encrypts']);
  }
  if (states.includes('DISABLED')) {
    return { want, state: 'differs', details: ['all that are not destroyed are disabled: enable one'] };
  }
  return presence(want, false);
}

/** Whether a version in this state can be used, now or in a moment. */
export function isUsable(state: string): boolean {
  return state === 'ENABLED' || state === 'PENDING_GENERATION';
}

function keyDifferences(want: WantedKey, there: FoundKey): string[] {
  return [
    ...difference('purpose', want.purpose, there.purpose),
    ...difference('algorithm', want.algorithm, there.algorithm),
    ...difference('protection', want.protection, there.protection),
    ...difference('rotation', days(want.rotation), days(there.rotation)),
    ...labelDifferences(want.labels, there.labels),
  ];
}

function bucketDifferences(want: WantedBucket, there: FoundBucket): string[] {
  return [
    ...difference('location', want.location.toUpperCase(), there.location.toUpperCase()),
    ...difference('uniform access', 'on', onOff(there.isUniform)),
    ...difference('public access prevention', 'enforced', there.publicAccessPrevention),
    ...difference('soft delete', 'off', there.softDelete === 0 ? 'off' : `${there.softDelete} s`),
    ...difference('versioning', 'off', onOff(there.isVersioned)),
    ...difference('deletion after customTime', days(want.lifecycleDays * 86_400), lifecycleOf(there)),
    ...labelDifferences(want.labels, there.labels),
  ];
}

function lifecycleOf({ lifecycleDays, hasOtherRules }: FoundBucket): string {
  const rules = [...lifecycleDays.map((count) => days(count * 86_400)), ...(hasOtherRules ? ['other rules'] : [])];
  return rules.join(' and ') || 'none';
}

function labelDifferences(wanted: Labels, there: Labels): string[] {
  return Object.entries(wanted).flatMap(([label, value]) =>
    difference(`label ${label}`, value, there[label] ?? 'none'),
  );
}

function difference(what: string, wanted: string, there: string): string[] {
  return wanted === there ? [] : [`${what} is ${there} instead of ${wanted}`];
}

function days(seconds: number | undefined): string {
  return seconds === undefined ? 'none' : `${seconds / 86_400} d`;
}

function onOff(isOn: boolean): string {
  return isOn ? 'on' : 'off';
}

/** Principals that do not have the role yet, under the very condition. */
export function missingMembers(want: WantedBinding, there: readonly FoundBinding[]): string[] {
  const having = new Set(there.filter((binding) => isSame(binding, want)).flatMap(({ members }) => members));
  return want.members.filter((member) => !having.has(member));
}

/** Whether the two give the same role under the same condition. */
export function isSame(
  one: Pick<FoundBinding, 'role' | 'condition'>,
  other: Pick<WantedBinding, 'role' | 'condition'>,
) {
  return one.role === other.role && one.condition?.expression === other.condition?.expression;
}

/** What projects give to their owners by themselves. */
const BY_ITSELF = /^project(Owner|Editor|Viewer):/;

/** A project's policy is everybody's, so that nothing in it is too much. */
function extrasOf(wants: readonly Want[], { policies }: Found): string[] {
  const bindings = wants.filter((want) => want.kind === 'binding');
  return [...policies].flatMap(([resource, there]) =>
    resource.startsWith('projects/') && !resource.includes('/keyRings/')
      ? []
      : there.flatMap((binding) => {
          const wanted = new Set(
            bindings.filter((want) => want.resource === resource && isSame(binding, want)).flatMap((w) => w.members),
          );
          return binding.members
            .filter(
              (member) => !wanted.has(member) && !BY_ITSELF.test(member) && binding.condition?.title !== AUDIT_TITLE,
            )
            .map((member) => `${member} has ${binding.role} on ${resource}`);
        }),
  );
}
