/**
 * What is in a backup, before it is encrypted: lines of JSON. The first is the header, the last the end; each line
 * between is a record.
 *
 * ```
 * {"backup":1,"id":"…","instant":1764000000000,"internetAddress":"…","keys":"local","records":3,"localKeys":{…}}
 * {"kind":"private-gateways","key":"0…","fields":{"publicKey":["base64"],"registered":1764000000000},"expiry":…}
 * {"end":{"counts":{"private-gateways":1},"sha256":"…"}}
 * ```
 */
import {
  RECORD_KINDS,
  type RecordCopy,
  type RecordFields,
  type RecordKind,
  type RecordValue,
} from '../gateway/ports.ts';
import { BackupError } from './errors.ts';

export const BACKUP_VERSION = 1;

/** Octets of a line: records have up to 64 KiB of fields, and octets in them are in base64. */
export const LONGEST_LINE = 256 * 1024;

const MASTER_KEY_OCTETS = 32;

/** The keys that a gateway with `KEYS=local` has besides its records. Secret. */
export interface LocalKeys {
  /** 32 octets. */
  readonly masterKey: Buffer;
  /** Identity keys, wrapped under the master key, by their references. */
  readonly privateKeys: Readonly<Record<string, Buffer>>;
}

export interface BackupHeader {
  /** Tells this backup from every other: a UUID. */
  readonly id: string;
  /** As of when everything in it is, in milliseconds. */
  readonly instant: number;
  readonly internetAddress: string;
  /** As the setting `KEYS`. */
  readonly keys: string;
  /** How many records there are, about; undefined where that was not known. */
  readonly records?: number;
  readonly localKeys?: LocalKeys;
}

/** How many records there are of each kind. */
export type Counts = Readonly<Partial<Record<RecordKind, number>>>;

export interface BackupEnd {
  readonly counts: Counts;
  /** SHA-256 of all lines before this one, in hexadecimal. */
  readonly sha256: string;
}

export function writeHeader({ localKeys, ...header }: BackupHeader): string {
  const keys = localKeys && {
    masterKey: localKeys.masterKey.toString('base64'),
    privateKeys: Object.fromEntries(
      Object.entries(localKeys.privateKeys).map(([reference, key]) => [reference, key.toString('base64')]),
    ),
  };
  return line({ backup: BACKUP_VERSION, ...header, ...(keys && { localKeys: keys }) });
}

export function writeRecord({ kind, key, fields, expiry }: RecordCopy): string {
  const values = Object.entries(fields).map(([name, value]) => [
    name,
    // No field is an array, so that the two cannot be confused.
    value instanceof Uint8Array ? [Buffer.from(value).toString('base64')] : value,
  ]);
  return line({ kind, key, fields: Object.fromEntries(values), ...(expiry !== undefined && { expiry }) });
}

export function writeEnd(end: BackupEnd): string {
  return line({ end });
}

/** @throws BackupError BACKUP_DAMAGED, BACKUP_UNSUPPORTED */
export function readHeader(text: string): BackupHeader {
  const { backup, id, instant, internetAddress, keys, records, localKeys } = readObject(text);
  if (typeof backup === 'number' && backup !== BACKUP_VERSION) {
    throw new BackupError(
      'BACKUP_UNSUPPORTED',
      `This backup has version ${backup}; this program reads version ${BACKUP_VERSION}`,
    );
  }
  const isHeader =
    backup === BACKUP_VERSION &&
    typeof id === 'string' &&
    typeof instant === 'number' &&
    typeof internetAddress === 'string' &&
    typeof keys === 'string';
  if (!isHeader || (records !== undefined && typeof records !== 'number')) {
    throw damaged('it has no header');
  }
  return {
    ...{ id, instant, internetAddress, keys },
    ...(records !== undefined && { records }),
    ...(localKeys !== undefined && { localKeys: readLocalKeys(localKeys) }),
  };
}

/** A record, or the end. @throws BackupError BACKUP_DAMAGED, BACKUP_UNSUPPORTED */
export function readLine(text: string): { readonly record: RecordCopy } | { readonly end: BackupEnd } {
  const { kind, key, fields, expiry, end } = readObject(text);
  if (end !== undefined) {
    const { counts, sha256 } = asObject(end);
    if (typeof sha256 !== 'string') {
      throw damaged('its end cannot be read');
    }
    return { end: { counts: asObject(counts) as Counts, sha256 } };
  }
  if (typeof kind !== 'string' || typeof key !== 'string' || (expiry !== undefined && typeof expiry !== 'number')) {
    throw damaged('a record in it cannot be read');
  }
  if (!(RECORD_KINDS as readonly string[]).includes(kind)) {
    throw new BackupError(
      'BACKUP_UNSUPPORTED',
      `A newer program wrote this backup: records of kind ${kind} are not known`,
    );
  }
  const record = { kind: kind as RecordKind, key, fields: readFields(fields) };
  return { record: expiry === undefined ? record : { ...record, expiry } };
}

export function damaged(reason: string, cause?: unknown): BackupError {
  return new BackupError('BACKUP_DAMAGED', `This backup cannot be used: ${reason}`, { cause });
}

function readFields(value: unknown): RecordFields {
  return Object.fromEntries(Object.entries(asObject(value)).map(([name, field]) => [name, readField(field)]));
}

function readField(value: unknown): RecordValue {
  if (Array.isArray(value) && value.length === 1) {
    return readOctets(value[0]);
  }
  if (value !== null && !['string', 'number', 'boolean'].includes(typeof value)) {
    throw damaged('a record in it cannot be read');
  }
  return value as RecordValue;
}

function readLocalKeys(value: unknown): LocalKeys {
  const { masterKey, privateKeys } = asObject(value);
  const keys = {
    masterKey: readOctets(masterKey),
    privateKeys: Object.fromEntries(
      Object.entries(asObject(privateKeys)).map(([reference, key]) => [reference, readOctets(key)]),
    ),
  };
  if (keys.masterKey.length !== MASTER_KEY_OCTETS) {
    throw damaged('its master key cannot be read');
  }
  return keys;
}

function readOctets(value: unknown): Buffer {
  if (typeof value !== 'string') {
    throw damaged('octets in it cannot be read');
  }
  return Buffer.from(value, 'base64');
}

function readObject(text: string): Record<string, unknown> {
  try {
    return asObject(JSON.parse(text));
  } catch (error) {
    // What JSON.parse says repeats the text.
    throw error instanceof BackupError ? error : damaged('a line in it cannot be read');
  }
}

function asObject(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw damaged('a line in it cannot be read');
  }
  return value as Record<string, unknown>;
}

function line(value: object): string {
  return `${JSON.stringify(value)}\n`;
}
