/**
 * The object store on this machine: messages in a log of their own (`message-log.ts`), and where they are in it in an
 * index, a SQLite file. The index follows the log by half a second or so; what it does not have yet is looked up in
 * memory (`recent-changes.ts`).
 */

import { setImmediate } from 'node:timers/promises';
import type { Clock, ObjectEntry, ObjectMetadata, ObjectStore, PutOptions, StoredObject } from '../../gateway/ports.ts';
import { checksum } from './checksum.ts';
import { IndexFeed } from './index-feed.ts';
import { LatelyPut } from './lately-put.ts';
import { DELETE, MOST_BODY_OCTETS, MOST_HEAD_OCTETS, type Place, PUT } from './log-records.ts';
import type { MessageLog } from './message-log.ts';
import { newestKeys } from './newest-objects.ts';
import * as sql from './object-statements.ts';
import { entryOf, idOf, versionOf } from './object-versions.ts';
import { type Located, MOST_READ_TOGETHER, READ_TOGETHER, readBodies } from './objects-together.ts';
import type { Quarantine } from './quarantine.ts';
import type { Row } from './reader.ts';
import { RecentChanges, type RecentPut } from './recent-changes.ts';
import type { StoreFiles, StoreLog } from './store-files.ts';
import { Ticks, tickToMs } from './ticks.ts';

/** Sorts after every character that keys may have. */
const AFTER_ALL = '\x7f';
const KEY_PATTERN = /^[\x20-\x7e]{1,512}$/;
const PREFIX_PATTERN = /^[\x20-\x7e]{0,512}$/;
/** Housekeeping deletes so much at a time, and so many, so that writers do not wait. */
const EXPIRED_BATCH_OCTETS = 32 * 1024 * 1024;

interface ObjectStoreParts {
  readonly files: StoreFiles;
  readonly log: MessageLog;
  readonly quarantine: Quarantine;
  readonly clock: Clock;
  readonly report: StoreLog;
}

export class LocalObjectStore implements ObjectStore {
  /** To be flushed before somebody reads the index's file without us. */
  readonly feed: IndexFeed;
  private readonly files: StoreFiles;
  private readonly log: MessageLog;
  private readonly quarantine: Quarantine;
  private readonly clock: Clock;
  private readonly report: StoreLog;
  private readonly ticks: Ticks;
  private readonly recent: RecentChanges;
  private readonly lately = new LatelyPut();

  private constructor(parts: ObjectStoreParts, { feed, recent, ticks }: Opened) {
    this.files = parts.files;
    this.log = parts.log;
    this.quarantine = parts.quarantine;
    this.clock = parts.clock;
    this.report = parts.report;
    this.feed = feed;
    this.recent = recent;
    this.ticks = ticks;
  }

  /** Brings the index up to the log, which may have what the index lost with the power, or all of it. */
  static async open(parts: ObjectStoreParts): Promise<LocalObjectStore> {
    const { files, log, report } = parts;
    const recent = new RecentChanges();
    const feed = new IndexFeed({ files, log, recent, report });
    const [progress] = await files.read('objects', 'SELECT place FROM progress');
    let isWhole = true;
    const onDamage = (segment: number, from: number, to: number) => {
      isWhole = false;
      report.warn({ segment, from, to }, 'Octets of the log of messages cannot be read');
    };
    let isRepaired = false;
    files.onObjectsRepaired = () => {
      isRepaired = true;
    };
    const indexed = Number(progress?.['place'] ?? 0);
    let last = await feed.rebuild(indexed, { verifiesBodies: true, onDamage });
    while (isRepaired) {
      isRepaired = false;
      last = Math.max(last, await feed.rebuild(0, { verifiesBodies: true, onDamage }));
    }
    log.resume(indexed, isWhole);
    files.onObjectsRepaired = () => feed.restore();
    const ticks = await Ticks.resume(parts.clock, files, 'objects', last);
    return new LocalObjectStore(parts, { feed, recent, ticks });
  }

  async put(key: string, body: Uint8Array, { expiry, metadata = {} }: PutOptions): Promise<ObjectEntry> {
    if (!KEY_PATTERN.test(key)) {
      throw new TypeError('An object key is 1 to 512 printable ASCII characters');
    }
    if (this.feed.isBehind) {
      await this.feed.catchUp();
    }
    const id = this.ticks.next();
    const expiryMs = Math.floor(expiry);
    const metadataJson = JSON.stringify(metadata);
    const bodyChecksum = checksum(body);
    const size = body.length;
    const entryChecksum = checksum(id, key, expiryMs, size, metadataJson, bodyChecksum);
    const head = JSON.stringify([PUT, id, key, expiryMs, size, metadataJson, bodyChecksum, entryChecksum]);
    if (Buffer.byteLength(head) > MOST_HEAD_OCTETS || size > MOST_BODY_OCTETS) {
      throw new TypeError('Metadata of an object are a few short strings, and its body is at most 512 MiB');
    }
    const entry = { key, version: versionOf(id), arrival: tickToMs(id), expiry: expiryMs, size, metadata };
    await this.log.append(head, {
      body,
      takesRoom: true,
      onWritten: (place) => {
        const put = { entry, id, place, bodyChecksum };
        const change = this.recent.set(key, put);
        this.lately.set(key, put);
        this.feed.add(head, place, size, change);
      },
    });
    return entry;
  }

  async get(key: string, listed?: ObjectEntry): Promise<StoredObject | undefined> {
    // A body may be moved, and the segment where it was be gone, between the look at the index and that at the log.
    for (let placeBefore: Place | null | undefined; ; ) {
      const located = (listed && (await this.locateListed(listed))) ?? (await this.locate(key));
      if (!located || this.isExpired(located.entry)) {
        return undefined;
      }
      const { entry, id, place, bodyChecksum } = located;
      const body = await (place === null ? this.formerBody(id) : this.log.read(place, entry.size));
      if (body?.length === entry.size && checksum(body) === bodyChecksum) {
        return { ...entry, body };
      }
      if (place === placeBefore) {
        this.setAside(id, entry.key, 'body does not match its checksum', body);
        return undefined;
      }
      placeBefore = place;
    }
  }

  async getAll(listed: readonly ObjectEntry[]): Promise<(StoredObject | undefined)[]> {
    const small = listed.filter((entry) => entry.size <= MOST_READ_TOGETHER && !this.isExpired(entry));
    const found = new Map<string, StoredObject>();
    for (let start = 0; small.length > 1 && start < small.length; start += READ_TOGETHER) {
      await this.readTogether(small.slice(start, start + READ_TOGETHER), found);
    }
    return Promise.all(listed.map((entry) => found.get(entry.version) ?? this.get(entry.key, entry)));
  }

  /** Adds those of which the very version is there and undamaged, by their versions: one look at the index, and few at the log. */
  private async readTogether(listed: readonly ObjectEntry[], into: Map<string, StoredObject>): Promise<void> {
    const unknown = listed.filter(({ key, version }) => this.knownPut(key)?.entry.version !== version);
    const ids = Array.from({ length: READ_TOGETHER }, (_, index) => idOf(unknown[index]?.version ?? ''));
    const rows = unknown.length === 0 ? [] : await this.files.read('objects', sql.PLACES_OF_VERSIONS, ...ids);
    const byVersion = new Map(rows.map((row) => [versionOf(row['id'] as number), row]));
    const wanted: Pick<Located, 'entry' | 'place' | 'bodyChecksum'>[] = [];
    for (const entry of listed) {
      const put = this.knownPut(entry.key);
      const row = byVersion.get(entry.version);
      if (put?.entry.version === entry.version) {
        wanted.push(put);
      } else if (!put && !this.recent.get(entry.key) && row && row['place'] !== null) {
        const { place, body_checksum: bodyChecksum } = row as { place: number; body_checksum: number };
        wanted.push({ entry: entryOf(entry), place, bodyChecksum });
      }
    }
    for (const found of readBodies(this.log, wanted)) {
      into.set(found.version, found);
    }
  }

  async getMany(keys: readonly string[]): Promise<(StoredObject | undefined)[]> {
    const unknown = keys.filter((key) => !this.recent.get(key) && !this.lately.get(key));
    const rows = unknown.length === 0 ? [] : await this.files.read('objects', sql.ENTRIES, JSON.stringify(unknown));
    const located = [
      ...keys.map((key) => this.knownPut(key)),
      ...rows.map((row) => (this.recent.get(row['key'] as string) ? undefined : this.readRow(row))),
    ].filter((each) => each !== undefined && !this.isExpired(each.entry));
    // What is large, damaged or not there is looked for by itself.
    const found = new Map(readBodies(this.log, located as Located[]).map((object) => [object.key, object]));
    return Promise.all(keys.map((key) => found.get(key) ?? this.get(key)));
  }

  async find(key: string): Promise<ObjectEntry | undefined> {
    const located = await this.locate(key);
    return located && !this.isExpired(located.entry) ? located.entry : undefined;
  }

  async *list(prefix: string): AsyncIterable<ObjectEntry> {
    if (!PREFIX_PATTERN.test(prefix)) {
      throw new TypeError('A prefix is up to 512 printable ASCII characters');
    }
    await this.feed.whenRestored();
    // What the index does not have now it may have before we get there: it is told from memory, once.
    const recent = new Set<string>();
    for (const { key, put } of this.recent.under(prefix)) {
      recent.add(key);
      if (put && !this.isExpired(put.entry)) {
        yield put.entry;
      }
    }
    // Between pages nothing is held open: neither a read transaction nor the event loop.
    for (let after = prefix, statement = sql.FIRST_PAGE; ; statement = sql.NEXT_PAGE) {
      const page = await this.files.read('objects', statement, after, prefix + AFTER_ALL);
      for (const row of page) {
        const located = recent.has(row['key'] as string) ? undefined : this.readRow(row);
        const change = located && this.recent.get(located.entry.key);
        // Changed since: its successor, or nothing where it was deleted.
        const entry = change ? change.put?.entry : located?.entry;
        if (entry && !this.isExpired(entry)) {
          yield entry;
        }
      }
      if (page.length < sql.PAGE_ENTRIES) {
        return;
      }
      const last = page.at(-1)?.['key'] as string;
      if (last <= after && statement === sql.NEXT_PAGE) {
        // Only a damaged key can be out of order; the next verification of the indexes finds it.
        return;
      }
      after = last;
      await setImmediate();
    }
  }

  async *listNewest(prefix: string, period: number): AsyncIterable<ObjectEntry> {
    await this.feed.flush();
    for await (const key of newestKeys(this.files, prefix, period)) {
      const entry = await this.find(key);
      if (entry) {
        yield entry;
      }
    }
  }

  async delete(key: string, version?: string): Promise<boolean> {
    const wanted = version === undefined ? undefined : idOf(version);
    let change: { put: RecentPut | undefined } | undefined = this.recent.get(key);
    const lately = this.lately.get(key);
    if (!change && lately && !this.isExpired(lately.entry)) {
      change = { put: lately };
    }
    if (!change) {
      const [row] = await (wanted === undefined
        ? this.feed.find('SELECT id FROM entries WHERE key = ?', key)
        : this.feed.find('SELECT id FROM entries WHERE id = ? AND key = ?', wanted, key));
      change = this.recent.get(key);
      if (!change) {
        return row ? await this.deleteVersion(key, row['id'] as number) : false;
      }
    }
    const { put } = change;
    return put && (wanted === undefined || put.id === wanted) ? await this.deleteVersion(key, put.id) : false;
  }

  /**
   * Deletes expired objects, a bounded batch at a time.
   *
   * @returns how many there were
   */
  async deleteExpired(): Promise<number> {
    await this.feed.flush();
    for (let deleted = 0; ; ) {
      const rows = await this.files.read('objects', sql.EXPIRED, this.clock.now());
      if (rows.length === 0) {
        return deleted;
      }
      const batch: { place: Place; octets: number }[] = [];
      const ids: number[] = [];
      let octets = 0;
      for (const { id, size, place } of rows as { id: number; size: number; place: number | null }[]) {
        octets += size;
        if (ids.length > 0 && octets > EXPIRED_BATCH_OCTETS) {
          break;
        }
        ids.push(id);
        if (place !== null && size > 0) {
          batch.push({ place, octets: size });
        }
      }
      // Without a word in the log: should they come back from it, they are expired.
      const list = JSON.stringify(ids);
      await this.files.write(
        'objects',
        [['DELETE FROM entries WHERE id IN (SELECT value FROM json_each(?))', list]],
        0,
      );
      await this.log.wipe(batch).catch((error: Error) => {
        this.report.warn({ reason: error.message }, 'Expired messages could not be overwritten');
      });
      deleted += ids.length;
      await setImmediate();
    }
  }

  /** Deletes bodies of the former format that no entry leads to: damage leaves them. @returns how many there were */
  deleteOrphans(): Promise<number> {
    return this.files.write('objects', [['DELETE FROM bodies WHERE id NOT IN (SELECT id FROM entries)']], 0);
  }

  private async deleteVersion(key: string, id: number): Promise<boolean> {
    const before = this.recent.get(key);
    this.lately.forget(key);
    // Gone for readers from now on, so that one of several who delete it at once is told that it did.
    const change = this.recent.set(key, undefined);
    const head = JSON.stringify([DELETE, id, key]);
    try {
      await this.log.append(head, { takesRoom: false, onWritten: (end) => this.feed.add(head, end, 0, change) });
      return true;
    } catch (error) {
      if (this.recent.get(key) === change) {
        this.recent.settle(change);
        if (before && !before.isSettled) {
          this.recent.restore(before);
        }
      }
      throw error;
    }
  }

  /** The newest version under a key as it was put, where that is in memory. */
  private knownPut(key: string): RecentPut | undefined {
    const change = this.recent.get(key);
    return change ? change.put : this.lately.get(key);
  }

  private async locate(key: string): Promise<Located | undefined> {
    const known = this.recent.get(key);
    if (known) {
      return known.put;
    }
    const [row] = await this.feed.find(sql.ENTRY, key);
    return row && this.readRow(row);
  }

  /** That very version, where it is there still; its entry was verified when it was listed. */
  private async locateListed(listed: ObjectEntry): Promise<Located | undefined> {
    const known = this.recent.get(listed.key);
    if (known) {
      return known.put;
    }
    const id = idOf(listed.version);
    const [row] = await this.feed.find(sql.PLACE_OF_VERSION, id, listed.key);
    if (!row) {
      return undefined;
    }
    const { place, body_checksum: bodyChecksum } = row as { place: number | null; body_checksum: number };
    return { entry: entryOf(listed), id, place, bodyChecksum };
  }

  private async formerBody(id: number): Promise<Buffer | undefined> {
    const [row] = await this.files.read('objects', 'SELECT body FROM bodies WHERE id = ?', id);
    const body = row?.['body'];
    return body instanceof Uint8Array ? Buffer.from(body.buffer, body.byteOffset, body.byteLength) : undefined;
  }

  /** The entry of a row, or undefined when the row is damaged; it is then set aside. */
  private readRow(row: Row): Located | undefined {
    const { id, key, expiry, size, metadata, body_checksum: bodyChecksum } = row;
    const expected = checksum(...([id, key, expiry, size, metadata, bodyChecksum] as (string | number)[]));
    if (expected !== row['checksum']) {
      this.setAside(id as number, String(key), 'entry does not match its checksum', undefined);
      return undefined;
    }
    return {
      entry: {
        key: key as string,
        version: versionOf(id as number),
        arrival: tickToMs(id as number),
        expiry: expiry as number,
        size: size as number,
        metadata: JSON.parse(metadata as string) as ObjectMetadata,
      },
      id: id as number,
      place: row['place'] as number | null,
      bodyChecksum: bodyChecksum as number,
    };
  }

  private setAside(id: number, key: string, reason: string, body: Uint8Array | undefined): void {
    this.quarantine.setAsideObject(id, key, reason, body, () => this.feed.flush());
  }

  private isExpired(entry: ObjectEntry): boolean {
    return entry.expiry < this.clock.now();
  }
}

interface Opened {
  readonly feed: IndexFeed;
  readonly recent: RecentChanges;
  readonly ticks: Ticks;
}
