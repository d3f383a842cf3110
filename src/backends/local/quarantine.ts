/**
 * Where damaged objects and records go: out of the way of reads, kept for whoever wants to look into them, counted and
 * logged.
 */

import type { Clock } from '../../gateway/ports.ts';
import type { StoreFiles, StoreLog } from './store-files.ts';

/** How long damaged data is kept: the longest life of a message. */
const KEPT_MS = 180 * 86_400_000;

export class Quarantine {
  private readonly files: StoreFiles;
  private readonly log: StoreLog;
  private readonly clock: Clock;
  private readonly moving = new Set<string>();
  private moved = 0;

  constructor(parts: { files: StoreFiles; log: StoreLog; clock: Clock }) {
    this.files = parts.files;
    this.log = parts.log;
    this.clock = parts.clock;
  }

  /** How many were set aside since the start. */
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

  /** Deletes what was set aside so long ago that it is of no use to anybody. */
  async deleteOld(): Promise<void> {
    const statement = ['DELETE FROM quarantine WHERE found < ?', this.clock.now() - KEPT_MS] as const;
    await Promise.all([this.files.write('objects', [statement], 0), this.files.write('records', [statement], 0)]);
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
