/** Buckets for messages and who may use them, in Cloud Storage. */
import { Storage } from '@google-cloud/storage';
import type { FoundBucket } from './plan.ts';
import type { PolicyPlace } from './policies.ts';
import type { WantedBucket } from './wants.ts';

const NOT_FOUND = 404;
const CONFLICT = 409;
const PRECONDITION_FAILED = 412;

/** What the service gives with a bucket, as far as it is looked at. */
interface BucketMetadata {
  readonly location?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly iamConfiguration?: {
    readonly uniformBucketLevelAccess?: { readonly enabled?: boolean };
    readonly publicAccessPrevention?: string;
  };
  readonly softDeletePolicy?: { readonly retentionDurationSeconds?: string | number };
  readonly versioning?: { readonly enabled?: boolean };
  readonly lifecycle?: {
    readonly rule?: readonly Rule[];
  };
}

interface Rule {
  readonly action?: { readonly type?: string };
  readonly condition?: Readonly<Record<string, unknown>>;
}

export class Buckets {
  private readonly storage: Storage;

  /** @param endpoint elsewhere than at Google */
  constructor(project: string, endpoint: string | undefined) {
    this.storage = new Storage({ projectId: project, ...(endpoint !== undefined && { apiEndpoint: endpoint }) });
  }

  /** @returns undefined where there is none. @throws Error also where it is somebody else's */
  async get(name: string): Promise<FoundBucket | undefined> {
    try {
      const [metadata] = await this.storage.bucket(name).getMetadata();
      return read(metadata as unknown as BucketMetadata);
    } catch (error) {
      if (codeOf(error) === NOT_FOUND) {
        return undefined;
      }
      throw error;
    }
  }

  async create({ name, location, labels, lifecycleDays }: WantedBucket): Promise<void> {
    try {
      await this.storage.createBucket(name, {
        location,
        labels,
        iamConfiguration: {
          uniformBucketLevelAccess: { enabled: true },
          publicAccessPrevention: 'enforced',
        },
        softDeletePolicy: { retentionDurationSeconds: 0 },
        versioning: { enabled: false },
        lifecycle: { rule: [{ action: { type: 'Delete' }, condition: { daysSinceCustomTime: lifecycleDays } }] },
      } as Parameters<Storage['createBucket']>[1]);
    } catch (error) {
      // An attempt that was not answered may have made it. Somebody else's is refused when it is looked at.
      if (codeOf(error) !== CONFLICT || (await this.get(name)) === undefined) {
        throw error;
      }
    }
  }

  /** Has the service delete every object, within a day or two, in place of one request for each. */
  async empty(name: string): Promise<void> {
    const rule = [{ action: { type: 'Delete' as const }, condition: { age: 0 } }];
    await this.storage.bucket(name).setMetadata({ lifecycle: { rule } });
  }

  /** @throws Error in one line, where there are objects in it still */
  async remove(name: string): Promise<void> {
    try {
      await this.storage.bucket(name).delete();
    } catch (error) {
      if (codeOf(error) === CONFLICT) {
        throw new Error(`Bucket ${name} is not empty yet: its lifecycle takes a day or two. Run it again then`);
      }
      if (codeOf(error) !== NOT_FOUND) {
        throw error;
      }
    }
  }

  policy(name: string): PolicyPlace {
    const { iam } = this.storage.bucket(name);
    return {
      read: async () => {
        const [policy] = await iam.getPolicy({ requestedPolicyVersion: 3 });
        const {
          version = 1,
          etag = '',
          bindings = [],
        } = policy as {
          version?: number;
          etag?: string;
          bindings?: { role: string; members: string[]; condition?: { title: string; expression: string } }[];
        };
        return { version, etag, bindings };
      },
      write: async (policy) => {
        try {
          await iam.setPolicy(policy as unknown as Parameters<typeof iam.setPolicy>[0]);
          return true;
        } catch (error) {
          if (codeOf(error) === PRECONDITION_FAILED || codeOf(error) === CONFLICT) {
            return false;
          }
          throw error;
        }
      },
    };
  }
}

function read({ location = '', labels, lifecycle, versioning, softDeletePolicy, ...rest }: BucketMetadata) {
  const rules = lifecycle?.rule ?? [];
  const deleting = rules.filter(
    ({ action, condition = {} }) =>
      action?.type === 'Delete' && Object.keys(condition).join() === 'daysSinceCustomTime',
  );
  return {
    location,
    isUniform: rest.iamConfiguration?.uniformBucketLevelAccess?.enabled ?? false,
    publicAccessPrevention: rest.iamConfiguration?.publicAccessPrevention ?? 'inherited',
    softDelete: Number(softDeletePolicy?.retentionDurationSeconds ?? 0),
    isVersioned: versioning?.enabled ?? false,
    lifecycleDays: deleting.map(({ condition }) => Number(condition?.['daysSinceCustomTime'])),
    isEmptying: rules.some(isForAll),
    hasOtherRules: deleting.length < rules.length,
    labels: labels ?? {},
  };
}

function isForAll({ action, condition = {} }: Rule): boolean {
  return action?.type === 'Delete' && JSON.stringify(condition) === '{"age":0}';
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}
