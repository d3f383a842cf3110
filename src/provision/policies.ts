/**
 * Policies of IAM: bindings are added to what is there, by the etag of what was read, so that nobody's change is lost.
 *
 * Source: https://cloud.google.com/iam/docs/policies#etag
 */
import { type FoundBinding, isSame, missingMembers } from './plan.ts';
import type { WantedBinding } from './wants.ts';

/** As each of the services has it. */
export interface Policy {
  /** 3 where bindings have conditions. */
  readonly version: number;
  readonly etag: string;
  readonly bindings: readonly FoundBinding[];
}

/** The policy of one resource. */
export interface PolicyPlace {
  read(): Promise<Policy>;
  /** @returns false when the policy is no longer the one with that etag */
  write(policy: Policy): Promise<boolean>;
}

/** How often somebody else may be faster. */
const MOST_ROUNDS = 5;

/** The version with conditions: https://cloud.google.com/iam/docs/policies#versions */
const WITH_CONDITIONS = 3;

/** Adds the members who are missing; writes nothing where none is. @throws Error when others change the policy all the time */
export function grant(place: PolicyPlace, want: WantedBinding): Promise<void> {
  return change(place, want.resource, (there) =>
    missingMembers(want, there).length === 0 ? undefined : withBinding(there, want),
  );
}

/** Takes the role from the members; writes nothing where none has it. @throws Error as `grant` does */
export function revoke(place: PolicyPlace, want: WantedBinding): Promise<void> {
  return change(place, want.resource, (there) =>
    missingMembers(want, there).length === want.members.length ? undefined : withoutMembers(there, want),
  );
}

/** @param next gives the bindings as they are to be, or undefined where they are so already */
async function change(
  place: PolicyPlace,
  resource: string,
  next: (there: readonly FoundBinding[]) => FoundBinding[] | undefined,
): Promise<void> {
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const policy = await place.read();
    const bindings = next(policy.bindings);
    if (!bindings) {
      return;
    }
    const version = bindings.some(({ condition }) => condition) ? WITH_CONDITIONS : policy.version;
    if (await place.write({ version, etag: policy.etag, bindings })) {
      return;
    }
  }
  throw new Error(`The IAM policy of ${resource} changes all the time: try again`);
}

function withBinding(there: readonly FoundBinding[], want: WantedBinding): FoundBinding[] {
  const { role, condition } = want;
  const members = missingMembers(want, there);
  const at = there.findIndex((binding) => isSame(binding, want));
  return at < 0
    ? [...there, { role, members, ...(condition && { condition }) }]
    : there.map((one, index) => (index === at ? { ...one, members: [...one.members, ...members] } : one));
}

function withoutMembers(there: readonly FoundBinding[], want: WantedBinding): FoundBinding[] {
  return there
    .map((one) =>
      isSame(one, want) ? { ...one, members: one.members.filter((member) => !want.members.includes(member)) } : one,
    )
    .filter(({ members }) => members.length > 0);
}
