/** How the fields of a record stand in its row. */
import type { RecordFields, RecordValue } from '../../gateway/ports.ts';

/** Fields as JSON, octets as `[base64]`: no field is an array, so that the two cannot be confused. */
export function writeFields(fields: RecordFields): string {
  return JSON.stringify(
    Object.fromEntries(
      Object.entries(fields).map(([name, value]) => {
        if (typeof value === 'number' && !Number.isFinite(value)) {
          throw new TypeError(`Field ${name} is not a finite number`);
        }
        return [name, value instanceof Uint8Array ? [Buffer.from(value).toString('base64')] : value];
      }),
    ),
  );
}

/** What `writeFields` wrote. */
export function readFields(json: string): RecordFields {
  const fields = JSON.parse(json) as Record<string, Exclude<RecordValue, Uint8Array> | [string]>;
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      Array.isArray(value) ? Buffer.from(value[0], 'base64') : value,
    ]),
  );
}
