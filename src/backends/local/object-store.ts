/**
 * The object store on this machine: messages in a SQLite file.
 */

import { setImmediate } from 'node:timers/promises';
import type { Clock, ObjectEntry, ObjectMetadata, ObjectStore, PutOptions, StoredObject } from '../../gateway/ports.ts';
import { checksum } from './checksum.ts';
import type { Quarantine } from './quarantine.ts';
import type { Row } from './reader.ts';
import type { StoreFiles } from './store-files.ts';
import { Ticks, tickToMs } from './ticks.ts';

/** Entries a page of `list`: read in well under a millisecond. */
const PAGE_ENTRIES = 256;
/** Sorts after every character that keys may have. */
const AFTER_ALL = '\x7f';
const KEY_PATTERN = /^[\x20-\x7e]{1,512}$/;
const PREFIX_PATTERN = /^[\x20-\x7e]{0,512}$/;
/** What an entry takes on disk beside its body: the row and its places in the indexes. */
const ENTRY_OCTETS = 1024;
/** Housekeeping deletes so much at a time, so that writers do not wait. */
const EXPIRED_BATCH = 256;
const EXPIRED_BATCH_OCTETS = 32 * 1024 * 1024;

/** How many bodies are read in one look, and up to how many octets each: to join longer ones costs more than it saves. */
const READ_TOGETHER = 32;
const MOST_READ_TOGETHER = 64 * 1024;

const ENTRY_COLUMNS = 'id, key, expiry, size, metadata, body_checksum, checksum';

interface ObjectStoreParts {
  readonly files: StoreFiles;
  readonly quarantine: Quarantine;
  readonly clock: Clock;
}

export class LocalObjectStore implements ObjectStore {
  private readonly files: StoreFiles;
  private readonly quarantine: Quarantine;
  private readonly clock: Clock;
  private readonly ticks: Ticks;

  private constructor(parts: ObjectStoreParts, ticks: Ticks) {
    this.files = parts.files;
    this.quarantine = parts.quarantine;
    this.clock = parts.clock;
    this.ticks = ticks;
  }

  static async open(parts: ObjectStoreParts): Promise<LocalObjectStore> {
    return new LocalObjectStore(parts, await Ticks.resume(parts.clock, parts.files, 'objects'));
  }

  async put(key: string, body: Uint8Array, { expiry, metadata = {} }: PutOptions): Promise<ObjectEntry> {
    if (!KEY_PATTERN.test(key)) {
      throw new TypeError('An object key is 1 to 512 printable ASCII characters');
    }
    const id = this.ticks.next();
    // A copy of its own: the caller may reuse the buffer, and the writer thread takes this one over.
    const copy = new Uint8Array(body);
    const expiryMs = Math.floor(expiry);
    const metadataJson = JSON.stringify(metadata);
    const bodyChecksum = checksum(copy);
    const size = copy.length;
    const entryChecksum = checksum(id, key, expiryMs, size, metadataJson, bodyChecksum);
    await this.files.write(
      'objects',
      [
        [
          `INSERT OR REPLACE INTO entries (${ENTRY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)`,
          id,
          key,
          expiryMs,
          size,
          metadataJson,
          bodyChecksum,
          entryChecksum,
        ],
        ['INSERT INTO bodies (id, body) VALUES (?, ?)', id, copy],
      ],
      size + ENTRY_OCTETS,
      copy.length < 65536 ? [] : [copy.buffer],
    );
    return { key, version: versionOf(id), arrival: tickToMs(id), expiry: expiryMs, size, metadata };
  }

  async get(key: string, listed?: ObjectEntry): Promise<StoredObject | undefined> {
    if (listed && !this.isExpired(listed)) {
      const id = idOf(listed.version);
      const [row] = await this.files.read('objects', BODY_OF_VERSION, id, key);
      // Where it is, it is the newest; its entry was verified when it was listed.
      if (row) {
        return this.withBody(listed, id, row);
      }
    }
    const [row] = await this.files.read('objects', WHOLE_OBJECT, key);
    const entry = row && this.readEntry(row);
    if (!entry || this.isExpired(entry)) {
      return undefined;
    }
    return this.withBody(entry, row['id'] as number, row);
  }

  async getAll(listed: readonly ObjectEntry[]): Promise<(StoredObject | undefined)[]> {
    const small = listed.filter((entry) => entry.size <= MOST_READ_TOGETHER && !this.isExpired(entry));
    const bodies = new Map<string, Buffer>();
    for (let start = 0; small.length > 1 && start < small.length; start += READ_TOGETHER) {
      await this.readTogether(small.slice(start, start + READ_TOGETHER), bodies);
    }
    return Promise.all(
      listed.map((entry) => {
        const body = bodies.get(entry.version);
        return body ? objectOf(entry, body) : this.get(entry.key, entry);
      }),
    );
  }

  /**
   * Adds the bodies of entries by their versions, read in one look, or none where one of them is gone or damaged. They
   * come as one: a body that comes by itself is octets outside the heap, which cost more than reading them.
   */
  private async readTogether(listed: readonly ObjectEntry[], into: Map<string, Buffer>): Promise<void> {
    // In the order in which they are joined.
    const wanted = listed.map((entry) => ({ entry, id: idOf(entry.version) })).sort((one, other) => one.id - other.id);
    const ids = Array.from({ length: READ_TOGETHER }, (_, index) => wanted[index]?.id ?? -1);
    const [row] = await this.files.read('objects', BODIES_OF_VERSIONS, ...ids);
    const { checksums, bodies } = row ?? {};
    const expected = typeof checksums === 'string' ? checksums.split(',') : [];
    const octets = listed.reduce((sum, { size }) => sum + size, 0);
    if (!(bodies instanceof Uint8Array) || bodies.length !== octets || expected.length !== wanted.length) {
      return;
    }
    let start = bodies.byteOffset;
    const views = wanted.map(({ entry: { size } }) => {
      start += size;
      return Buffer.from(bodies.buffer, start - size, size);
    });
    if (views.every((body, index) => checksum(body) === Number(expected[index]))) {
      wanted.forEach(({ entry }, index) => {
        into.set(entry.version, views[index] as Buffer);
      });
    }
  }

  async find(key: string): Promise<ObjectEntry | undefined> {
    const [row] = await this.files.read('objects', ENTRY, key);
    const entry = row && this.readEntry(row);
    return entry && !this.isExpired(entry) ? entry : undefined;
  }

  async *list(prefix: string): AsyncIterable<ObjectEntry> {
    if (!PREFIX_PATTERN.test(prefix)) {
      throw new TypeError('A prefix is up to 512 printable ASCII characters');
    }
    // Between pages nothing is held open: neither a read transaction nor the event loop.
    for (let after = prefix, sql = FIRST_PAGE; ; sql = NEXT_PAGE) {
      const page = await this.files.read('objects', sql, after, prefix + AFTER_ALL);
      for (const row of page) {
        const entry = this.readEntry(row);
        if (entry && !this.isExpired(entry)) {
          yield entry;
        }
      }
      if (page.length < PAGE_ENTRIES) {
        return;
      }
      const last = page.at(-1)?.['key'] as string;
      if (last <= after && sql === NEXT_PAGE) {
        // Only a damaged key can be out of order; the next verification of the indexes finds it.
        return;
      }
      after = last;
      await setImmediate();
    }
  }

  async delete(key: string, version?: string): Promise<boolean> {
    const ofKey = version === undefined;
    const id = ofKey ? -1 : idOf(version);
    const removed = await this.files.write(
      'objects',
      ofKey
        ? [['DELETE FROM entries WHERE key = ?', key]]
        : [['DELETE FROM entries WHERE id = ? AND key = ?', id, key]],
      0,
    );
    return removed > 0;
  }

  /**
   * Deletes expired objects, a bounded batch at a time.
   *
   * @returns how many there were
   */
  async deleteExpired(): Promise<number> {
    let deleted = 0;
    for (;;) {
      const rows = await this.files.read(
        'objects',
        `SELECT id, size FROM entries WHERE expiry < ? ORDER BY expiry LIMIT ${EXPIRED_BATCH}`,
        this.clock.now(),
      );
      const ids: number[] = [];
      let octets = 0;
      for (const { id, size } of rows) {
        octets += size as number;
        if (ids.length > 0 && octets > EXPIRED_BATCH_OCTETS) {
          break;
        }
        ids.push(id as number);
      }
      if (ids.length === 0) {
        return deleted;
      }
      const list = JSON.stringify(ids);
      await this.files.write(
        'objects',
        [['DELETE FROM entries WHERE id IN (SELECT value FROM json_each(?))', list]],
        0,
      );
      deleted += ids.length;
      await setImmediate();
    }
  }

  /** Deletes bodies that no entry leads to: damage leaves them. @returns how many there were */
  deleteOrphans(): Promise<number> {
    return this.files.write('objects', [['DELETE FROM bodies WHERE id NOT IN (SELECT id FROM entries)']], 0);
  }

  /** The object of an entry and its body's row, or undefined when the body is damaged; it is then set aside. */
  private withBody(entry: ObjectEntry, id: number, row: Row): StoredObject | undefined {
    const { body, body_checksum: expected } = row;
    if (!(body instanceof Uint8Array) || body.length !== entry.size || checksum(body) !== expected) {
      this.quarantine.setAsideObject(id, entry.key, 'body does not match its checksum');
      return undefined;
    }
    return objectOf(entry, Buffer.from(body.buffer, body.byteOffset, body.byteLength));
  }

  /** The entry of a row, or undefined when the row is damaged; it is then set aside. */
  private readEntry(row: Row): ObjectEntry | undefined {
    const { id, key, expiry, size, metadata, body_checksum: bodyChecksum } = row;
    const expected = checksum(...([id, key, expiry, size, metadata, bodyChecksum] as (string | number)[]));
    if (expected !== row['checksum']) {
      this.quarantine.setAsideObject(id as number, String(key), 'entry does not match its checksum');
      return undefined;
    }
    return {
      key: key as string,
      version: versionOf(id as number),
      arrival: tickToMs(id as number),
      expiry: expiry as number,
      size: size as number,
      metadata: JSON.parse(metadata as string) as ObjectMetadata,
    };
  }

  private isExpired(entry: ObjectEntry): boolean {
    return entry.expiry < this.clock.now();
  }
}

/** In one look, so that a version that comes meanwhile is not mixed with the one before. */
const WHOLE_OBJECT = `SELECT ${ENTRY_COLUMNS}, body FROM entries LEFT JOIN bodies USING (id) WHERE key = ?`;
/** Without a look into the index of keys, which are in no order: ids are in that of arrival. */
const BODY_OF_VERSION = 'SELECT body_checksum, body FROM entries LEFT JOIN bodies USING (id) WHERE id = ? AND key = ?';
/** In the order of arrival. To SQLite octets and text are the same but for their type, so that it can join octets. */
const BODIES_OF_VERSIONS = `
  SELECT group_concat(body_checksum) AS checksums, CAST(group_concat(body, '') AS BLOB) AS bodies
  FROM (
    SELECT body_checksum, body FROM entries JOIN bodies USING (id)
    WHERE id IN (${Array(READ_TOGETHER).fill('?').join(', ')}) ORDER BY id
  )`;
const ENTRY = `SELECT ${ENTRY_COLUMNS} FROM entries WHERE key = ?`;
const FIRST_PAGE = `SELECT ${ENTRY_COLUMNS} FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT ${PAGE_ENTRIES}`;
const NEXT_PAGE = `SELECT ${ENTRY_COLUMNS} FROM entries WHERE key > ? AND key < ? ORDER BY key LIMIT ${PAGE_ENTRIES}`;

function objectOf(entry: ObjectEntry, body: Buffer): StoredObject {
  const { key, version, arrival, expiry, size, metadata } = entry;
  return { key, version, arrival, expiry, size, metadata, body };
}

function versionOf(id: number): string {
  return id.toString(36);
}

/** -1, which no object has, where the version is none of ours. */
function idOf(version: string): number {
  const id = Number.parseInt(version, 36);
  return Number.isSafeInteger(id) && versionOf(id) === version ? id : -1;
}
