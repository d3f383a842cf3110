/**
 * The object store in a bucket of Google Cloud Storage: an object's version is its generation.
 *
 * What it costs: `put` one class A operation (where it replaces something, one more and one class B), `get` two class B (an object and its custom metadata cannot be had in one),
 * `find` one, `list` one class A for each 1,000 objects, `delete` none. https://cloud.google.com/storage/pricing#operations-pricing
 */

import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { setTimeout as after } from 'node:timers/promises';
import type { ApiError, Bucket } from '@google-cloud/storage';
import {
  type Clock,
  type ObjectEntry,
  type ObjectStore,
  type PutOptions,
  type StoredObject,
  StoreError,
} from '../../../gateway/ports.ts';
import { crc32c } from '../crc32c.ts';
import { isWorthRetrying, statusOf, storeError } from './errors.ts';
import { type Note, noteOnce, readNote } from './note.ts';
import { ENTRY_FIELDS, type ObjectResource, readEntry, writeMetadata } from './object-metadata.ts';
import { type NewObject, putObject, writeUpload } from './upload.ts';

/** Milliseconds that clients wait for an answer, less what else it takes; and octets a second that a put may be slow. */
const ANSWER_PATIENCE = 4500;
const SLOWEST_PACE = 1024 * 1024;

/** The most that a page can have: https://cloud.google.com/storage/docs/json_api/v1/objects/list */
const PAGE_ENTRIES = 1000;
/** A power of two, so that an arrival is written and read without loss. */
const TICKS_PER_MS = 1024;
/** How often a body is read that was replaced, or changed on its way, or did not come, before the store counts as away. */
const READS = 4;
/** Milliseconds before the second read; twice as many before each further one. */
const READ_PAUSE = 250;
/** Printable ASCII, without what the client would replace. */
const KEY_PATTERN = /^(?!.*\{\{)[\x20-\x7e]{1,512}$/;
const PREFIX_PATTERN = /^(?!.*\{\{)[\x20-\x7e]{0,512}$/;
/** Generations are positive and have 64 bits. */
const GENERATION_PATTERN = /^[1-9]\d{0,18}$/;

interface Answer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
}

/** A body as it came. */
interface Media {
  readonly version: string;
  /** As it should be. */
  readonly checksum: string;
  readonly body: Buffer;
  /** Why it did not come. */
  readonly fault?: unknown;
}

const NOTHING: Media = { version: '', checksum: '', body: Buffer.alloc(0) };

export interface GcsObjectStoreParts {
  /** Of a client that retries always: see `openGcs`. */
  readonly bucket: Bucket;
  readonly clock: Clock;
  /** Milliseconds that an operation may take, all retries included. */
  readonly patience: number;
  /** Milliseconds that an object may stay at most, whatever its expiry. */
  readonly maxAge: number;
  /** Milliseconds from the start of a put within which it may replace what it finds. */
  readonly youth: number;
}

export class GcsObjectStore implements ObjectStore {
  private readonly bucket: Bucket;
  private readonly clock: Clock;
  private readonly patience: number;
  private readonly maxAge: number;
  private readonly youth: number;
  private lastTick = 0;
  /** The last put under a key that is under way: the next one waits for it, so that what arrived last stays. */
  private readonly putting = new Map<string, Promise<unknown>>();

  constructor({ bucket, clock, patience, maxAge, youth }: GcsObjectStoreParts) {
    this.bucket = bucket;
    this.clock = clock;
    this.patience = patience;
    this.maxAge = maxAge;
    this.youth = youth;
  }

  async put(key: string, body: Uint8Array, options: PutOptions): Promise<ObjectEntry> {
    return (await this.putWhere(key, body, options)) as ObjectEntry;
  }

  putUnless(
    key: string,
    body: Uint8Array,
    options: PutOptions,
    stays: (there: ObjectEntry) => boolean,
  ): Promise<ObjectEntry | undefined> {
    return this.putWhere(key, body, options, (found) => {
      const there = readEntry(found);
      return there !== undefined && !this.isExpired(there) && stays(there);
    });
  }

  private async putWhere(
    key: string,
    body: Uint8Array,
    { expiry, metadata = {} }: PutOptions,
    stays?: (there: ObjectResource) => boolean,
  ): Promise<ObjectEntry | undefined> {
    if (!KEY_PATTERN.test(key)) {
      throw new TypeError('An object key is 1 to 512 printable ASCII characters, without "{{"');
    }
    const entry = {
      key,
      arrival: this.nextArrival(),
      expiry: Math.min(Math.floor(expiry), Math.floor(this.clock.now() + this.maxAge)),
      size: body.length,
      metadata,
    };
    const custom = writeMetadata(entry);
    const checksum = checksumOf(body);
    // The only copy of the body: the caller may reuse its buffer.
    const upload = writeUpload(body, checksum, custom);
    const object = { key, upload, checksum, custom, replacesUntil: performance.now() + this.youth, stays };
    const stored = await this.afterOthers(key, () =>
      this.bounded('put', (signal) => this.upload(object, signal), body.length),
    );
    return stored && { ...entry, ...stored };
  }

  async get(key: string): Promise<StoredObject | undefined> {
    return this.bounded(
      'get',
      async () => {
        for (let read = 1; ; read++) {
          const [entry, media] = await Promise.all([this.look(key), this.download(key)]);
          if (!entry || !media || this.isExpired(entry)) {
            return undefined;
          }
          const isWhole = media.body.length === entry.size && checksumOf(media.body) === media.checksum;
          if (media.version === entry.version && isWhole) {
            return { ...entry, body: media.body };
          }
          if (read === READS) {
            throw new StoreError('STORE_AWAY', `Cloud Storage could not get "${key}" whole`, { cause: media.fault });
          }
          await after(READ_PAUSE * 2 ** (read - 1));
        }
      },
      Number.POSITIVE_INFINITY,
    );
  }

  async find(key: string): Promise<ObjectEntry | undefined> {
    const entry = KEY_PATTERN.test(key) ? await this.bounded('look at', () => this.look(key)) : undefined;
    return entry && !this.isExpired(entry) ? entry : undefined;
  }

  async *list(prefix: string): AsyncIterable<ObjectEntry> {
    if (!PREFIX_PATTERN.test(prefix)) {
      throw new TypeError('A prefix is up to 512 printable ASCII characters, without "{{"');
    }
    let pageToken: string | undefined;
    do {
      const page = await this.bounded('list', () => this.readPage(prefix, PAGE_ENTRIES, pageToken));
      for (const resource of page.items) {
        const entry = readEntry(resource);
        if (entry && !this.isExpired(entry)) {
          yield entry;
        }
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== undefined);
  }

  /**
   * Where the answer to a delete was lost and the client asks again, the object is gone already: then this tells false,
   * although the object went by this call.
   */
  async delete(key: string, version?: string): Promise<boolean> {
    if (!KEY_PATTERN.test(key) || (version !== undefined && !GENERATION_PATTERN.test(version))) {
      return false;
    }
    return this.bounded('delete', async () => {
      try {
        // Without a precondition the client deletes whatever is there.
        await this.bucket.file(key).delete(version === undefined ? {} : { ifGenerationMatch: version });
        return true;
      } catch (error) {
        // 412: the object has another generation. https://cloud.google.com/storage/docs/request-preconditions
        if (statusOf(error) === 404 || statusOf(error) === 412) {
          return false;
        }
        throw error;
      }
    });
  }

  /** Resolves when the bucket can be listed. @throws StoreError */
  async check(): Promise<void> {
    await this.bounded('list', () => this.readPage('', 1));
  }

  /** Leaves a note that stays, beside the objects, unless there is one. @returns what is there now. @throws StoreError */
  noteOnce(key: string, note: Note): Promise<Note> {
    return this.bounded('put', () => noteOnce(this.bucket, key, note));
  }

  /** @returns undefined where there is none @throws StoreError */
  note(key: string): Promise<Note | undefined> {
    return this.bounded('get', () => readNote(this.bucket, key));
  }

  /** @returns the generation, and when it came by the service's clock; undefined where what was there stays */
  private async upload(
    object: NewObject,
    signal: AbortSignal,
  ): Promise<{ version: string; storedAt: number } | undefined> {
    const { key, checksum } = object;
    const stored = await putObject(this.bucket, object, signal);
    if (!stored) {
      return undefined;
    }
    const { generation, crc32c: kept, timeCreated = '' } = stored;
    if (generation === undefined || kept !== checksum) {
      if (generation !== undefined) {
        await this.delete(key, `${generation}`);
      }
      throw new StoreError('STORE_AWAY', `Cloud Storage keeps other octets under "${key}" than it was given`);
    }
    return { version: `${generation}`, storedAt: Date.parse(timeCreated) };
  }

  private async look(key: string): Promise<ObjectEntry | undefined> {
    try {
      const [resource] = await this.bucket.file(key).getMetadata();
      return readEntry(resource as ObjectResource);
    } catch (error) {
      return undefinedIfMissing(error);
    }
  }

  /**
   * Reads the body; its checksum is what the service says it should be.
   *
   * The client's `createReadStream` does more than is wanted: it verifies nothing where a header is missing; where a body
   * breaks off, it closes the connections of all other requests as well; and its retries end the process, since they pipe
   * into a stream that is destroyed by then. So this reads the answer of the request below it, and `get` retries.
   */
  private async download(key: string): Promise<Media | undefined> {
    const request = this.bucket.file(key).requestStream({ uri: '', qs: { alt: 'media' }, maxRetries: 0 });
    const body = request as unknown as Readable;
    // Told more than once, of which `once` hears the first.
    body.on('error', () => {});
    try {
      const [response] = (await once(body, 'response')) as [Readable & Answer];
      // The client puts eleven on it, one more than Node takes without warning of a leak.
      response.setMaxListeners(16);
      body.resume();
      const octets = join(await Array.fromAsync(response as AsyncIterable<Buffer>));
      const { statusCode, headers } = response;
      if (statusCode !== 200) {
        throw Object.assign(new Error(`${octets}`), { code: statusCode });
      }
      const checksum = /(?:^|,)\s*crc32c=([^,]+)/.exec(headers['x-goog-hash'] ?? '')?.[1] ?? '';
      return { version: headers['x-goog-generation'] ?? '', checksum, body: octets };
    } catch (error) {
      const isAnswer = statusOf(error) !== undefined;
      return isAnswer && !isWorthRetrying(error as ApiError) ? undefinedIfMissing(error) : { ...NOTHING, fault: error };
    }
  }

  private async readPage(prefix: string, maxResults: number, pageToken?: string) {
    const [items, , response] = await this.bucket.getFiles({
      prefix,
      maxResults,
      autoPaginate: false,
      fields: `nextPageToken,items(${ENTRY_FIELDS})`,
      ...(pageToken !== undefined && { pageToken }),
    });
    // With `fields`, the client gives the resources as they are.
    return {
      items: items as unknown as ObjectResource[],
      nextPageToken: (response as { nextPageToken?: string }).nextPageToken,
    };
  }

  private async afterOthers<Value>(key: string, put: () => Promise<Value>): Promise<Value> {
    const mine = (this.putting.get(key) ?? Promise.resolve()).then(put, put);
    this.putting.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.putting.get(key) === mine) {
        this.putting.delete(key);
      }
    }
  }

  /**
   * Bounds an operation with all its retries: most have somebody at a door who waits for the answer.
   *
   * @param work gives up by its signal
   * @param octets that are sent; infinitely many where nobody waits
   * @throws StoreError
   */
  private async bounded<Value>(
    what: string,
    work: (signal: AbortSignal) => Promise<Value>,
    octets = 0,
  ): Promise<Value> {
    const patience = Math.min(this.patience, ANSWER_PATIENCE + (octets / SLOWEST_PACE) * 1000);
    const ended = new AbortController();
    const tooLate = after(patience, undefined, { signal: ended.signal }).then(
      () =>
        Promise.reject(new StoreError('STORE_AWAY', `Cloud Storage could not ${what} in ${Math.round(patience)} ms`)),
      () => new Promise<never>(() => {}),
    );
    try {
      return await Promise.race([work(ended.signal), tooLate]);
    } catch (error) {
      throw storeError(what, error);
    } finally {
      ended.abort();
    }
  }

  /** In milliseconds; later than any that was handed out before. */
  private nextArrival(): number {
    this.lastTick = Math.max(Math.floor(this.clock.now() * TICKS_PER_MS), this.lastTick + 1);
    return this.lastTick / TICKS_PER_MS;
  }

  private isExpired(entry: ObjectEntry): boolean {
    return entry.expiry < this.clock.now();
  }
}

/** In memory of its own: `Buffer.concat` would take that of small bodies from a pool. */
function join(chunks: readonly Buffer[]): Buffer {
  const whole = Buffer.alloc(chunks.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const chunk of chunks) {
    end += chunk.copy(whole, end);
  }
  return whole;
}

function undefinedIfMissing(error: unknown): undefined {
  if (statusOf(error) !== 404) {
    throw error;
  }
  return undefined;
}

/** CRC-32C in base64, big-endian: https://cloud.google.com/storage/docs/json_api/v1/objects#crc32c */
function checksumOf(octets: Uint8Array): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(crc32c(octets));
  return bytes.toString('base64');
}
