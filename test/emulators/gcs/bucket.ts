/** A bucket: live objects with their generations, preconditions, listing and lifecycle. */

import { createHash } from 'node:crypto';
import { CRC32C } from '@google-cloud/storage';
import { ApiFault } from './api-fault.ts';

const DAY = 86_400_000;
/** https://cloud.google.com/storage/docs/json_api/v1/objects/list: "maxResults … default 1,000 items" */
const MAX_PAGE = 1000;
/** https://cloud.google.com/storage/quotas#objects: custom metadata, names and values together */
const MAX_CUSTOM_METADATA = 8 * 1024;
/** https://cloud.google.com/storage/docs/objects#naming: 1 to 1,024 octets in UTF-8, no carriage return or line feed */
const MAX_NAME = 1024;

/** https://cloud.google.com/storage/docs/json_api/v1/buckets#resource */
export interface BucketMetadata {
  readonly location?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly lifecycle?: {
    readonly rule: readonly {
      readonly action: { readonly type: string };
      readonly condition: { readonly daysSinceCustomTime?: number; readonly age?: number };
    }[];
  };
  readonly versioning?: { readonly enabled: boolean };
  readonly softDeletePolicy?: { readonly retentionDurationSeconds: number | string };
  readonly iamConfiguration?: object;
}

/** What an upload may say of its object. https://cloud.google.com/storage/docs/json_api/v1/objects/insert */
export interface UploadedMetadata {
  readonly name?: string;
  readonly contentType?: string;
  readonly crc32c?: string;
  readonly md5Hash?: string;
  readonly customTime?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** https://cloud.google.com/storage/docs/json_api/v1/objects#resource */
export interface LiveObject {
  readonly name: string;
  readonly generation: bigint;
  readonly metageneration: 1;
  readonly contentType: string;
  readonly crc32c: string;
  readonly md5Hash: string;
  readonly customTime: string | undefined;
  readonly metadata: Readonly<Record<string, string>> | undefined;
  readonly timeCreated: string;
  readonly body: Buffer;
}

export interface Listing {
  readonly items: readonly LiveObject[];
  readonly prefixes: readonly string[];
  readonly nextPageToken: string | undefined;
}

export class Bucket {
  readonly name: string;
  /** What was asked for when it was made, or later: https://cloud.google.com/storage/docs/json_api/v1/buckets#resource */
  metadata: BucketMetadata = {};
  private readonly objects = new Map<string, LiveObject>();
  private readonly now: () => number;
  private lastGeneration = 0n;

  constructor(name: string, now: () => number, deletedDaysAfterCustomTime?: number) {
    this.name = name;
    this.now = now;
    if (deletedDaysAfterCustomTime !== undefined) {
      const condition = { daysSinceCustomTime: deletedDaysAfterCustomTime };
      this.metadata = { lifecycle: { rule: [{ action: { type: 'Delete' }, condition }] } };
    }
  }

  /** https://cloud.google.com/storage/docs/lifecycle#dayssincecustomtime; undefined: no such rule */
  get deletedDaysAfterCustomTime(): number | undefined {
    return this.metadata.lifecycle?.rule.find(({ action }) => action.type === 'Delete')?.condition.daysSinceCustomTime;
  }

  get size(): number {
    return this.objects.size;
  }

  /**
   * Replaces the live object. Both checksums, where given, are compared with what came before anything is kept:
   * https://cloud.google.com/storage/docs/data-validation#json_api
   */
  insert(metadata: UploadedMetadata, body: Buffer, query: URLSearchParams, comparesChecksums = true): LiveObject {
    const name = query.get('name') ?? metadata.name ?? '';
    if (name === '' || Buffer.byteLength(name) > MAX_NAME || /[\r\n]/.test(name) || name === '.' || name === '..') {
      throw new ApiFault(400, 'invalid', 'Invalid object name');
    }
    const checksum = new CRC32C();
    checksum.update(body);
    const crc32c = checksum.toString();
    const md5Hash = createHash('md5').update(body).digest('base64');
    if (comparesChecksums) {
      assertSame('CRC32C', metadata.crc32c, crc32c);
      assertSame('MD5 hash', metadata.md5Hash, md5Hash);
    }
    const customOctets = Object.entries(metadata.metadata ?? {})
      .flat()
      .join('');
    if (Buffer.byteLength(customOctets) > MAX_CUSTOM_METADATA) {
      throw new ApiFault(400, 'invalid', 'Custom metadata is too large');
    }
    if (metadata.customTime !== undefined && Number.isNaN(Date.parse(metadata.customTime))) {
      throw new ApiFault(400, 'invalid', 'Invalid customTime');
    }
    this.assertPreconditions(this.objects.get(name), query);
    const object: LiveObject = {
      name,
      generation: this.nextGeneration(),
      metageneration: 1,
      contentType: metadata.contentType ?? 'application/octet-stream',
      crc32c,
      md5Hash,
      customTime: metadata.customTime,
      metadata: metadata.metadata,
      timeCreated: new Date(this.now()).toISOString(),
      body,
    };
    this.objects.set(name, object);
    return object;
  }

  /** The bucket keeps no older versions, so that another `generation` is not there. */
  get(name: string, query: URLSearchParams): LiveObject {
    const object = this.objects.get(name);
    const generation = query.get('generation');
    if (!object || (generation !== null && generation !== `${object.generation}`)) {
      throw new ApiFault(404, 'notFound', `No such object: ${this.name}/${name}`);
    }
    this.assertPreconditions(object, query);
    return object;
  }

  delete(name: string, query: URLSearchParams): void {
    this.get(name, query);
    this.objects.delete(name);
  }

  /** In the order of names in UTF-8. https://cloud.google.com/storage/docs/json_api/v1/objects/list */
  list(query: URLSearchParams): Listing {
    const prefix = query.get('prefix') ?? '';
    const delimiter = query.get('delimiter') ?? '';
    const limit = Math.min(Number(query.get('maxResults') ?? MAX_PAGE) || MAX_PAGE, MAX_PAGE);
    const after = Buffer.from(query.get('pageToken') ?? '', 'base64url');
    const names = [...this.objects.keys()]
      .filter((name) => name.startsWith(prefix))
      .map((name) => Buffer.from(name))
      .filter((name) => after.length === 0 || Buffer.compare(name, after) > 0)
      .sort(Buffer.compare);
    const items: LiveObject[] = [];
    const prefixes = new Set<string>();
    for (const [index, octets] of names.entries()) {
      const name = octets.toString();
      const end = delimiter === '' ? -1 : name.indexOf(delimiter, prefix.length);
      if (end < 0) {
        items.push(this.objects.get(name) as LiveObject);
      } else {
        prefixes.add(name.slice(0, end + delimiter.length));
      }
      if (items.length + prefixes.size >= limit && index < names.length - 1) {
        return { items, prefixes: [...prefixes], nextPageToken: octets.toString('base64url') };
      }
    }
    return { items, prefixes: [...prefixes], nextPageToken: undefined };
  }

  /**
   * What the service does some time after a rule's conditions are met: it promises no time, so the emulator waits to be
   * asked. https://cloud.google.com/storage/docs/lifecycle#behavior
   *
   * @returns how many objects it deleted
   */
  applyLifecycle(): number {
    const conditions = (this.metadata.lifecycle?.rule ?? []).map(({ condition }) => condition);
    const isOver = (since: string | undefined, days: number | undefined) =>
      since !== undefined && days !== undefined && Date.parse(since) + days * DAY <= this.now();
    const over = [...this.objects.values()].filter(({ customTime, timeCreated }) =>
      conditions.some(
        ({ daysSinceCustomTime, age }) => isOver(customTime, daysSinceCustomTime) || isOver(timeCreated, age),
      ),
    );
    for (const { name } of over) {
      this.objects.delete(name);
    }
    return over.length;
  }

  /** https://cloud.google.com/storage/docs/request-preconditions: 0 stands for no live object. */
  private assertPreconditions(object: LiveObject | undefined, query: URLSearchParams): void {
    const generation = `${object?.generation ?? 0}`;
    const metageneration = `${object?.metageneration ?? 0}`;
    const unmet =
      !isMet(query.get('ifGenerationMatch'), (wanted) => wanted === generation) ||
      !isMet(query.get('ifMetagenerationMatch'), (wanted) => wanted === metageneration) ||
      !isMet(query.get('ifGenerationNotMatch'), (unwanted) => unwanted !== generation);
    if (unmet) {
      throw new ApiFault(412, 'conditionNotMet', 'At least one of the pre-conditions you specified did not hold.');
    }
  }

  /** Generations grow with each write. https://cloud.google.com/storage/docs/metadata#generation-number */
  private nextGeneration(): bigint {
    const now = BigInt(Math.floor(this.now() * 1000));
    this.lastGeneration = now > this.lastGeneration ? now : this.lastGeneration + 1n;
    return this.lastGeneration;
  }
}

function isMet(wanted: string | null, holds: (wanted: string) => boolean): boolean {
  return wanted === null || holds(wanted);
}

function assertSame(what: string, given: string | undefined, calculated: string): void {
  if (given !== undefined && given !== calculated) {
    throw new ApiFault(400, 'invalid', `Provided ${what} "${given}" doesn't match calculated ${what} "${calculated}".`);
  }
}
