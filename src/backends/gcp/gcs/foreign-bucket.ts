/** A bucket of Cloud Storage that another program filled: its objects are listed, read whole, and deleted. */
import { type File, IdempotencyStrategy, Storage } from '@google-cloud/storage';
import { isWorthRetrying, statusOf, storeError } from './errors.ts';

/** Seconds for which one request is tried again. */
const PATIENCE = 60;

const PAGE_ENTRIES = 1000;

/** HTTP: not there any more. */
const GONE = 404;

/** An object as it was listed. */
export interface ForeignObject {
  readonly name: string;
  /** Names this very version of it. */
  readonly generation: string;
  /** Octets. */
  readonly size: number;
  /** When it was put, in milliseconds. */
  readonly created: number;
}

export interface ForeignBucket {
  readonly name: string;
  /** All objects, in the order of their names, read in pages. @throws StoreError */
  list(): AsyncIterable<ForeignObject>;
  /** @returns undefined when it is gone. @throws StoreError, also where its octets do not match its checksum */
  read(object: ForeignObject): Promise<Buffer | undefined>;
  /** Deletes this version and no newer one; one that is gone is no fault. @throws StoreError */
  delete(object: ForeignObject): Promise<void>;
}

/** @param apiEndpoint elsewhere than at Google; `STORAGE_EMULATOR_HOST` does the same */
export function foreignBucket(name: string, apiEndpoint?: string): ForeignBucket {
  const storage = new Storage({
    ...(apiEndpoint !== undefined && { apiEndpoint }),
    retryOptions: {
      totalTimeout: PATIENCE,
      retryableErrorFn: isWorthRetrying,
      // Each of them may be repeated.
      idempotencyStrategy: IdempotencyStrategy.RetryAlways,
    },
  });
  const bucket = storage.bucket(name);
  const version = ({ name: object, generation }: ForeignObject) => bucket.file(object, { generation });
  return {
    name,
    async *list() {
      let pageToken: string | undefined;
      do {
        const [files, , response] = await attempt(`list gs://${name}`, () =>
          bucket.getFiles({ autoPaginate: false, maxResults: PAGE_ENTRIES, ...(pageToken && { pageToken }) }),
        );
        yield* files.map(described);
        pageToken = (response as { nextPageToken?: string } | undefined)?.nextPageToken;
      } while (pageToken);
    },
    read: (object) =>
      attempt(`get gs://${name}/${object.name}`, async () => {
        const downloaded = await unlessGone(version(object).download({ validation: 'crc32c' }));
        return downloaded?.[0];
      }),
    delete: (object) =>
      attempt(`delete gs://${name}/${object.name}`, async () => {
        await unlessGone(version(object).delete({ ifGenerationMatch: object.generation }));
      }),
  };
}

function described({ name, metadata }: File): ForeignObject {
  const { generation, size, timeCreated } = metadata;
  return { name, generation: `${generation}`, size: Number(size), created: Date.parse(timeCreated ?? '') };
}

async function attempt<Value>(what: string, act: () => Promise<Value>): Promise<Value> {
  try {
    return await act();
  } catch (error) {
    throw storeError(what, error);
  }
}

async function unlessGone<Value>(answer: Promise<Value>): Promise<Value | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (statusOf(error) === GONE) {
      return undefined;
    }
    throw error;
  }
}
