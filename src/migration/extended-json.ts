/**
 * Documents as MongoDB exports them: Extended JSON, version 2, relaxed and canonical; and binary data as version 1 has it.
 *
 * Source: https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/
 */
import { MigrationFault } from './report.ts';

/** An object id: 12 octets, the first four of which are the second in which it was made. */
export interface ObjectId {
  readonly objectId: string;
}

/** What a field holds, as far as the documents that we take have such fields. */
export type ExtendedValue = string | number | boolean | null | Date | Buffer | ObjectId | undefined;

const OBJECT_ID = /^[0-9a-f]{24}$/i;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/**
 * Reads a document's own fields; what is nested, or of another type, is undefined.
 *
 * @throws MigrationFault LINE_MALFORMED
 */
export function readExtendedJson(text: string): ReadonlyMap<string, ExtendedValue> {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw new MigrationFault('LINE_MALFORMED', 'Line is not JSON');
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new MigrationFault('LINE_MALFORMED', 'Line is not one JSON object: export without --jsonArray');
  }
  return new Map(Object.entries(document).map(([name, value]) => [name, readValue(value)]));
}

function readValue(value: unknown): ExtendedValue {
  if (typeof value !== 'object' || value === null) {
    return value as string | number | boolean | null;
  }
  const fields = new Map<string, unknown>(Object.entries(value));
  if (fields.has('$binary')) {
    return readBinary(fields.get('$binary'));
  }
  if (fields.has('$date')) {
    return readDate(fields.get('$date'));
  }
  const objectId = fields.get('$oid');
  if (typeof objectId === 'string') {
    return OBJECT_ID.test(objectId) ? { objectId } : undefined;
  }
  return readNumber(fields);
}

/** Version 2 nests the base64; in version 1 it stands by itself. */
function readBinary(value: unknown): Buffer | undefined {
  const base64 = typeof value === 'object' && value !== null ? (value as { base64?: unknown }).base64 : value;
  return typeof base64 === 'string' && BASE64.test(base64) ? Buffer.from(base64, 'base64') : undefined;
}

function readDate(value: unknown): Date | undefined {
  const time = typeof value === 'object' && value !== null ? readNumber(new Map(Object.entries(value))) : value;
  const date = typeof time === 'string' || typeof time === 'number' ? new Date(time) : undefined;
  return date && !Number.isNaN(date.getTime()) ? date : undefined;
}

function readNumber(fields: ReadonlyMap<string, unknown>): number | undefined {
  const text = fields.get('$numberInt') ?? fields.get('$numberLong') ?? fields.get('$numberDouble');
  const number = typeof text === 'string' && text !== '' ? Number(text) : Number.NaN;
  return Number.isFinite(number) ? number : undefined;
}
