/**
 * Puts an object so that it never takes the place of a newer one, however late its answer comes, or the upload itself.
 *
 * Each upload is one request under a precondition: the first, that there is nothing under the key, as is the case with
 * nearly every message, and each further one, that what a look has shown is still there. Who gives up closes the
 * connection. What remains possible is in docs/decisions/0038-late-puts.md.
 */
import { setTimeout as after } from 'node:timers/promises';
import { ApiError, type Bucket } from '@google-cloud/storage';
import { gaxios } from 'google-auth-library';
import { StoreError } from '../../../gateway/ports.ts';
import { isWorthRetrying, statusOf } from './errors.ts';
import type { ObjectResource, WrittenMetadata } from './object-metadata.ts';

const CONTENT_TYPE = 'application/octet-stream';

/** As a precondition: there is nothing. https://cloud.google.com/storage/docs/request-preconditions#special-case */
const NOTHING = '0';

/** Milliseconds before the first repetition, at least; twice as many before each further one. */
const PAUSE = 250;
const REPETITIONS = 5;

/** HTTP statuses by which the service says that nothing was done: too many requests, octets that changed on their way. */
const NOTHING_DONE: readonly (number | undefined)[] = [400, 429];

/** An object that is to be put. */
export interface NewObject {
  readonly key: string;
  /** Made by `writeUpload`. */
  readonly upload: Upload;
  /** CRC-32C as the service writes it. */
  readonly checksum: string;
  readonly custom: WrittenMetadata;
  /** Until when it may replace what it finds, as `performance.now()` tells. */
  readonly replacesUntil: number;
  /** Asked of what is under the key, which is not replaced then. Else it may be newer still, where dates are the same. */
  readonly stays?: ((there: ObjectResource) => boolean) | undefined;
}

/** The body of a request that uploads an object. */
export interface Upload {
  readonly contentType: string;
  readonly octets: Buffer;
}

/**
 * Writes the request's body, in which `body` is copied once.
 * https://cloud.google.com/storage/docs/uploading-objects#uploading-an-object (multipart)
 */
export function writeUpload(body: Uint8Array, checksum: string, custom: WrittenMetadata): Upload {
  const boundary = crypto.randomUUID();
  const metadata = JSON.stringify({ contentType: CONTENT_TYPE, crc32c: checksum, ...custom });
  const head = Buffer.from(
    `--${boundary}\r\nContent-Type: application/json\r\n\r\n${metadata}\r\n` +
      `--${boundary}\r\nContent-Type: ${CONTENT_TYPE}\r\n\r\n`,
  );
  return {
    contentType: `multipart/related; boundary=${boundary}`,
    octets: Buffer.concat([head, body, Buffer.from(`\r\n--${boundary}--`)]),
  };
}

/**
 * Puts the object, and tries again after faults.
 *
 * @param signal gives up: nothing is asked for any more, and what is under way is broken off
 * @returns what the service has under the key now; undefined where what was there stays
 * @throws ApiError; StoreError STORE_AWAY, where something is in its place that may be newer
 */
export async function putObject(
  bucket: Bucket,
  object: NewObject,
  signal: AbortSignal,
): Promise<ObjectResource | undefined> {
  const { stays } = object;
  let there = NOTHING;
  let isInDoubt = false;
  for (let repetitions = 0; ; ) {
    try {
      return await insert(bucket, object, there, signal);
    } catch (error) {
      if (statusOf(error) === 412) {
        const found = await look(bucket, object.key);
        if (found && isSame(found, object)) {
          // It was stored, and only its answer was lost.
          return found;
        }
        if (found && stays?.(found)) {
          return undefined;
        }
        if (found && (isInDoubt || performance.now() >= object.replacesUntil)) {
          throw new StoreError('STORE_AWAY', `Something else came under "${object.key}" in Cloud Storage meanwhile`);
        }
        there = `${found?.generation ?? NOTHING}`;
      } else if (isWorthRetrying(error as ApiError) && repetitions < REPETITIONS && !signal.aborted) {
        // Whether it was stored is unknown: what is found after this may have replaced it.
        isInDoubt ||= !NOTHING_DONE.includes(statusOf(error));
        await after(PAUSE * 2 ** repetitions * (1 + Math.random()), undefined, { signal });
        repetitions++;
      } else {
        throw error;
      }
    }
  }
}

/**
 * One request, below the client's `save`: that cannot be given up, so that it may still be carried out long after it was
 * answered for with 503. Credentials and connections are those of Google's library, which the client has its own from.
 */
async function insert(
  { name, storage }: Bucket,
  { key, upload }: NewObject,
  ifGenerationMatch: string,
  signal: AbortSignal,
): Promise<ObjectResource> {
  const query = new URLSearchParams({ uploadType: 'multipart', name: key, ifGenerationMatch });
  const request = {
    method: 'POST' as const,
    url: `${storage.apiEndpoint}/upload/storage/v1/b/${encodeURIComponent(name)}/o?${query}`,
    headers: { 'content-type': upload.contentType },
    data: upload.octets,
    responseType: 'json' as const,
    signal,
  };
  try {
    const { data } = storage.customEndpoint
      ? await gaxios.request<ObjectResource>(request)
      : await storage.authClient.request<ObjectResource>(request);
    return data;
  } catch (error) {
    throw apiError(error);
  }
}

/** As the client tells of it: without the request, which has credentials and the whole message. */
function apiError(error: unknown): unknown {
  if (!(error instanceof gaxios.GaxiosError)) {
    return error;
  }
  const { message, code, response } = error;
  if (!response) {
    return Object.assign(new Error(message), { code });
  }
  const told = (response.data as { error?: unknown } | undefined)?.error;
  return typeof told === 'object' && told
    ? new ApiError(told as ConstructorParameters<typeof ApiError>[0])
    : Object.assign(new Error(`Answer ${response.status}`), { code: response.status });
}

async function look(bucket: Bucket, key: string): Promise<ObjectResource | undefined> {
  try {
    const [resource] = await bucket.file(key).getMetadata();
    return resource as ObjectResource;
  } catch (error) {
    if (statusOf(error) !== 404) {
      throw error;
    }
    return undefined;
  }
}

/** Arrivals differ for each put of a process, and the ids in metadata for most of different ones. */
function isSame({ crc32c, metadata }: ObjectResource, { checksum, custom }: NewObject): boolean {
  const names = Object.keys(custom.metadata) as (keyof typeof custom.metadata)[];
  return crc32c === checksum && names.every((name) => metadata?.[name] === custom.metadata[name]);
}
