/**
 * Google Cloud Storage as far as the gateway uses it, over its JSON API, in memory, on loopback.
 *
 * It is for the vendor's unmodified client. Each behaviour names the page that describes it.
 */

import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { type EmulatedPolicy, Policies, principalOf } from '../iam.ts';
import { ApiFault } from './api-fault.ts';
import { Bucket, type BucketMetadata, type LiveObject, type UploadedMetadata } from './bucket.ts';
import { type Fault, Faults, type Operation } from './faults.ts';
import { readMultipart, Sessions } from './uploads.ts';

/** More than the largest upload of the tests; the service takes 5 TiB. */
const MAX_REQUEST = 64 * 1024 * 1024;

/**
 * `/storage/v1` is where the JSON API is: https://cloud.google.com/storage/docs/json_api#paths. The client leaves it out
 * where it has the service's place from `STORAGE_EMULATOR_HOST`.
 */
const OBJECT_PATH = /^(?:\/storage\/v1|\/download\/storage\/v1)?\/b\/([^/]+)\/o\/([^/]+)$/;
const OBJECTS_PATH = /^(?:\/storage\/v1)?\/b\/([^/]+)\/o$/;
const UPLOAD_PATH = /^\/upload\/storage\/v1\/b\/([^/]+)\/o$/;
const BUCKET_PATH = /^(?:\/storage\/v1)?\/b\/([^/]+)$/;
const IAM_PATH = /^(?:\/storage\/v1)?\/b\/([^/]+)\/iam$/;
const BUCKETS_PATH = /^(?:\/storage\/v1)?\/b$/;

export interface GcsEmulator extends AsyncDisposable {
  /** Goes into the client's `apiEndpoint`, or into `STORAGE_EMULATOR_HOST`. */
  readonly url: string;
  /** Another URL of the same, where every request is in somebody's name, as from a pod with its account. */
  urlFor(principal: string): Promise<string>;
  readonly faults: Faults;
  /** What was asked for, in order, whatever came of it. */
  readonly operations: Operation[];
  /** Who may do what with each bucket, by `gs://NAME`. */
  readonly policies: Policies;
  bucket(name: string): Bucket;
  /** Resolves when the next answer to such a request is settled: nothing that comes later changes it. */
  answered(operation: Operation): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | object;
}

/** @param deletedDaysAfterCustomTime the lifecycle rule of the first bucket */
export async function startGcsEmulator({
  bucket = 'messages',
  now = Date.now,
  deletedDaysAfterCustomTime,
  port = 0,
}: {
  bucket?: string;
  now?: () => number;
  deletedDaysAfterCustomTime?: number;
  port?: number;
} = {}): Promise<GcsEmulator> {
  const service = new Service(now);
  service.buckets.set(bucket, new Bucket(bucket, now, deletedDaysAfterCustomTime));
  const servers: Server[] = [];
  const listen = async (at: number, principal?: string) => {
    const server = createServer((request, response) => {
      if (principal !== undefined) {
        request.headers.authorization = `Bearer ${principal}`;
      }
      service.serve(request, response).catch((error: Error) => response.destroy(error));
    });
    servers.push(server);
    server.listen(at, '127.0.0.1');
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  service.url = await listen(port);
  return {
    url: service.url,
    urlFor: (principal) => listen(0, principal),
    faults: service.faults,
    operations: service.operations,
    policies: service.policies,
    bucket: (name) => service.find(name),
    async answered(operation) {
      await once(service.answers, operation);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(
        servers.map(async (server) => {
          const closed = once(server, 'close');
          server.close();
          server.closeAllConnections();
          await closed;
        }),
      );
    },
  };
}

class Service {
  readonly buckets = new Map<string, Bucket>();
  readonly faults = new Faults();
  readonly operations: Operation[] = [];
  readonly policies = new Policies();
  readonly answers = new EventEmitter();
  url = '';
  private readonly sessions = new Sessions();
  private readonly now: () => number;

  constructor(now: () => number) {
    this.now = now;
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams: query } = new URL(request.url ?? '', this.url);
    const body = await readAll(request);
    const operation = operationOf(request.method ?? '', pathname, query);
    let fault: Fault | undefined;
    if (operation) {
      this.operations.push(operation);
      fault = this.faults.take(operation);
    }
    if (fault?.kind === 'hold') {
      response.once('close', fault.abandoned);
      fault.reached();
      await fault.released;
      if (response.closed && !fault.isInHand) {
        return;
      }
    } else if (fault?.kind === 'delay') {
      await setTimeout(fault.ms);
    } else if (fault?.kind === 'silence') {
      return;
    } else if (fault?.kind === 'drop') {
      request.socket.destroy();
      return;
    }
    const answer = this.answer(request, pathname, query, body, fault);
    if (operation) {
      this.answers.emit(operation);
    }
    if (fault?.kind === 'drop-answer') {
      request.socket.destroy();
      return;
    }
    await send(response, answer, fault?.kind === 'drop-within');
  }

  find(name: string): Bucket {
    const bucket = this.buckets.get(name);
    if (!bucket) {
      throw new ApiFault(404, 'notFound', 'The specified bucket does not exist.');
    }
    return bucket;
  }

  private answer(
    request: IncomingMessage,
    pathname: string,
    query: URLSearchParams,
    body: Buffer,
    fault: Fault | undefined,
  ): Answer {
    try {
      if (fault?.kind === 'status') {
        throw new ApiFault(fault.status, fault.reason, `Fault on demand: ${fault.reason}`);
      }
      this.assertAllowed(request, pathname, operationOf(request.method ?? '', pathname, query));
      return this.route(request, pathname, query, body, fault);
    } catch (error) {
      if (error instanceof ApiFault) {
        return { status: error.status, body: error.document };
      }
      throw error;
    }
  }

  private route(
    request: IncomingMessage,
    pathname: string,
    query: URLSearchParams,
    body: Buffer,
    fault: Fault | undefined,
  ): Answer {
    const [, bucketName, objectName] = (OBJECT_PATH.exec(pathname) ?? []).map(decodeURIComponent);
    if (bucketName !== undefined && objectName !== undefined) {
      return this.onObject(this.find(bucketName), objectName, request.method ?? '', query, fault);
    }
    const uploadTo = UPLOAD_PATH.exec(pathname)?.[1];
    if (uploadTo !== undefined) {
      return this.upload(this.find(decodeURIComponent(uploadTo)), request, query, body, fault);
    }
    const listed = OBJECTS_PATH.exec(pathname)?.[1];
    if (listed !== undefined && request.method === 'GET') {
      return this.list(this.find(decodeURIComponent(listed)), query);
    }
    const bucket = BUCKET_PATH.exec(pathname)?.[1];
    if (bucket !== undefined) {
      return this.onBucket(this.find(decodeURIComponent(bucket)), request.method ?? '', body);
    }
    const guarded = IAM_PATH.exec(pathname)?.[1];
    if (guarded !== undefined) {
      return this.onPolicy(this.find(decodeURIComponent(guarded)), request.method ?? '', body);
    }
    if (BUCKETS_PATH.test(pathname) && request.method === 'POST') {
      return this.makeBucket(JSON.parse(body.toString()));
    }
    throw new ApiFault(404, 'notFound', `Not emulated: ${request.method} ${pathname}`);
  }

  /** https://cloud.google.com/storage/docs/json_api/v1/buckets/insert */
  private makeBucket({ name, ...metadata }: BucketMetadata & { name: string }): Answer {
    if (this.buckets.has(name)) {
      throw new ApiFault(409, 'conflict', 'Your previous request to create the named bucket succeeded');
    }
    const bucket = new Bucket(name, this.now);
    // Soft delete is on where it is not said: https://cloud.google.com/storage/docs/soft-delete
    bucket.metadata = { softDeletePolicy: { retentionDurationSeconds: '604800' }, ...metadata };
    this.buckets.set(name, bucket);
    return { status: 200, body: bucketResource(bucket) };
  }

  /** https://cloud.google.com/storage/docs/json_api/v1/buckets/patch: what is named takes the place of what was. */
  private onBucket(bucket: Bucket, method: string, body: Buffer): Answer {
    if (method === 'PATCH') {
      bucket.metadata = { ...bucket.metadata, ...(JSON.parse(body.toString()) as BucketMetadata) };
    } else if (method === 'DELETE') {
      if (bucket.size > 0) {
        throw new ApiFault(409, 'conflict', 'The bucket you tried to delete is not empty.');
      }
      this.buckets.delete(bucket.name);
      return { status: 204 };
    } else if (method !== 'GET') {
      throw new ApiFault(405, 'methodNotAllowed', `Not emulated: ${method}`);
    }
    return { status: 200, body: bucketResource(bucket) };
  }

  /** https://cloud.google.com/storage/docs/json_api/v1/buckets/setIamPolicy */
  private onPolicy({ name }: Bucket, method: string, body: Buffer): Answer {
    const resource = `gs://${name}`;
    if (method !== 'PUT') {
      return { status: 200, body: { kind: 'storage#policy', ...this.policies.get(resource) } };
    }
    const { version = 1, etag = '', bindings = [] } = JSON.parse(body.toString()) as Partial<EmulatedPolicy>;
    const policy = this.policies.set(resource, { version, etag, bindings });
    if (!policy) {
      throw new ApiFault(412, 'conditionNotMet', 'The etag is not that of the policy.');
    }
    return { status: 200, body: { kind: 'storage#policy', ...policy } };
  }

  /** https://cloud.google.com/storage/docs/access-control/iam-permissions */
  private assertAllowed(request: IncomingMessage, pathname: string, operation: Operation | undefined): void {
    const permission = `storage.${(operation ?? 'objects.get').replace('media', 'get').replace('insert', 'create')}`;
    const name = /\/b\/([^/]+)/.exec(pathname)?.[1] ?? '';
    const principal = principalOf(request.headers.authorization);
    if (!this.policies.allows(principal, permission, [`gs://${decodeURIComponent(name)}`])) {
      throw new ApiFault(403, 'forbidden', `${principal} does not have ${permission} access.`);
    }
  }

  private onObject(
    bucket: Bucket,
    name: string,
    method: string,
    query: URLSearchParams,
    fault: Fault | undefined,
  ): Answer {
    if (method === 'DELETE') {
      bucket.delete(name, query);
      return { status: 204 };
    }
    if (method !== 'GET') {
      throw new ApiFault(405, 'methodNotAllowed', `Not emulated: ${method}`);
    }
    const object = bucket.get(name, query);
    if (query.get('alt') !== 'media') {
      return { status: 200, body: resourceOf(bucket, object, this.url) };
    }
    // https://cloud.google.com/storage/docs/json_api/v1/parameters#alt. Custom metadata comes with no header here; the
    // XML API alone has such: https://cloud.google.com/storage/docs/xml-api/reference-headers#xgoogmeta
    return {
      status: 200,
      headers: {
        'content-type': object.contentType,
        'x-goog-generation': `${object.generation}`,
        'x-goog-metageneration': `${object.metageneration}`,
        'x-goog-stored-content-encoding': 'identity',
        'x-goog-stored-content-length': `${object.body.length}`,
        // https://cloud.google.com/storage/docs/xml-api/reference-headers#xgooghash
        ...(fault?.kind !== 'no-checksum' && { 'x-goog-hash': `crc32c=${object.crc32c},md5=${object.md5Hash}` }),
      },
      body: fault?.kind === 'corrupt' ? changed(object.body) : object.body,
    };
  }

  private upload(
    bucket: Bucket,
    request: IncomingMessage,
    query: URLSearchParams,
    body: Buffer,
    fault: Fault | undefined,
  ): Answer {
    const id = query.get('upload_id');
    if (id !== null) {
      const put = this.sessions.put(id, request.headers['content-range'], body);
      if (typeof put === 'number') {
        return { status: 308, headers: put > 0 ? { range: `bytes=0-${put - 1}` } : {} };
      }
      return this.keep(bucket, put.metadata, put.body, put.query, fault);
    }
    const type = query.get('uploadType');
    if (type === 'resumable') {
      const session = this.sessions.begin(bucket.name, JSON.parse(`${body}` || '{}') as UploadedMetadata, query);
      const location = `${this.url}/upload/storage/v1/b/${bucket.name}/o?uploadType=resumable&upload_id=${session}`;
      return { status: 200, headers: { location } };
    }
    if (type === 'multipart') {
      const upload = readMultipart(request.headers['content-type'] ?? '', body);
      return this.keep(bucket, upload.metadata, upload.body, query, fault);
    }
    throw new ApiFault(400, 'badRequest', `Not emulated: uploadType=${type}`);
  }

  private keep(
    bucket: Bucket,
    metadata: UploadedMetadata,
    body: Buffer,
    query: URLSearchParams,
    fault: Fault | undefined,
  ): Answer {
    const isCorrupt = fault?.kind === 'corrupt' || fault?.kind === 'keep-corrupt';
    const object = bucket.insert(metadata, isCorrupt ? changed(body) : body, query, fault?.kind !== 'keep-corrupt');
    return { status: 200, body: resourceOf(bucket, object, this.url) };
  }

  private list(bucket: Bucket, query: URLSearchParams): Answer {
    const { items, prefixes, nextPageToken } = bucket.list(query);
    // https://cloud.google.com/storage/docs/json_api#partial-response: of the syntax of `fields`, what `items(…)` names
    const wanted = /items\(([^)]*)\)/.exec(query.get('fields') ?? '')?.[1]?.split(',');
    const resources = items.map((object) => {
      const resource = Object.entries(resourceOf(bucket, object, this.url));
      return Object.fromEntries(wanted ? resource.filter(([name]) => wanted.includes(name)) : resource);
    });
    return {
      status: 200,
      body: {
        ...(!wanted && { kind: 'storage#objects' }),
        ...(resources.length > 0 && { items: resources }),
        ...(prefixes.length > 0 && { prefixes }),
        ...(nextPageToken !== undefined && { nextPageToken }),
      },
    };
  }
}

function operationOf(method: string, pathname: string, query: URLSearchParams): Operation | undefined {
  if (UPLOAD_PATH.test(pathname)) {
    return 'objects.insert';
  }
  if (OBJECT_PATH.test(pathname)) {
    if (method === 'DELETE') {
      return 'objects.delete';
    }
    return query.get('alt') === 'media' ? 'objects.media' : 'objects.get';
  }
  if (OBJECTS_PATH.test(pathname)) {
    return 'objects.list';
  }
  if (IAM_PATH.test(pathname)) {
    return method === 'PUT' ? 'buckets.setIamPolicy' : 'buckets.getIamPolicy';
  }
  if (method === 'PATCH' || method === 'DELETE') {
    return method === 'PATCH' ? 'buckets.patch' : 'buckets.delete';
  }
  return method === 'POST' ? 'buckets.insert' : 'buckets.get';
}

function bucketResource({ name, metadata }: Bucket): object {
  const { location = 'US', ...rest } = metadata;
  return { kind: 'storage#bucket', id: name, name, location: location.toUpperCase(), ...rest };
}

/** 64-bit numbers are strings: https://cloud.google.com/storage/docs/json_api/v1/objects#resource */
function resourceOf(bucket: Bucket, object: LiveObject, url: string): object {
  const { name, generation, metageneration, body, timeCreated } = object;
  const selfLink = `${url}/storage/v1/b/${bucket.name}/o/${encodeURIComponent(name)}`;
  return {
    kind: 'storage#object',
    id: `${bucket.name}/${name}/${generation}`,
    selfLink,
    mediaLink: `${url}/download/storage/v1/b/${bucket.name}/o/${encodeURIComponent(name)}?generation=${generation}&alt=media`,
    name,
    bucket: bucket.name,
    generation: `${generation}`,
    metageneration: `${metageneration}`,
    contentType: object.contentType,
    storageClass: 'STANDARD',
    size: `${body.length}`,
    md5Hash: object.md5Hash,
    crc32c: object.crc32c,
    timeCreated,
    updated: timeCreated,
    ...(object.customTime !== undefined && { customTime: object.customTime }),
    ...(object.metadata && { metadata: object.metadata }),
  };
}

async function send(response: ServerResponse, { status, headers, body }: Answer, dropsWithin: boolean): Promise<void> {
  const isOctets = Buffer.isBuffer(body);
  const octets = isOctets ? body : Buffer.from(body ? JSON.stringify(body) : '');
  response.writeHead(status, {
    ...(body && !isOctets && { 'content-type': 'application/json; charset=UTF-8' }),
    ...(status !== 204 && { 'content-length': octets.length }),
    ...headers,
  });
  if (dropsWithin) {
    await new Promise((resolve) => response.write(octets.subarray(0, octets.length / 2), resolve));
    response.destroy();
    return;
  }
  response.end(octets);
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let octets = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    octets += chunk.length;
    if (octets > MAX_REQUEST) {
      throw new Error('Request is too large for the emulator');
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function changed(octets: Buffer): Buffer {
  const copy = Buffer.from(octets);
  copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
  return copy;
}
