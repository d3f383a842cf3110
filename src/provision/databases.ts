/** Databases of Firestore, and how their collections expire. */
import { FirestoreAdminClient } from '@google-cloud/firestore-api';
import { grpcPlace, unlessMissing, unlessThere } from './places.ts';
import type { CollectionPart } from './plan.ts';

/** Of a field: what is there, by name. */
type Parts = Map<string, Set<CollectionPart>>;

const FIELDS = ['fields', 'mark', 'expiry'] as const;

/** https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.admin.v1#listfieldsrequest */
const OVERRIDDEN = 'indexConfig.usesAncestorConfig=false OR ttlConfig:*';

export class Databases implements AsyncDisposable {
  private readonly client: FirestoreAdminClient;

  /** @param endpoint elsewhere than at Google */
  constructor(endpoint: string | undefined) {
    this.client = new FirestoreAdminClient(grpcPlace(endpoint));
  }

  async get(name: string): Promise<{ location: string; type: string } | undefined> {
    const answer = await unlessMissing(this.client.getDatabase({ name }));
    return answer && { location: String(answer[0].locationId), type: String(answer[0].type) };
  }

  /** Resolves when it can be used. */
  async create(name: string, location: string): Promise<void> {
    const [parent = '', databaseId = ''] = name.split('/databases/');
    await unlessThere(
      this.client
        .createDatabase({
          parent,
          databaseId,
          database: {
            locationId: location,
            type: 'FIRESTORE_NATIVE',
            databaseEdition: 'STANDARD',
            deleteProtectionState: 'DELETE_PROTECTION_ENABLED',
          },
        })
        .then(([operation]) => operation.promise()),
    );
  }

  /** What is there of each collection, or in the making. */
  async collections(database: string): Promise<Parts> {
    const [fields] = await this.client.listFields({
      parent: `${database}/collectionGroups/-`,
      filter: OVERRIDDEN,
    });
    const parts: Parts = new Map();
    for (const { name, indexConfig, ttlConfig } of fields) {
      const [, collection = '', field = ''] = /\/collectionGroups\/([^/]+)\/fields\/(.+)$/.exec(name ?? '') ?? [];
      const there = parts.get(collection) ?? new Set();
      if (field === 'expiry' && ttlConfig && ttlConfig.state !== 'NEEDS_REPAIR') {
        there.add('ttl of expiry');
      }
      const isExempt = indexConfig && !indexConfig.usesAncestorConfig && (indexConfig.indexes ?? []).length === 0;
      if (isExempt && FIELDS.includes(field as 'expiry')) {
        there.add(`no index of ${field as 'expiry'}`);
      }
      parts.set(collection, there);
    }
    return parts;
  }

  /**
   * Begins to make parts of a collection. Each takes minutes, and goes on by itself.
   *
   * @returns what resolves when they are made
   */
  async begin(database: string, collection: string, parts: readonly CollectionPart[]): Promise<Promise<unknown>[]> {
    const begun: Promise<unknown>[] = [];
    for (const field of FIELDS) {
      const isExempt = parts.includes(`no index of ${field}`);
      const expires = field === 'expiry' && parts.includes('ttl of expiry');
      if (!isExempt && !expires) {
        continue;
      }
      const [operation] = await this.client.updateField({
        field: {
          name: `${database}/collectionGroups/${collection}/fields/${field}`,
          ...(isExempt && { indexConfig: { indexes: [] } }),
          ...(expires && { ttlConfig: {} }),
        },
        updateMask: { paths: [...(isExempt ? ['index_config'] : []), ...(expires ? ['ttl_config'] : [])] },
      });
      const made = operation.promise();
      // It is waited for when all have begun.
      made.catch(() => undefined);
      begun.push(made);
    }
    return begun;
  }

  /** Deletes all documents of these collections. Resolves when they are gone. */
  async empty(name: string, collectionIds: readonly string[]): Promise<void> {
    const [operation] = await this.client.bulkDeleteDocuments({ name, collectionIds: [...collectionIds] });
    await operation.promise();
  }

  /** Takes its protection away, then itself. */
  async remove(name: string): Promise<void> {
    const [unprotected] = await this.client.updateDatabase({
      database: { name, deleteProtectionState: 'DELETE_PROTECTION_DISABLED' },
      updateMask: { paths: ['delete_protection_state'] },
    });
    await unprotected.promise();
    await unlessMissing(this.client.deleteDatabase({ name }).then(([operation]) => operation.promise()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }
}
