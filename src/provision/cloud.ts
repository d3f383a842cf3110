/** The cloud of an environment: how it is found, and how each missing thing is made. */
import { Buckets } from './buckets.ts';
import { Databases } from './databases.ts';
import type { Environment } from './environment.ts';
import { KeyRings } from './key-rings.ts';
import type { CollectionPart, Found, FoundBinding, Plan, Step } from './plan.ts';
import { grant, type PolicyPlace, revoke } from './policies.ts';
import { projectPolicy } from './project-policy.ts';
import type { Removal } from './removal.ts';
import { databaseName, type Want } from './wants.ts';

export class Cloud implements AsyncDisposable {
  private readonly environment: Environment;
  private readonly keyRings: KeyRings;
  private readonly buckets: Buckets;
  private readonly databases: Databases;
  private readonly project: PolicyPlace;

  constructor(environment: Environment) {
    const { endpoints, project } = environment;
    this.environment = environment;
    this.keyRings = new KeyRings(endpoints.kms);
    this.buckets = new Buckets(project, endpoints.storage);
    this.databases = new Databases(endpoints.firestore);
    this.project = projectPolicy(project, endpoints.resourceManager);
  }

  /** Looks at all that is wanted, and changes nothing. @throws Error of the vendors' clients */
  async find(wants: readonly Want[]): Promise<Found> {
    const of = <Kind extends Want['kind']>(kind: Kind) =>
      wants.filter((want): want is Extract<Want, { kind: Kind }> => want.kind === kind);
    const [keyRings, keys, buckets, databases] = await Promise.all([
      present(of('key ring'), async (name) => (await this.keyRings.has(name)) || undefined),
      present(of('key'), (name) => this.keyRings.key(name)),
      present(of('bucket'), (name) => this.buckets.get(name)),
      present(of('database'), (name) => this.databases.get(name)),
    ]);
    const database = databaseName(this.environment);
    const collections = databases.has(database) ? await this.databases.collections(database) : new Map();
    const isThere = (resource: string) =>
      keyRings.has(resource) || keys.has(resource) || buckets.has(bucketOf(resource)) || this.isProject(resource);
    const resources = [...new Set(of('binding').map(({ resource }) => resource))].filter(isThere);
    const policies = new Map<string, readonly FoundBinding[]>();
    for (const resource of resources) {
      policies.set(resource, (await this.policyOf(resource).read()).bindings);
    }
    return { keyRings: new Set(keyRings.keys()), keys, buckets, databases, collections, policies };
  }

  /**
   * Makes what is missing, in order, and resolves when all of it can be used. What fails may be tried again by another
   * plan: each step takes what is there already for made.
   *
   * @param now milliseconds
   * @param tell is told of each step that begins
   */
  async make({ steps }: Plan, now: number, tell: (step: Step) => void): Promise<void> {
    const begun: Promise<unknown>[] = [];
    for (const step of steps.filter(({ state }) => state === 'missing')) {
      tell(step);
      begun.push(...(await this.makeOne(step, now)));
    }
    await Promise.all(begun);
  }

  /** Does one thing of taking down. What was done already is done again, to no effect. */
  async remove(removal: Removal): Promise<void> {
    switch (removal.kind) {
      case 'empty bucket':
        return this.buckets.empty(removal.name);
      case 'empty database':
        return this.databases.empty(removal.name, removal.collections);
      case 'revoke':
        return revoke(this.policyOf(removal.binding.resource), removal.binding);
      case 'remove bucket':
        return this.buckets.remove(removal.name);
      case 'remove database':
        return this.databases.remove(removal.name);
      case 'destroy key version':
        return this.keyRings.destroyVersion(removal.name);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.keyRings[Symbol.asyncDispose]();
    await this.databases[Symbol.asyncDispose]();
  }

  private async makeOne({ want, details }: Step, now: number): Promise<Promise<unknown>[]> {
    switch (want.kind) {
      case 'key ring':
        await this.keyRings.create(want.name);
        return [];
      case 'key':
        await this.keyRings.createKey(want, now);
        return [];
      case 'key version':
        await this.keyRings.ensureVersion(want.name);
        return [];
      case 'bucket':
        await this.buckets.create(want);
        return [];
      case 'database':
        await this.databases.create(want.name, want.location);
        return [];
      case 'collection':
        return this.databases.begin(databaseName(this.environment), want.name, details as CollectionPart[]);
      case 'binding':
        await grant(this.policyOf(want.resource), want);
        return [];
    }
  }

  private policyOf(resource: string): PolicyPlace {
    if (resource.startsWith('gs://')) {
      return this.buckets.policy(bucketOf(resource));
    }
    return this.isProject(resource) ? this.project : this.keyRings.policy(resource);
  }

  private isProject(resource: string): boolean {
    return resource === `projects/${this.environment.project}`;
  }
}

function bucketOf(resource: string): string {
  return resource.replace('gs://', '');
}

/** What there is of each, by name. */
async function present<There>(
  wants: readonly { readonly name: string }[],
  find: (name: string) => Promise<There | undefined>,
): Promise<Map<string, There>> {
  const found = await Promise.all(wants.map(async ({ name }) => [name, await find(name)] as const));
  return new Map(found.flatMap(([name, there]) => (there === undefined ? [] : [[name, there] as const])));
}
