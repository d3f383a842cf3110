/**
 * The work queue on this machine: what is new in memory (`fresh-work.ts`), the rest on the disk (`stored-work.ts`).
 *
 * Most work is done before it need be written. A group is on one side only: in memory while all of it came within the last
 * few seconds and nothing of it was postponed, and on the disk from then on until nothing of it is left there. What a kill
 * takes with the memory was added within the last seconds, and is found again by the objects that it is about.
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
import { FreshWork } from './fresh-work.ts';
import { Leases } from './leases.ts';
import type { StoreFiles, StoreLog } from './store-files.ts';
import { StoredWork } from './stored-work.ts';

/** For so long an item is in memory only, in milliseconds. */
const FRESH_TIME = 5000;
/** So many items are in memory at most; beyond, groups go to the disk as their items come. */
const MOST_FRESH = 50_000;
/** A taker that waits looks again so often, in milliseconds: the clock may have been set. */
const LONGEST_WAIT = 500;
const SHORTEST_WAIT = 2;

const QUEUES: readonly QueueName[] = ['internet-delivery', 'cargo'];

export class LocalWorkQueue implements WorkQueue {
  private readonly clock: Clock;
  private readonly log: StoreLog;
  private readonly leases = new Leases();
  private readonly stored: StoredWork;
  private readonly fresh: Readonly<Record<QueueName, FreshWork>>;
  /** Groups on their way from memory to the disk, by queue and name. */
  private readonly leaving = new Map<string, Promise<void>>();
  /** How many items are being added on the disk, by queue and group, and by queue and key. */
  private readonly storing = new Map<string, number>();
  /** Until then no lease on a fresh item runs out, in milliseconds. */
  private firstEnd = Number.POSITIVE_INFINITY;
  private isStoredFirst = true;
  private changed = Promise.withResolvers<void>();
  /** Runs while something is in memory. */
  private timer: NodeJS.Timeout | undefined;
  /** Whether what is in memory could not be stored, and that was told. */
  private hasFailed = false;
  private isClosed = false;

  constructor(parts: { files: StoreFiles; clock: Clock; log: StoreLog }) {
    this.clock = parts.clock;
    this.log = parts.log;
    this.stored = new StoredWork({ files: parts.files, clock: parts.clock, leases: this.leases });
    this.fresh = { 'internet-delivery': new FreshWork(), cargo: new FreshWork() };
  }

  async add(queue: QueueName, work: Work): Promise<void> {
    if (!(await this.addFresh(queue, work))) {
      await this.whileStoring(queue, [work], () => this.stored.add(queue, work));
    }
    this.notify();
  }

  async addMissing(queue: QueueName, work: readonly Work[]): Promise<number> {
    const fresh = this.fresh[queue];
    const missing = (await this.stored.missing(queue, work)).filter(({ key }) => !fresh.get(key));
    if (missing.length > 0) {
      for (const group of new Set(missing.map((item) => item.group))) {
        // A group is on one side only, and this may be much.
        await this.store(queue, group);
      }
      await this.whileStoring(queue, missing, () => this.stored.addAll(queue, missing));
      this.notify();
    }
    return missing.length;
  }

  async take(queue: QueueName, options: TakeOptions, signal: AbortSignal): Promise<TakenItem[]> {
    while (!signal.aborted) {
      const changed = this.changed.promise;
      const taken: TakenItem[] = [];
      // Each side in its turn is asked first.
      this.isStoredFirst = !this.isStoredFirst;
      if (this.isStoredFirst) {
        await this.stored.take(queue, options, taken);
      }
      this.takeFresh(queue, options, taken);
      if (!this.isStoredFirst && taken.length < options.count) {
        await this.stored.take(queue, options, taken);
      }
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
    await this.left(queue, item.group);
    const lease = this.leases.of(queue, item);
    if (!lease) {
      return false;
    }
    const fresh = this.fresh[queue].get(item.key);
    let isOver: boolean;
    if (!fresh) {
      isOver = await this.stored.finish(queue, item.key, lease.additions);
    } else {
      isOver = fresh.additions === lease.additions;
      if (isOver) {
        this.fresh[queue].remove(fresh);
      } else {
        this.fresh[queue].putBack(fresh);
      }
    }
    this.endLease(queue, item);
    return isOver;
  }

  async postpone(queue: QueueName, item: TakenItem, due: number): Promise<boolean> {
    await this.store(queue, item.group);
    if (!this.leases.of(queue, item)) {
      return false;
    }
    await this.stored.postpone(queue, item.key, due);
    this.endLease(queue, item);
    return true;
  }

  async release(queue: QueueName, item: TakenItem): Promise<void> {
    this.endLease(queue, item);
  }

  async rest(queue: QueueName, group: string, until: number): Promise<void> {
    await this.store(queue, group);
    await this.stored.rest(queue, group, until);
  }

  async hasten(queue: QueueName, group: string): Promise<void> {
    // What is in memory is due.
    await this.stored.hasten(queue, group);
    this.notify();
  }

  async remove(queue: QueueName, key: string): Promise<void> {
    const fresh = this.fresh[queue].get(key);
    await (fresh && this.left(queue, fresh.group));
    const kept = this.fresh[queue].get(key);
    if (kept) {
      this.fresh[queue].remove(kept);
    } else {
      await this.stored.remove(queue, key);
    }
    this.leases.forget(queue, key);
  }

  async *list(queue: QueueName, group?: string): AsyncIterable<WorkItem> {
    // What is in memory now may be on the disk when we get there: it is told once.
    const told = new Set<string>();
    for (const { key, group: name, size, expiry, due, attempts } of this.fresh[queue].of(group)) {
      if (expiry >= this.clock.now()) {
        told.add(key);
        yield { key, group: name, size, expiry, due, attempts };
      }
    }
    for await (const item of this.stored.list(queue, group)) {
      if (!told.has(item.key)) {
        yield item;
      }
    }
  }

  async *groups(queue: QueueName): AsyncIterable<WorkGroup> {
    const told = new Set<string>();
    for (const group of this.fresh[queue].groupNames()) {
      const items = this.fresh[queue].of(group).filter(({ expiry }) => expiry >= this.clock.now());
      const [first] = items;
      if (first) {
        told.add(group);
        yield { group, count: items.length, due: first.due, rest: 0 };
      }
    }
    for await (const group of this.stored.groups(queue)) {
      if (!told.has(group.group)) {
        yield group;
      }
    }
  }

  async oldestDue(queue: QueueName): Promise<number | undefined> {
    const now = Math.floor(this.clock.now());
    const oldest = await this.stored.oldestDue(queue, now);
    const fresh = this.fresh[queue].oldest(({ key, expiry }) => expiry >= now && !this.leases.isHeld(queue, key, now));
    return fresh && !(oldest !== undefined && oldest <= fresh.due) ? fresh.due : oldest;
  }

  /** Deletes expired items, a bounded batch at a time. */
  async deleteExpired(): Promise<void> {
    await this.stored.deleteExpired();
  }

  /** Has all on the disk. @throws StoreError */
  async flush(): Promise<void> {
    for (const queue of QUEUES) {
      await Promise.all(this.fresh[queue].groupNames().map((group) => this.store(queue, group)));
    }
  }

  /** Has all on the disk, where that can be; what comes later goes there at once. Never rejects. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearInterval(this.timer);
    await this.flush().catch((error: Error) => this.warn(error));
  }

  /** @returns false where it is to be added on the disk */
  private async addFresh(queue: QueueName, work: Work): Promise<boolean> {
    const fresh = this.fresh[queue];
    await this.left(queue, fresh.get(work.key)?.group ?? work.group);
    if (!fresh.get(work.key) && (await this.stored.concerns(queue, work))) {
      await this.store(queue, work.group);
      return false;
    }
    const known = fresh.get(work.key);
    if (known && known.group === work.group && !this.leaving.has(nameOf(queue, work.group))) {
      known.additions++;
      known.size = work.size;
      known.expiry = Math.floor(work.expiry);
      return true;
    }
    const isStoring = this.storing.has(nameOf(queue, work.group)) || this.storing.has(keyOf(queue, work.key));
    const isLeaving = this.leaving.has(nameOf(queue, work.group));
    if (known || isStoring || isLeaving || this.isClosed || this.size >= MOST_FRESH) {
      await Promise.all([work.group, ...(known ? [known.group] : [])].map((group) => this.store(queue, group)));
      return false;
    }
    fresh.add(work, Math.floor(this.clock.now()));
    this.timer ??= setInterval(() => void this.storeOld(), FRESH_TIME).unref();
    return true;
  }

  private get size(): number {
    return this.fresh['internet-delivery'].size + this.fresh.cargo.size;
  }

  /** What comes meanwhile of the same groups must not stay in memory. */
  private async whileStoring(queue: QueueName, work: readonly Work[], action: () => Promise<void>): Promise<void> {
    const names = work.flatMap(({ key, group }) => [keyOf(queue, key), nameOf(queue, group)]);
    for (const name of names) {
      this.storing.set(name, (this.storing.get(name) ?? 0) + 1);
    }
    try {
      await action();
    } finally {
      for (const name of names) {
        const left = (this.storing.get(name) ?? 0) - 1;
        if (left > 0) {
          this.storing.set(name, left);
        } else {
          this.storing.delete(name);
        }
      }
    }
  }

  private takeFresh(queue: QueueName, { count, lease, room }: TakeOptions, taken: TakenItem[]): void {
    const now = Math.floor(this.clock.now());
    if (now > this.firstEnd) {
      this.putBackLost(now);
    }
    const until = now + lease;
    this.fresh[queue].take({ count: count - taken.length, room: (group) => room(group, taken) }, now, (fresh) => {
      const { key, group, size, expiry, due, attempts, additions } = fresh;
      const item: WorkItem = { key, group, size, expiry, due, attempts };
      taken.push({ ...item, lease: this.leases.give(queue, item, { until, additions }) });
      this.firstEnd = Math.min(this.firstEnd, until);
    });
  }

  /** Takes back what is in hands whose leases have run out. */
  private putBackLost(now: number): void {
    this.firstEnd = Number.POSITIVE_INFINITY;
    for (const queue of QUEUES) {
      for (const item of this.fresh[queue].of()) {
        const end = item.state === 'in hand' ? this.leases.end(queue, item.key) : undefined;
        if (item.state === 'in hand' && (end === undefined || end < now)) {
          this.fresh[queue].putBack(item);
        } else if (end !== undefined) {
          this.firstEnd = Math.min(this.firstEnd, end);
        }
      }
    }
  }

  /** Brings a group to the disk, if it is in memory; nothing of it is handed out meanwhile. @throws StoreError */
  private store(queue: QueueName, group: string): Promise<void> {
    const name = nameOf(queue, group);
    const fresh = this.fresh[queue];
    let leaving = this.leaving.get(name);
    if (!leaving && fresh.has(group)) {
      const items = fresh.setLeaving(group, true);
      leaving = this.stored
        .takeOver(queue, items, (item) => fresh.remove(item))
        .finally(() => {
          this.leaving.delete(name);
          fresh.setLeaving(group, false);
          this.notify();
        });
      this.leaving.set(name, leaving);
    }
    return leaving ?? Promise.resolve();
  }

  /** Resolves when a group is not on its way to the disk, be it there or not. */
  private async left(queue: QueueName, group: string): Promise<void> {
    await this.leaving.get(nameOf(queue, group))?.catch(() => undefined);
  }

  /** Brings to the disk what has been in memory for long. Never rejects. */
  private async storeOld(): Promise<void> {
    const instant = this.clock.now() - FRESH_TIME;
    if (this.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
      return;
    }
    try {
      for (const queue of QUEUES) {
        const groups = [...this.fresh[queue].groupsDueSince(instant)];
        await Promise.all(groups.map((group) => this.store(queue, group)));
      }
      this.hasFailed = false;
    } catch (error) {
      this.warn(error as Error);
    }
  }

  /** After a kill it would be found again by its objects. */
  private warn(error: Error): void {
    if (!this.hasFailed) {
      this.log.warn({ reason: error.message }, 'New work cannot be stored, and stays in memory');
    }
    this.hasFailed = true;
  }

  /** Until something changed, a group becomes due, a while has gone by, or the signal aborts. */
  private async waitForWork(queue: QueueName, changed: Promise<void>, signal: AbortSignal): Promise<void> {
    const wait = Math.max(SHORTEST_WAIT, (await this.stored.whenDue(queue)) - this.clock.now());
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
      const fresh = this.fresh[queue].get(item.key);
      if (fresh) {
        this.fresh[queue].putBack(fresh);
      }
      this.notify();
    }
  }
}

function nameOf(queue: QueueName, group: string): string {
  return `${queue}\0${group}`;
}

function keyOf(queue: QueueName, key: string): string {
  return `${queue}\0\0${key}`;
}
