/**
 * How an object's entry stands in the metadata that Cloud Storage keeps with it.
 *
 * Its expiry is the object's `customTime`, by which the bucket's lifecycle deletes it, and to the millisecond, with its
 * arrival and the caller's metadata, in custom metadata of three fields.
 */

import type { ObjectEntry, ObjectMetadata } from '../../../gateway/ports.ts';

/** What Cloud Storage takes as custom metadata, in octets: https://cloud.google.com/storage/quotas#objects */
const MAX_CUSTOM_METADATA_OCTETS = 8192;

/** The fields of an object resource that are read back. https://cloud.google.com/storage/docs/json_api/v1/objects */
export interface ObjectResource {
  readonly name?: string | undefined;
  readonly generation?: string | number | undefined;
  readonly size?: string | number | undefined;
  readonly crc32c?: string | undefined;
  readonly timeCreated?: string | undefined;
  readonly metadata?: { readonly [name: string]: string | number | boolean | null } | undefined;
}

/** In `fields` of a listing: all else would only be thrown away. */
export const ENTRY_FIELDS = 'name,generation,size,timeCreated,metadata';

/** How an object's entry is written. */
export interface WrittenMetadata {
  readonly customTime: string;
  readonly metadata: { readonly arrival: string; readonly expiry: string; readonly callers: string };
}

/**
 * @param expiry in whole milliseconds
 * @throws TypeError when the caller's metadata is more than Cloud Storage keeps
 */
export function writeMetadata(entry: { arrival: number; expiry: number; metadata: ObjectMetadata }): WrittenMetadata {
  // The client replaces "{{projectId}}" wherever it stands in a request; as an escape it comes through.
  const callers = JSON.stringify(entry.metadata).replaceAll('{{', '{\\u007b');
  const custom = { arrival: `${entry.arrival}`, expiry: `${entry.expiry}`, callers };
  const octets = Object.entries(custom).reduce((sum, [name, value]) => sum + name.length + Buffer.byteLength(value), 0);
  if (octets > MAX_CUSTOM_METADATA_OCTETS) {
    throw new TypeError(`An object's metadata is at most ${MAX_CUSTOM_METADATA_OCTETS} octets`);
  }
  return { customTime: new Date(entry.expiry).toISOString(), metadata: custom };
}

/** The entry of an object that this program put; undefined for any other object. */
export function readEntry(resource: ObjectResource): ObjectEntry | undefined {
  const { name, generation, size, metadata: custom } = resource;
  const arrival = Number(custom?.['arrival'] ?? Number.NaN);
  const expiry = Number(custom?.['expiry'] ?? Number.NaN);
  const metadata = readCallers(custom?.['callers']);
  if (name === undefined || generation === undefined || !(arrival > 0) || !(expiry > 0) || !metadata) {
    return undefined;
  }
  const storedAt = Date.parse(resource.timeCreated ?? '');
  return { key: name, version: `${generation}`, arrival, storedAt, expiry, size: Number(size), metadata };
}

function readCallers(text: unknown): ObjectMetadata | undefined {
  try {
    return typeof text === 'string' ? (JSON.parse(text) as ObjectMetadata) : undefined;
  } catch {
    return undefined;
  }
}
