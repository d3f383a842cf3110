/**
 * What stands in a document: a record's fields under one name, so that one exemption from indexing covers them all; when
 * it expires, for a TTL policy; and a mark of the very write, so that no two writes are alike.
 *
 * Source: https://cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#value
 */
import type protos from '@google-cloud/firestore-api/protos';
import type { RecordFields, RecordValue } from '../../../gateway/ports.ts';

/** As the wire has them. */
export type Document = protos.google.firestore.v1.IDocument;
type Value = protos.google.firestore.v1.IValue;
export type Timestamp = protos.google.protobuf.ITimestamp;

const MOST_OCTETS = 64 * 1024;

/** The last instant that Firestore has (end of the year 9999), in milliseconds. */
const LAST_INSTANT = 253_402_300_799_999;

/**
 * @param expiry milliseconds
 * @param mark of this write, unpredictable
 * @throws TypeError when the fields are more than 64 KiB, or a number among them is not finite
 */
export function writeDocument(
  name: string,
  fields: RecordFields,
  expiry: number | undefined,
  mark: Uint8Array,
): Document {
  const values = Object.entries(fields).map(([field, value]) => [field, writeValue(field, value)] as const);
  const size = Object.entries(fields).reduce((sum, [field, value]) => sum + field.length + octetsOf(value), 0);
  if (size > MOST_OCTETS) {
    throw new TypeError('A record is at most 64 KiB');
  }
  return {
    name,
    fields: {
      fields: { mapValue: { fields: Object.fromEntries(values) } },
      mark: { bytesValue: mark },
      ...(expiry !== undefined && { expiry: { timestampValue: writeInstant(expiry) } }),
    },
  };
}

export function readFields({ fields }: Document): RecordFields {
  const values = fields?.['fields']?.mapValue?.fields ?? {};
  return Object.fromEntries(Object.entries(values).map(([field, value]) => [field, readValue(value)]));
}

/** Milliseconds, or undefined where the document stays. */
export function readExpiry({ fields }: Document): number | undefined {
  const instant = fields?.['expiry']?.timestampValue;
  return instant ? Number(instant.seconds) * 1000 + Number(instant.nanos) / 1e6 : undefined;
}

/** Whether the write with this mark was the last. */
export function hasMark({ fields }: Document, mark: Uint8Array): boolean {
  return Buffer.from((fields?.['mark']?.bytesValue ?? '') as Uint8Array).equals(mark);
}

function writeInstant(milliseconds: number): Timestamp {
  const instant = Math.min(Math.floor(milliseconds), LAST_INSTANT);
  const seconds = Math.floor(instant / 1000);
  return { seconds, nanos: (instant - seconds * 1000) * 1e6 };
}

function writeValue(field: string, value: RecordValue): Value {
  switch (typeof value) {
    case 'string':
      return { stringValue: value };
    case 'boolean':
      return { booleanValue: value };
    case 'number':
      if (!Number.isFinite(value)) {
        throw new TypeError(`Field ${field} is not a finite number`);
      }
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? { integerValue: value } : { doubleValue: value };
    default:
      return value === null ? { nullValue: 'NULL_VALUE' } : { bytesValue: value };
  }
}

function readValue(value: Value): RecordValue {
  switch (valueType(value)) {
    case 'stringValue':
      return value.stringValue as string;
    case 'booleanValue':
      return value.booleanValue as boolean;
    case 'integerValue':
      return Number(value.integerValue);
    case 'doubleValue':
      return value.doubleValue as number;
    case 'bytesValue':
      return Buffer.from(value.bytesValue as Uint8Array);
    default:
      return null;
  }
}

/** The client tells it beside the value, which its types do not say. */
function valueType(value: Value): string | undefined {
  return (value as { valueType?: string }).valueType;
}

function octetsOf(value: RecordValue): number {
  if (typeof value === 'string') {
    return Buffer.byteLength(value);
  }
  return value instanceof Uint8Array ? value.length : 8;
}
