/**
 * Brings what the log of messages has to the index, some hundreds of changes at a time.
 */
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { StoreError } from '../../gateway/ports.ts';
import { type Head, type Place, placeOf } from './log-records.ts';
import type { MessageLog } from './message-log.ts';
import type { Quarantine } from './quarantine.ts';
import type { Row, Tuple } from './reader.ts';
import type { RecentChange, RecentChanges } from './recent-changes.ts';
import type { SegmentDamage } from './segments.ts';
import type { StoreFiles, StoreLog } from './store-files.ts';
import type { SqlValue } from './writer-messages.ts';

/** Changes wait for so long, so that what is collected at once is not indexed at all. */
const WAIT_MS = 500;
/** So many go over as one. */
const SLICE = 1000;
/** So many do not wait for longer: before that, what is delivered at once need not be indexed. */
const EAGER = 8000;
/** Octets of bodies that wait at most: what the next start must go through. */
const MOST_OCTETS = 32 * 1024 * 1024;
/** When so many wait, new messages wait, too. */
const MOST_WAITING = 50_000;
/** After a failure, e.g. on a full disk. */
const RETRY_MS = 1000;
/** Records that are read from the log in one turn of the event loop. */
const TURN_RECORDS = 500;
/** Octets of bodies in one turn. */
const TURN_OCTETS = 4 * 1024 * 1024;

interface Waiting {
  /** JSON of a `PlacedHead`. */
  readonly head: string;
  readonly end: Place;
  readonly octets: number;
  /** What nobody needs to look at any more once this is in the index. */
  readonly change: RecentChange | undefined;
}

export class IndexFeed {
  private readonly files: StoreFiles;
  private readonly log: MessageLog;
  private readonly recent: RecentChanges;
  private readonly quarantine: Quarantine;
  private readonly report: StoreLog;
  private waiting: Waiting[] = [];
  private octets = 0;
  /** How many were added since the start. */
  private added = 0;
  private timer: NodeJS.Timeout | undefined;
  private sending: Promise<void> | undefined;
  /** Why the last slice could not be sent. */
  private failure: Error | undefined;
  private whenRoom = Promise.withResolvers<void>();
  private whenSent = Promise.withResolvers<void>();
  /** Up to where nothing of the log waits to be sent. */
  private sent: Place = 0;
  private restored: Promise<unknown> = Promise.resolve();
  private restoring = 0;
  private isClosed = false;

  constructor(parts: {
    files: StoreFiles;
    log: MessageLog;
    recent: RecentChanges;
    quarantine: Quarantine;
    report: StoreLog;
  }) {
    this.files = parts.files;
    this.log = parts.log;
    this.recent = parts.recent;
    this.quarantine = parts.quarantine;
    this.report = parts.report;
  }

  /** Whether so much waits that new messages should. */
  get isBehind(): boolean {
    return this.waiting.length >= MOST_WAITING;
  }

  /** Whether the log has something about this key that the index does not have. */
  isChanging(key: string): boolean {
    return this.recent.get(key) !== undefined;
  }

  /** Resolves when less waits. */
  async catchUp(): Promise<void> {
    while (this.isBehind) {
      if (this.failure) {
        throw new StoreError('STORE_AWAY', 'The index of messages is behind their log', { cause: this.failure });
      }
      await this.whenRoom.promise;
    }
  }

  /**
   * @param head JSON, as it is in the log
   * @param place of the body, or of the record's end
   * @param octets of the body
   */
  add(head: string, place: Place, octets: number, change?: RecentChange): void {
    this.waiting.push({ head: `${head.slice(0, -1)},${place}]`, end: place + octets, octets, change });
    this.octets += octets;
    this.added++;
    if (this.sending || this.failure) {
      // After a failure, the timer sends.
      this.timer ??= this.sending ? undefined : setTimeout(() => void this.send(), RETRY_MS).unref();
      return;
    }
    if (this.waiting.length >= EAGER || this.octets >= MOST_OCTETS) {
      void this.send();
    } else {
      this.timer ??= setTimeout(() => void this.send(), WAIT_MS).unref();
    }
  }

  /** Resolves when all that was added until now is in the index. @throws StoreError */
  async flush(): Promise<void> {
    for (const wanted = this.added; this.added - this.waiting.length < wanted; ) {
      // Under load, `send` may not end for long: each slice counts.
      await Promise.race([this.send(), this.whenSent.promise]);
      if (this.failure) {
        throw this.failure;
      }
    }
  }

  /** Brings back what a repair of the index lost, while the store is in use; tried until it is done. */
  restore(): void {
    this.restoring++;
    this.restored = Promise.all([this.restored, this.rebuildUntilDone()]).finally(() => this.restoring--);
    // Whoever waits is told; there may be nobody.
    this.restored.catch(() => {});
  }

  /** Resolves when nothing is missing in the index that a repair lost. @throws StoreError */
  async whenRestored(): Promise<void> {
    while (this.restoring > 0) {
      await this.restored;
    }
  }

  /** Rows of the index; where there are none, once all is in it again. @throws StoreError */
  find(sql: string, ...parameters: SqlValue[]): Promise<Row[]> {
    return this.findWhole(() => this.files.read('objects', sql, ...parameters));
  }

  /** As `find`, with each row in the order of its columns. @throws StoreError */
  findTuples(sql: string, ...parameters: SqlValue[]): Promise<Tuple[]> {
    return this.findWhole(() => this.files.readTuples('objects', sql, ...parameters));
  }

  private async findWhole<Found>(read: () => Promise<Found[]>): Promise<Found[]> {
    const rows = await read();
    if (rows.length > 0 || this.restoring === 0) {
      return rows;
    }
    await this.whenRestored();
    return await read();
  }

  /**
   * Brings the index up to the whole log, from a place on, while the store is in use.
   *
   * @param keys where all but these is in it already
   * @returns the greatest version that was seen, and whether all could be read
   */
  async rebuild(from: Place, keys?: ReadonlySet<string>): Promise<{ last: number; isWhole: boolean }> {
    const { repairsOfObjects } = this.files;
    const damages = new Map<Place, SegmentDamage>();
    const onDamage = (damage: SegmentDamage) => damages.set(placeOf(damage.segment, damage.from), damage);
    let last = 0;
    let heads: string[] = [];
    let octets = 0;
    let place = from;
    for (let before = -1; place !== before; ) {
      before = place;
      for (const record of this.log.records(place, { verifiesBodies: true, onDamage })) {
        if (record) {
          const { head, segment, end, bodyOctets } = record;
          place = placeOf(segment, end);
          octets += bodyOctets;
          if (!keys || keys.has(head[2])) {
            heads.push(placed(head, placeOf(segment, end - bodyOctets)));
            last = Math.max(last, head[1]);
          }
        }
        const isTurnOver = heads.length === TURN_RECORDS || octets >= TURN_OCTETS;
        if (isTurnOver) {
          await this.files.index(`[${heads.join(',')}]`, undefined, true);
          heads = [];
          octets = 0;
        }
        if (isTurnOver || !record) {
          await setImmediate();
        }
      }
    }
    if (keys) {
      await this.files.index(`[${heads.join(',')}]`, undefined, true);
      return { last, isWhole: true };
    }
    // Before the index says that it has all: what cannot be read now is not to be forgotten.
    await this.tellDamage([...damages.values()]);
    // What came since the log was read to its end waits to be sent anyway.
    if (this.waiting.length === 0) {
      this.sent = Math.max(this.sent, place);
    }
    // What waits is applied once more: killed between a put and its deletion, the next start must go on before both.
    await this.files.index(`[${heads.join(',')}]`, Math.min(this.sent, place), true, repairsOfObjects);
    return { last, isWhole: damages.size === 0 };
  }

  /** Ends when the index has all, if it can. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.timer);
    await this.flush().catch((error: Error) => this.warn(error));
    clearTimeout(this.timer);
  }

  private async tellDamage(damages: readonly SegmentDamage[]): Promise<void> {
    for (const { segment, from, to, isUnreadable } of damages) {
      if (!isUnreadable) {
        this.report.warn({ segment, from, to }, 'Octets of the log of messages cannot be read');
      }
    }
    await this.quarantine.keepUnread(damages.filter(({ isUnreadable }) => isUnreadable));
  }

  private async rebuildUntilDone(): Promise<void> {
    while (!this.isClosed) {
      try {
        await this.rebuild(0);
        return;
      } catch (error) {
        this.report.error({ reason: (error as Error).message }, 'The index cannot be rebuilt');
        await sleep(RETRY_MS, undefined, { ref: false });
      }
    }
    throw new StoreError('STORE_AWAY', 'The store is closed');
  }

  private send(): Promise<void> {
    this.sending ??= this.sendAll().finally(() => {
      this.sending = undefined;
    });
    return this.sending;
  }

  private async sendAll(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    try {
      do {
        await this.sendSlice();
      } while (this.waiting.length >= SLICE);
    } catch (error) {
      this.warn(error as Error);
      this.failure = error as Error;
      this.whenRoom.resolve();
      this.whenRoom = Promise.withResolvers();
    }
    if (this.waiting.length > 0) {
      this.timer = setTimeout(() => void this.send(), this.failure ? RETRY_MS : WAIT_MS).unref();
    }
  }

  private async sendSlice(): Promise<void> {
    const slice = this.waiting.slice(0, SLICE);
    const last = slice.at(-1);
    if (!last) {
      return;
    }
    await this.files.index(`[${slice.map(({ head }) => head).join(',')}]`, last.end, false);
    this.failure = undefined;
    this.waiting = this.waiting.slice(slice.length);
    this.sent = Math.max(this.sent, last.end);
    for (const { octets, change } of slice) {
      this.octets -= octets;
      if (change) {
        this.recent.settle(change);
      }
    }
    this.whenSent.resolve();
    this.whenSent = Promise.withResolvers();
    if (!this.isBehind) {
      this.whenRoom.resolve();
      this.whenRoom = Promise.withResolvers();
    }
  }

  private warn(error: Error): void {
    if (!this.failure) {
      this.report.warn({ reason: error.message }, 'The index of messages is behind their log');
    }
  }
}

function placed(head: Head, place: Place): string {
  return `${JSON.stringify(head).slice(0, -1)},${place}]`;
}
