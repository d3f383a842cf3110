/**
 * Work on the disk: items in a SQLite file, and the leases on them in memory, since no other process works on it.
 *
 * `work` has the items, `work_groups` what a taker needs of their groups: until when one rests, and `due`, before which
 * none of its items is to be taken. That is a lower bound, so that finished and postponed items change one row only:
 * whoever finds a group due without a due item sets it right (`mend`). Taking writes nothing.
 */
import { setImmediate } from 'node:timers/promises';
import type { Clock, QueueName, TakenItem, TakeOptions, Work, WorkGroup, WorkItem } from '../../gateway/ports.ts';
import { DueGroups } from './due-groups.ts';
import type { FreshItem } from './fresh-work.ts';
import type { Leases } from './leases.ts';
import { oldestDue } from './oldest-due.ts';
import type { StoreFiles } from './store-files.ts';
import { ADDED_AGAIN, addItem, addItems, addToGroup, ITEM_COLUMNS, readItem } from './work-rows.ts';
import type { Statement } from './writer-messages.ts';

/** Rows that are read at once, in well under a millisecond. */
const PAGE = 256;
/** What an item takes on disk, with its places in the indexes. */
const ITEM_OCTETS = 1024;
const EXPIRED_BATCH = 512;

export class StoredWork {
  private readonly files: StoreFiles;
  private readonly clock: Clock;
  private readonly leases: Leases;
  private readonly dueGroups: DueGroups;
  /** Of queues that were found to have no due group: when the next one is due, in milliseconds. */
  private readonly nextDue = new Map<QueueName, number>();

  constructor(parts: { files: StoreFiles; clock: Clock; leases: Leases }) {
    this.files = parts.files;
    this.clock = parts.clock;
    this.leases = parts.leases;
    this.dueGroups = new DueGroups(parts.files);
  }

  async add(queue: QueueName, work: Work): Promise<void> {
    const now = Math.floor(this.clock.now());
    await this.write(queue, [addItem(queue, work, now, ADDED_AGAIN), addToGroup(queue, work)], ITEM_OCTETS);
  }

  /** Whether this item is here, or anything of its group. @throws StoreError */
  async concerns(queue: QueueName, { key, group }: Work): Promise<boolean> {
    const rows = await this.files.read(
      'records',
      `SELECT 1 FROM work WHERE queue = ?1 AND key = ?2
       UNION ALL SELECT 1 FROM work_groups WHERE queue = ?1 AND grp = ?3 LIMIT 1`,
      queue,
      key,
      group,
    );
    return rows.length > 0;
  }

  /** Those of which there is no item here. @throws StoreError */
  async missing(queue: QueueName, work: readonly Work[]): Promise<Work[]> {
    const missing: Work[] = [];
    for (let start = 0; start < work.length; start += PAGE) {
      const page = work.slice(start, start + PAGE);
      const known = await this.files.read(
        'records',
        'SELECT key FROM work WHERE queue = ? AND key IN (SELECT value FROM json_each(?))',
        queue,
        JSON.stringify(page.map(({ key }) => key)),
      );
      const keys = new Set(known.map(({ key }) => key));
      missing.push(...page.filter(({ key }) => !keys.has(key)));
    }
    return missing;
  }

  /** Adds those that are not here. @throws StoreError */
  async addAll(queue: QueueName, work: readonly Work[]): Promise<void> {
    const now = Math.floor(this.clock.now());
    for (let start = 0; start < work.length; start += PAGE) {
      const page = work.slice(start, start + PAGE);
      const statements = page.flatMap((item) => [addItem(queue, item, now, 'DO NOTHING'), addToGroup(queue, item)]);
      await this.write(queue, statements, ITEM_OCTETS * page.length);
    }
  }

  /**
   * Takes over items of one group that were in memory until now, oldest first.
   *
   * @param taken is told of each that is here, durable
   * @throws StoreError
   */
  async takeOver(queue: QueueName, items: readonly FreshItem[], taken: (item: FreshItem) => void): Promise<void> {
    for (let start = 0; start < items.length; start += PAGE) {
      const page = items.slice(start, start + PAGE);
      await this.write(queue, addItems(queue, page), ITEM_OCTETS * page.length);
      page.forEach(taken);
    }
  }

  /** @param additions how often it had been added when it was taken @returns false when it was added again since */
  async finish(queue: QueueName, key: string, additions: number): Promise<boolean> {
    const sql = 'DELETE FROM work WHERE queue = ? AND key = ? AND additions = ?';
    return (await this.write(queue, [[sql, queue, key, additions]], 0)) > 0;
  }

  async postpone(queue: QueueName, key: string, due: number): Promise<void> {
    const sql = 'UPDATE work SET due = ?, attempts = attempts + 1 WHERE queue = ? AND key = ?';
    await this.write(queue, [[sql, Math.floor(due), queue, key]], 0);
  }

  async rest(queue: QueueName, group: string, until: number): Promise<void> {
    const instant = Math.floor(until);
    const sql = 'UPDATE work_groups SET rest = ?, due = max(due, ?) WHERE queue = ? AND grp = ?';
    await this.write(queue, [[sql, instant, instant, queue, group]], 0);
  }

  async hasten(queue: QueueName, group: string): Promise<void> {
    const now = Math.floor(this.clock.now());
    const [waiting] = await this.files.read(
      'records',
      `SELECT 1 FROM work_groups WHERE queue = ?1 AND grp = ?2 AND due > ?3
       UNION ALL SELECT 1 FROM work WHERE queue = ?1 AND grp = ?2 AND due > ?3 LIMIT 1`,
      queue,
      group,
      now,
    );
    if (!waiting) {
      return;
    }
    await this.write(
      queue,
      [
        ['UPDATE work SET due = ?1 WHERE queue = ?2 AND grp = ?3 AND due > ?1', now, queue, group],
        ['UPDATE work_groups SET rest = 0, due = min(due, ?) WHERE queue = ? AND grp = ?', now, queue, group],
      ],
      0,
    );
  }

  async remove(queue: QueueName, key: string): Promise<void> {
    await this.write(queue, [['DELETE FROM work WHERE queue = ? AND key = ?', queue, key]], 0);
  }

  async *list(queue: QueueName, group?: string): AsyncIterable<WorkItem> {
    const ofGroup = group === undefined ? '' : 'AND grp = ?3';
    const parameters = group === undefined ? [] : [group];
    for (let after = 0; ; ) {
      const page = await this.files.read(
        'records',
        `SELECT ${ITEM_COLUMNS} FROM work WHERE queue = ?1 AND id > ?2 ${ofGroup} ORDER BY id LIMIT ${PAGE}`,
        queue,
        after,
        ...parameters,
      );
      for (const row of page) {
        const item = readItem(row);
        if (item.expiry >= this.clock.now()) {
          yield item;
        }
      }
      if (page.length < PAGE) {
        return;
      }
      after = page.at(-1)?.['id'] as number;
      await setImmediate();
    }
  }

  async *groups(queue: QueueName): AsyncIterable<WorkGroup> {
    for (let after = 0; ; ) {
      const page = await this.files.read(
        'records',
        `SELECT id, grp, rest,
           (SELECT count(*) FROM work WHERE work.queue = g.queue AND work.grp = g.grp AND expiry >= ?3) AS count,
           (SELECT min(due) FROM work WHERE work.queue = g.queue AND work.grp = g.grp AND expiry >= ?3) AS first
         FROM work_groups AS g WHERE queue = ?1 AND id > ?2 ORDER BY id LIMIT ${PAGE}`,
        queue,
        after,
        this.clock.now(),
      );
      for (const { grp, rest, count, first } of page) {
        if (count !== 0) {
          const due = Math.max(rest as number, first as number);
          yield { group: grp as string, count: count as number, due, rest: rest as number };
        }
      }
      if (page.length < PAGE) {
        return;
      }
      after = page.at(-1)?.['id'] as number;
      await setImmediate();
    }
  }

  /** As the port's. @param now whole milliseconds @throws StoreError */
  oldestDue(queue: QueueName, now: number): Promise<number | undefined> {
    return oldestDue({ files: this.files, leases: this.leases }, queue, now);
  }

  /** Deletes expired items, a bounded batch at a time. */
  async deleteExpired(): Promise<void> {
    for (let deleted = EXPIRED_BATCH; deleted === EXPIRED_BATCH; ) {
      deleted = await this.files.write(
        'records',
        [
          [
            `DELETE FROM work WHERE id IN (SELECT id FROM work WHERE expiry < ? LIMIT ${EXPIRED_BATCH})`,
            this.clock.now(),
          ],
        ],
        0,
      );
    }
  }

  /** Takes what is due now. @param taken what the caller has already, to which it is added @throws StoreError */
  async take(queue: QueueName, { count, lease, room }: TakeOptions, taken: TakenItem[]): Promise<void> {
    const now = Math.floor(this.clock.now());
    if (now < (this.nextDue.get(queue) ?? 0)) {
      return;
    }
    const empty: string[] = [];
    let isNoneDue = true;
    for await (const group of this.dueGroups.walk(queue, now)) {
      isNoneDue = false;
      const wanted = Math.min(room(group, taken), count - taken.length);
      if (wanted > 0) {
        const found = await this.takeOf(queue, group, wanted, now, lease);
        taken.push(...(found ?? []));
        if (!found) {
          empty.push(group);
        }
      }
      if (taken.length >= count) {
        break;
      }
    }
    if (empty.length > 0) {
      await this.mend(queue, empty);
    } else if (isNoneDue) {
      const next = await this.whenDue(queue);
      if (next > now) {
        this.nextDue.set(queue, next);
      }
    }
  }

  /** When the next group is due that is not due yet, in milliseconds; infinite where there is none. @throws StoreError */
  async whenDue(queue: QueueName): Promise<number> {
    const known = this.nextDue.get(queue);
    const now = this.clock.now();
    if (known !== undefined && known > now) {
      return known;
    }
    const [next] = await this.files.read(
      'records',
      'SELECT due FROM work_groups WHERE queue = ? AND due > ? ORDER BY due LIMIT 1',
      queue,
      now,
    );
    return (next?.['due'] as number | undefined) ?? Number.POSITIVE_INFINITY;
  }

  /** Undefined when the group has no due item at all, not even in somebody's hand. */
  private async takeOf(
    queue: QueueName,
    group: string,
    wanted: number,
    now: number,
    leaseTime: number,
  ): Promise<TakenItem[] | undefined> {
    const rows = await this.files.read(
      'records',
      `SELECT ${ITEM_COLUMNS} FROM work WHERE queue = ? AND grp = ? AND due <= ? AND expiry >= ?
       ORDER BY due, id LIMIT ?`,
      queue,
      group,
      now,
      now,
      wanted + this.leases.inGroup(queue, group),
    );
    if (rows.length === 0) {
      return undefined;
    }
    const taken: TakenItem[] = [];
    for (const row of rows) {
      const item = readItem(row);
      if (taken.length < wanted && !this.leases.isHeld(queue, item.key, now)) {
        const lease = this.leases.give(queue, item, { until: now + leaseTime, additions: row['additions'] as number });
        taken.push({ ...item, lease });
      }
    }
    return taken;
  }

  /** Sets `due` of groups right that have no due item; those without any item go. */
  private async mend(queue: QueueName, groups: readonly string[]): Promise<void> {
    const statements = groups.flatMap((group): Statement[] => [
      [
        `UPDATE work_groups SET due = max(rest, (SELECT min(due) FROM work WHERE queue = ?1 AND grp = ?2))
         WHERE queue = ?1 AND grp = ?2 AND EXISTS (SELECT 1 FROM work WHERE queue = ?1 AND grp = ?2)`,
        queue,
        group,
      ],
      [
        `DELETE FROM work_groups WHERE queue = ?1 AND grp = ?2
         AND NOT EXISTS (SELECT 1 FROM work WHERE queue = ?1 AND grp = ?2)`,
        queue,
        group,
      ],
    ]);
    await this.write(queue, statements, 0);
  }

  /** What was known of when groups are due holds no longer. */
  private async write(queue: QueueName, statements: readonly Statement[], growth: number): Promise<number> {
    try {
      return await this.files.write('records', statements, growth);
    } finally {
      this.nextDue.delete(queue);
    }
  }
}
