/**
 * Where damaged objects and records go: out of the way of reads, kept for whoever wants to look into them, counted and
 * logged.
 */

import type { Clock, ObjectEntry } from '../../gateway/ports.ts';
import { placeOf } from './log-records.ts';
import type { StoreFiles, StoreLog } from './store-files.ts';
import type { UnreadStretch } from './unread-stretches.ts';
import type { Statement } from './writer-messages.ts';

/** How long damaged data is kept: the longest life of a message. */
const KEPT_MS = 180 * 86_400_000;
/** What the disk did not give is not asked for again so soon. */
const RETRY_MS = 60_000;

/** Where they were found before, they count from then on. */
const KEEP_UNREAD = `
  INSERT INTO quarantine (id, found, reason, entry) VALUES (?, ?, 'cannot be read', ?)
  ON CONFLICT (id) DO UPDATE SET entry = excluded.entry`;

export class Quarantine {
  private readonly files: StoreFiles;
  private readonly log: StoreLog;
  private readonly clock: Clock;
  private readonly moving = new Set<string>();
  /** What could not be read since the start, and stays where it is. */
  private readonly unread = new Set<string>();
  /** Versions of objects, and when they are to be tried again. */
  private readonly left = new Map<string, number>();
  private moved = 0;

  constructor(parts: { files: StoreFiles; log: StoreLog; clock: Clock }) {
    this.files = parts.files;
    this.log = parts.log;
    this.clock = parts.clock;
  }

  /** How many were set aside or passed over since the start. */
  get count(): number {
    return this.moved;
  }

  /**
   * @param id its row; the key may be damaged too
   * @param body as far as it can be read
   * @param whenIndexed resolves when the index has its entry
   */
  setAsideObject(
    id: number,
    key: string,
    reason: string,
    body: Uint8Array | undefined,
    whenIndexed: () => Promise<void>,
  ): void {
    this.setAside(`object ${id}`, { key, reason }, async () => {
      await whenIndexed();
      return await this.files.write(
        'objects',
        [
          [
            `INSERT OR REPLACE INTO quarantine (id, found, reason, entry, body)
             SELECT id, ?, ?, json_array(key, expiry, size, metadata, body_checksum, checksum), ?
             FROM entries WHERE id = ?`,
            this.clock.now(),
            reason,
            body ?? null,
            id,
          ],
          ['DELETE FROM entries WHERE id = ?', id],
        ],
        0,
      );
    });
  }

  /** @param id its row */
  setAsideRecord(id: number, kind: string, key: string, reason: string): void {
    this.setAside(`record ${id}`, { kind, key, reason }, () =>
      this.files.write(
        'records',
        [
          [
            `INSERT OR REPLACE INTO quarantine (id, found, reason, entry)
             SELECT id, ?, ?, json_array(kind, key, expiry, fields, checksum) FROM records WHERE id = ?`,
            this.clock.now(),
            reason,
            id,
          ],
          ['DELETE FROM records WHERE id = ?', id],
        ],
        0,
      ),
    );
  }

  /** Counts and logs, once, an object whose body the disk does not give now. It may do so later: the object stays. */
  leaveObject({ key, version }: Pick<ObjectEntry, 'key' | 'version'>): void {
    this.left.set(version, this.clock.now() + RETRY_MS);
    this.tellUnread(`object ${version}`, { key });
  }

  /** Whether the disk did not give the body of that version just now: a disk that fails takes its time for each try. */
  isLeft(version: string): boolean {
    const until = this.left.get(version);
    return until !== undefined && this.clock.now() < until;
  }

  /**
   * Has octets of the log of messages stay that the disk does not give now. Each is counted and logged once.
   *
   * @param before what was taken for unreadable until now, and they are the rest of
   */
  async keepUnread(stretches: readonly UnreadStretch[], before?: UnreadStretch): Promise<void> {
    const statements: Statement[] = [];
    for (const { segment, from, to } of stretches) {
      const place = placeOf(segment, from);
      this.tellUnread(`place ${place}`, { segment, from, to });
      statements.push([KEEP_UNREAD, -place, this.clock.now(), JSON.stringify({ segment, from, to })]);
    }
    if (before && !stretches.some(({ from }) => from === before.from)) {
      statements.push(['DELETE FROM quarantine WHERE id = ?', -placeOf(before.segment, before.from)]);
    }
    if (statements.length > 0) {
      await this.files.write('objects', statements, 0);
    }
  }

  /** Deletes what was set aside so long ago that it is of no use to anybody. */
  async deleteOld(): Promise<void> {
    const statement = ['DELETE FROM quarantine WHERE found < ?', this.clock.now() - KEPT_MS] as const;
    await Promise.all([this.files.write('objects', [statement], 0), this.files.write('records', [statement], 0)]);
  }

  private tellUnread(name: string, details: Readonly<Record<string, unknown>>): void {
    if (!this.unread.has(name)) {
      this.unread.add(name);
      this.moved++;
      this.log.error(details, 'The disk does not give what is stored: it is passed over, and left where it is');
    }
  }

  /** Counts and logs at once; the move itself may come later, since until then each read finds the damage again. */
  private setAside(name: string, details: Readonly<Record<string, unknown>>, move: () => Promise<number>): void {
    if (this.moving.has(name)) {
      return;
    }
    this.moving.add(name);
    this.moved++;
    this.log.error(details, 'Damaged data was set aside');
    move()
      .catch((error: Error) => {
        this.log.error({ ...details, cause: error.message }, 'Damaged data could not be moved');
      })
      .finally(() => this.moving.delete(name));
  }
}
