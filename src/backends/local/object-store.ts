/**
 * The object store on this machine: messages in a log of their own (`message-log.ts`), and where they are in it in an
 * index, a SQLite file. The index follows the log by half a second or so; what it does not have yet is looked up in
 * memory (`recent-changes.ts`).
 */

import { setImmediate } from 'node:timers/promises';
import type { Clock, ObjectEntry, ObjectStore, PutOptions, StoredObject, StoreError } from '../../gateway/ports.ts';
import { checksum } from './checksum.ts';
import { IndexFeed } from './index-feed.ts';
import { LatelyPut } from './lately-put.ts';
import { DELETE, MOST_BODY_OCTETS, MOST_HEAD_OCTETS, type Place, PUT } from './log-records.ts';
import type { MessageLog } from './message-log.ts';
import { newestKeys } from './newest-objects.ts';
import {
  ENTRY_COLUMNS,
  entryChecksum,
  entryOfRow,
  idOf,
  type Located,
  locatedOfRow,
  nameOfRow,
  objectOf,
  versionOf,
} from './object-rows.ts';
import type { Quarantine } from './quarantine.ts';
import { readSmall } from './read-small.ts';
import type { Tuple } from './reader.ts';
import { RecentChanges } from './recent-changes.ts';
import { isDiskError } from './segment-reader.ts';
import type { StoreFiles, StoreLog } from './store-files.ts';
import { Ticks, tickToMs } from './ticks.ts';
import { listUnread, readAgain } from './unread-stretches.ts';

/** Entries a page of `list`: read in well under a millisecond. */
const PAGE_ENTRIES = 256;
/** Sorts after every character that keys may have. */
const AFTER_ALL = '\x7f';
const KEY_PATTERN = /^[\x20-\x7e]{1,512}$/;
const PREFIX_PATTERN = /^[\x20-\x7e]{0,512}$/;
/** Housekeeping deletes so much at a time, so that writers do not wait. */
const EXPIRED_BATCH = 256;
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
  private readonly lately: LatelyPut;

  private constructor(parts: ObjectStoreParts, { feed, recent, ticks }: Opened) {
    this.files = parts.files;
    this.log = parts.log;
    this.quarantine = parts.quarantine;
    this.clock = parts.clock;
    this.report = parts.report;
    this.feed = feed;
    this.recent = recent;
    this.lately = new LatelyPut({ log: parts.log, recent });
    this.ticks = ticks;
  }

  /** Brings the index up to the log, which may have what the index lost with the power, or all of it. */
  static async open(parts: ObjectStoreParts): Promise<LocalObjectStore> {
    const { files, log, quarantine, report } = parts;
    const recent = new RecentChanges();
    const feed = new IndexFeed({ files, log, recent, quarantine, report });
    const [progress] = await files.read('objects', 'SELECT place FROM progress');
    const unread = await listUnread(files);
    let isRepaired = false;
    files.onObjectsRepaired = () => {
      isRepaired = true;
    };
    const indexed = Number(progress?.['place'] ?? 0);
    let { last, isWhole } = await feed.rebuild(indexed);
    await readAgain(unread, { log, feed, quarantine, report });
    while (isRepaired) {
      isRepaired = false;
      const again = await feed.rebuild(0);
      last = Math.max(last, again.last);
      isWhole &&= again.isWhole;
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
    const fields = { id, key, expiry: expiryMs, size, metadata: metadataJson, bodyChecksum };
    const head = JSON.stringify([PUT, id, key, expiryMs, size, metadataJson, bodyChecksum, entryChecksum(fields)]);
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
      let body: Buffer | undefined;
      try {
        body = await (place === null ? this.formerBody(id) : this.log.read(place, entry.size));
      } catch (error) {
        if (!isDiskError((error as StoreError).cause)) {
          throw error;
        }
        this.quarantine.leaveObject(id, entry.key);
        return undefined;
      }
      if (body?.length === entry.size && checksum(body) === bodyChecksum) {
        return objectOf(entry, body);
      }
      if (place === placeBefore) {
        this.setAside(id, entry.key, 'body does not match its checksum', body);
        return undefined;
      }
      placeBefore = place;
    }
  }

  async getAll(listed: readonly ObjectEntry[]): Promise<(StoredObject | undefined)[]> {
    const { files, log, recent } = this;
    const found = this.lately.read(listed, (entry) => !this.isExpired(entry));
    const unknown = new Set(listed.filter((entry, index) => !found[index] && !this.isExpired(entry)));
    const small = await readSmall({ files, log, recent }, listed, (entry) => unknown.has(entry));
    const others: Promise<void>[] = [];
    for (const [index, entry] of listed.entries()) {
      found[index] ??= small[index];
      if (!found[index]) {
        others.push(
          this.get(entry.key, entry).then((stored) => {
            found[index] = stored;
          }),
        );
      }
    }
    await Promise.all(others);
    return found;
  }

  async find(key: string): Promise<ObjectEntry | undefined> {
    const located = await this.locate(key);
    return located && !this.isExpired(located.entry) ? located.entry : undefined;
  }

  async *list(prefix: string): AsyncIterable<ObjectEntry> {
    for await (const page of this.listPages(prefix)) {
      yield* page;
    }
  }

  async *listPages(prefix: string): AsyncIterable<readonly ObjectEntry[]> {
    if (!PREFIX_PATTERN.test(prefix)) {
      throw new TypeError('A prefix is up to 512 printable ASCII characters');
    }
    await this.feed.whenRestored();
    // What the index does not have now it may have before we get there: it is told from memory, once.
    const recent = new Set<string>();
    let entries: ObjectEntry[] = [];
    for (const { key, put } of this.recent.under(prefix)) {
      recent.add(key);
      if (put && !this.isExpired(put.entry)) {
        entries.push(put.entry);
      }
    }
    // Between pages nothing is held open: neither a read transaction nor the event loop.
    for (let after = prefix, sql = FIRST_PAGE; ; sql = NEXT_PAGE) {
      if (entries.length > 0) {
        yield entries;
        entries = [];
      }
      const page = await this.files.readTuples('objects', sql, after, prefix + AFTER_ALL);
      for (const row of page) {
        const entry = recent.has(row[1] as string) ? undefined : this.listedEntry(row);
        if (entry && !this.isExpired(entry)) {
          entries.push(entry);
        }
      }
      const last = String(page.at(-1)?.[1]);
      // Only a damaged key can be out of order; the next verification of the indexes finds it.
      const isOutOfOrder = last <= after && sql === NEXT_PAGE;
      if (page.length < PAGE_ENTRIES || isOutOfOrder) {
        if (entries.length > 0) {
          yield entries;
        }
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
    const lately = this.lately.get(key);
    let change = this.recent.get(key) ?? (lately && !this.isExpired(lately.entry) ? { put: lately } : undefined);
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
      const rows = await this.files.read('objects', EXPIRED, this.clock.now());
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

  private async locate(key: string): Promise<Located | undefined> {
    const known = this.recent.get(key);
    if (known) {
      return known.put;
    }
    const [row] = await this.feed.findTuples(ENTRY, key);
    return row && (locatedOfRow(row) ?? this.setRowAside(row));
  }

  /** That very version, where it is there still; its entry was verified when it was listed. */
  private async locateListed(listed: ObjectEntry): Promise<Located | undefined> {
    const known = this.recent.get(listed.key);
    if (known) {
      return known.put;
    }
    const id = idOf(listed.version);
    const [row] = await this.feed.find(PLACE_OF_VERSION, id, listed.key);
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

  /** Changed since: its successor, or nothing where it was deleted. */
  private listedEntry(row: Tuple): ObjectEntry | undefined {
    const entry = entryOfRow(row) ?? this.setRowAside(row);
    const change = entry && this.recent.get(entry.key);
    return change ? change.put?.entry : entry;
  }

  private setRowAside(row: Tuple): undefined {
    const { id, key } = nameOfRow(row);
    this.setAside(id, key, 'entry does not match its checksum', undefined);
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

/** Without a look into the index of keys, which are in no order: ids are in that of arrival. */
const PLACE_OF_VERSION = 'SELECT place, body_checksum FROM entries WHERE id = ? AND key = ?';
const ENTRY = `SELECT ${ENTRY_COLUMNS} FROM entries WHERE key = ?`;
const FIRST_PAGE = `SELECT ${ENTRY_COLUMNS} FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT ${PAGE_ENTRIES}`;
const NEXT_PAGE = `SELECT ${ENTRY_COLUMNS} FROM entries WHERE key > ? AND key < ? ORDER BY key LIMIT ${PAGE_ENTRIES}`;

const EXPIRED = `SELECT id, size, place FROM entries WHERE expiry < ? ORDER BY expiry LIMIT ${EXPIRED_BATCH}`;

/** As it was put: whoever gave it back to us may have added to it. */
function entryOf({ key, version, arrival, expiry, size, metadata }: ObjectEntry): ObjectEntry {
  return { key, version, arrival, expiry, size, metadata };
}
