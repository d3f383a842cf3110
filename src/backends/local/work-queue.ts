/**
 * The work queue on this machine: items in a SQLite file, and leases in memory, since no other process works on it.
 *
 * `work` has the items, `work_groups` what a taker needs of their groups: until when one rests, and `due`, before which
 * none of its items is to be taken. That is a lower bound, so that finished and postponed items change one row only:
 * whoever finds a group due without a due item sets it right (`mend`). Taking writes nothing.
 */
import { setImmediate } from 'node:timers/promises';
import type {
  Clock,
  QueueName,
  TakenItem,
  TakeOptions,
  Work,
  WorkGroup,
  WorkItem,
  WorkQueue,
} from '../../gateway/ports.ts';
import { DueGroups } from './due-groups.ts';
import { Leases } from './leases.ts';
import { oldestDue } from './oldest-due.ts';
import type { StoreFiles } from './store-files.ts';
import { ADDED_AGAIN, addItem, addToGroup, ITEM_COLUMNS, readItem } from './work-rows.ts';
import type { Statement } from './writer-messages.ts';

/** Rows that are read at once, in well under a millisecond. */
const PAGE = 256;
/** What an item takes on disk, with its places in the indexes. */
const ITEM_OCTETS = 1024;
const EXPIRED_BATCH = 512;
/** A taker that waits looks again so often, in milliseconds: the clock may have been set. */
const LONGEST_WAIT = 500;
const SHORTEST_WAIT = 2;

export class LocalWorkQueue implements WorkQueue {
  private readonly files: StoreFiles;
  private readonly clock: Clock;
  private readonly leases = new Leases();
  private readonly dueGroups: DueGroups;
  private changed = Promise.withResolvers<void>();

  constructor(parts: { files: StoreFiles; clock: Clock }) {
    this.files = parts.files;
    this.clock = parts.clock;
    this.dueGroups = new DueGroups(parts.files);
  }

  async add(queue: QueueName, work: Work): Promise<void> {
    const now = Math.floor(this.clock.now());
    await this.files.write('records', [addItem(queue, work, now, ADDED_AGAIN), addToGroup(queue, work)], ITEM_OCTETS);
    this.notify();
  }

  async addMissing(queue: QueueName, work: readonly Work[]): Promise<number> {
    let added = 0;
    for (let start = 0; start < work.length; start += PAGE) {
      const page = work.slice(start, start + PAGE);
      const known = await this.files.read(
        'records',
        'SELECT key FROM work WHERE queue = ? AND key IN (SELECT value FROM json_each(?))',
        queue,
        JSON.stringify(page.map(({ key }) => key)),
      );
      const keys = new Set(known.map(({ key }) => key));
      const missing = page.filter(({ key }) => !keys.has(key));
      if (missing.length > 0) {
        const now = Math.floor(this.clock.now());
        const statements = missing.flatMap((item) => [
          addItem(queue, item, now, 'DO NOTHING'),
          addToGroup(queue, item),
        ]);
        await this.files.write('records', statements, ITEM_OCTETS * missing.length);
        added += missing.length;
        this.notify();
      }
    }
    return added;
  }

  async take(queue: QueueName, options: TakeOptions, signal: AbortSignal): Promise<TakenItem[]> {
    while (!signal.aborted) {
      const changed = this.changed.promise;
      const taken = await this.takeNow(queue, options);
      if (taken.length > 0) {
        return taken;
      }
      await this.waitForWork(queue, changed, signal);
    }
    return [];
  }

  async renew(queue: QueueName, items: readonly TakenItem[], lease: number): Promise<TakenItem[]> {
    const until = Math.floor(this.clock.now()) + lease;
    return items.filter((item) => !this.leases.renew(queue, item, until));
  }

  async finish(queue: QueueName, item: TakenItem): Promise<boolean> {
    const lease = this.leases.of(queue, item);
    if (!lease) {
      return false;
    }
    const deleted = await this.files.write(
      'records',
      [['DELETE FROM work WHERE queue = ? AND key = ? AND additions = ?', queue, item.key, lease.additions]],
      0,
    );
    this.endLease(queue, item);
    return deleted > 0;
  }

  async postpone(queue: QueueName, item: TakenItem, due: number): Promise<boolean> {
    if (!this.leases.of(queue, item)) {
      return false;
    }
    await this.files.write(
      'records',
      [
        [
          'UPDATE work SET due = ?, attempts = attempts + 1 WHERE queue = ? AND key = ?',
          Math.floor(due),
          queue,
          item.key,
        ],
      ],
      0,
    );
    this.endLease(queue, item);
    return true;
  }

  async release(queue: QueueName, item: TakenItem): Promise<void> {
    this.endLease(queue, item);
  }

  async rest(queue: QueueName, group: string, until: number): Promise<void> {
    const instant = Math.floor(until);
    await this.files.write(
      'records',
      [
        [
          'UPDATE work_groups SET rest = ?, due = max(due, ?) WHERE queue = ? AND grp = ?',
          instant,
          instant,
          queue,
          group,
        ],
      ],
      0,
    );
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
    await this.files.write(
      'records',
      [
        ['UPDATE work SET due = ?1 WHERE queue = ?2 AND grp = ?3 AND due > ?1', now, queue, group],
        ['UPDATE work_groups SET rest = 0, due = min(due, ?) WHERE queue = ? AND grp = ?', now, queue, group],
      ],
      0,
    );
    this.notify();
  }

  async remove(queue: QueueName, key: string): Promise<void> {
    await this.files.write('records', [['DELETE FROM work WHERE queue = ? AND key = ?', queue, key]], 0);
    this.leases.forget(queue, key);
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

  oldestDue(queue: QueueName): Promise<number | undefined> {
    return oldestDue({ files: this.files, leases: this.leases }, queue, Math.floor(this.clock.now()));
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

  private async takeNow(queue: QueueName, { count, lease, room }: TakeOptions): Promise<TakenItem[]> {
    const now = Math.floor(this.clock.now());
    const taken: TakenItem[] = [];
    const empty: string[] = [];
    for await (const group of this.dueGroups.walk(queue, now)) {
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
    }
    return taken;
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
    await this.files.write('records', statements, 0);
  }

  /** Until something changed, a group becomes due, a while has gone by, or the signal aborts. */
  private async waitForWork(queue: QueueName, changed: Promise<void>, signal: AbortSignal): Promise<void> {
    const now = this.clock.now();
    const [next] = await this.files.read(
      'records',
      'SELECT due FROM work_groups WHERE queue = ? AND due > ? ORDER BY due LIMIT 1',
      queue,
      now,
    );
    const wait = next ? Math.max(SHORTEST_WAIT, (next['due'] as number) - now) : LONGEST_WAIT;
    const { promise: woken, resolve: wake } = Promise.withResolvers<void>();
    const onAbort = () => wake();
    const timer = setTimeout(wake, Math.min(wait, LONGEST_WAIT));
    signal.addEventListener('abort', onAbort);
    await Promise.race([changed, woken]);
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    // Changes come in crowds; one look does for all.
    await setImmediate();
  }

  private notify(): void {
    this.changed.resolve();
    this.changed = Promise.withResolvers<void>();
  }

  private endLease(queue: QueueName, item: TakenItem): void {
    if (this.leases.of(queue, item)) {
      this.leases.forget(queue, item.key);
      this.notify();
    }
  }
}
