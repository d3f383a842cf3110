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
import { deleteExpired } from './object-expiry.ts';
import { AFTER_ALL, requireKey, requirePrefix } from './object-keys.ts';
import {
  entryChecksum,
  entryOfRow,
  idOf,
  type Located,
  locatedOfRow,
  nameOfRow,
  objectOf,
  versionOf,
} from './object-rows.ts';
import { ENTRY, FIRST_PAGE, NEXT_PAGE, PAGE_ENTRIES, PLACE_OF_VERSION } from './object-statements.ts';
import type { Quarantine } from './quarantine.ts';
import { readSmall } from './read-small.ts';
import type { Tuple } from './reader.ts';
import { RecentChanges } from './recent-changes.ts';
import { RowMending } from './row-mending.ts';
import { isDiskError } from './segment-reader.ts';
import type { StoreFiles, StoreLog } from './store-files.ts';
import { Ticks, tickToMs } from './ticks.ts';
import { listUnread, readAgain } from './unread-stretches.ts';
import { WatchedKeys } from './watched-keys.ts';

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
  private readonly mending: RowMending;
  private readonly changes = new WatchedKeys();
  private lastPut: Promise<void> = Promise.resolve();

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
    this.mending = new RowMending(parts);
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

  async put(key: string, body: Uint8Array, options: PutOptions): Promise<ObjectEntry> {
    requireKey(key);
    if (this.feed.isBehind) {
      await this.feed.catchUp();
    }
    return this.append(key, body, options);
  }

  async putUnless(
    key: string,
    body: Uint8Array,
    options: PutOptions,
    stays: (there: ObjectEntry) => boolean,
  ): Promise<ObjectEntry | undefined> {
    requireKey(key);
    for (;;) {
      if (this.feed.isBehind) {
        await this.feed.catchUp();
      }
      const watch = this.changes.watch(key);
      try {
        // What was put before is known then, and what is put meanwhile is told.
        await this.lastPut.catch(() => undefined);
        const there = await this.find(key);
        if (!watch.hasCome) {
          return there && stays(there) ? undefined : await this.append(key, body, options);
        }
      } finally {
        this.changes.leave(watch);
      }
    }
  }

  /** Waits for nothing before it is in the order of the log. */
  private append(key: string, body: Uint8Array, { expiry, metadata = {} }: PutOptions): Promise<ObjectEntry> {
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
    this.changes.note(key);
    const put = this.log.append(head, {
      body,
      takesRoom: true,
      onWritten: (place) => {
        const put = { entry, id, place, bodyChecksum };
        const change = this.recent.set(key, put);
        this.lately.set(key, put);
        this.feed.add(head, place, size, change);
      },
    });
    this.lastPut = put;
    return put.then(() => entry);
  }

  async get(key: string, listed?: ObjectEntry): Promise<StoredObject | undefined> {
    // A body may be moved, and the segment where it was be gone, between the look at the index and that at the log.
    let placeBefore: Place | null | undefined;
    for (let isMended = false; ; ) {
      const located = (listed && (await this.locateListed(listed))) ?? (await this.locate(key));
      if (!located || this.isExpired(located.entry)) {
        return undefined;
      }
      const { entry, id, place, bodyChecksum } = located;
      if (this.quarantine.isLeft(entry.version)) {
        return undefined;
      }
      let body: Buffer | undefined;
      try {
        body = await (place === null ? this.formerBody(id) : this.log.segments.read(place, entry.size));
      } catch (error) {
        if (!isDiskError((error as StoreError).cause)) {
          throw error;
        }
        this.quarantine.leaveObject(entry);
        return undefined;
      }
      if (body?.length === entry.size && checksum(body) === bodyChecksum) {
        return objectOf(entry, body);
      }
      if (place !== placeBefore) {
        placeBefore = place;
      } else if (isMended || !(await this.mending.mend(id, place))) {
        this.setAside(id, entry.key, 'body does not match its checksum', body);
        return undefined;
      } else {
        isMended = true;
      }
    }
  }

  async getAll(listed: readonly ObjectEntry[]): Promise<(StoredObject | undefined)[]> {
    const { files, log, recent } = this;
    const isWanted = (entry: ObjectEntry) => !this.isExpired(entry) && !this.quarantine.isLeft(entry.version);
    const found = this.lately.read(listed, isWanted);
    const unknown = new Set(listed.filter((entry, index) => !found[index] && isWanted(entry)));
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
    requirePrefix(prefix);
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
        const listed = entryOfRow(row) ?? (await this.mendRow(row, prefix))?.entry;
        const entry = listed && !recent.has(listed.key) ? this.newest(listed) : undefined;
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

  /** Deletes expired objects. @returns how many there were @throws StoreError */
  async deleteExpired(): Promise<number> {
    await this.feed.flush();
    const { files, log, clock, report } = this;
    return deleteExpired({ files, log, clock, report, onDamage: (row) => this.mendRow(row, '') });
  }

  /** Deletes bodies of the former format that no entry leads to: damage leaves them. @returns how many there were */
  deleteOrphans(): Promise<number> {
    return this.files.write('objects', [['DELETE FROM bodies WHERE id NOT IN (SELECT id FROM entries)']], 0);
  }

  private async deleteVersion(key: string, id: number): Promise<boolean> {
    const before = this.recent.get(key);
    this.lately.forget(key);
    this.changes.note(key);
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
    const located = row && (locatedOfRow(row) ?? (await this.mendRow(row, key)));
    return located?.entry.key === key ? located : undefined;
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

  /** Where it was changed since: its successor, or nothing where it was deleted. */
  private newest(entry: ObjectEntry): ObjectEntry | undefined {
    const change = this.recent.get(entry.key);
    return change ? change.put?.entry : entry;
  }

  /** A damaged row is made anew from the log, or else set aside. @returns nothing where its true key does not begin so */
  private async mendRow(row: Tuple, prefix: string): Promise<Located | undefined> {
    const { id, key, place } = nameOfRow(row);
    const mended = await this.mending.mend(id, place);
    if (!mended) {
      this.setAside(id, key, 'entry does not match its checksum', undefined);
    }
    return mended?.entry.key.startsWith(prefix) ? mended : undefined;
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

/** As it was put: whoever gave it back to us may have added to it. */
function entryOf({ key, version, arrival, expiry, size, metadata }: ObjectEntry): ObjectEntry {
  return { key, version, arrival, expiry, size, metadata };
}
