/**
 * The work queue in Redis, shared by all processes: sorted sets and leases, changed by scripts (`queue-scripts.ts`).
 *
 * Taking looks first and claims then, since only the taker knows for which groups it has room: two commands for however
 * many items. A taker that waits is woken by a signal when a group has something to be taken.
 */
import type {
  Clock,
  QueueName,
  Random,
  Signals,
  Subscription,
  TakenItem,
  TakeOptions,
  Work,
  WorkGroup,
  WorkItem,
  WorkQueue,
} from '../../gateway/ports.ts';
import { isRefusal, type RedisClient, type Script } from './client.ts';
import * as scripts from './queue-scripts.ts';

const QUEUES: readonly QueueName[] = ['internet-delivery', 'cargo'];

/** Items or groups that one command reads or changes, so that Redis is never busy with it for long. */
const PAGE = 256;
/** Groups that one look shows, and items of each. */
const SHOWN_GROUPS = 128;
const SHOWN_OF_GROUP = 64;
/** Groups that one taking looks at. */
const MOST_SEEN = 4096;
/** A taker that waits looks again so often, in milliseconds: its wake-up may have been lost. */
const LONGEST_WAIT = 1000;
const SHORTEST_WAIT = 2;
/** Work that could not be added and is remembered for when Redis is back. */
const MOST_MISSED = 10_000;

/** Something that expired before it was done. */
export interface GivenUp {
  readonly key: string;
  readonly group: string;
  readonly attempts: number;
  /** Milliseconds. */
  readonly expiry: number;
}

type EncodedItem = [group: string, size: number, expiry: number, attempts: number, additions: number];

interface Look {
  readonly offset: number;
  readonly hasMore: boolean;
  /** When the next group is due that is not shown; undefined where there is none. */
  readonly due: number | undefined;
  readonly groups: readonly { readonly group: string; readonly items: readonly WorkItem[] }[];
}

export class RedisWorkQueue implements WorkQueue, AsyncDisposable {
  private readonly client: RedisClient;
  private readonly signals: Signals;
  private readonly clock: Clock;
  private readonly prefix: string;
  /** Names this process among the takers. */
  private readonly taker: string;
  private lastTake = 0;
  private readonly subscriptions: Subscription[] = [];
  private changed = Promise.withResolvers<void>();
  private readonly missed = new Map<string, { queue: QueueName; work: Work }>();

  private constructor(parts: WorkQueueParts) {
    this.client = parts.client;
    this.signals = parts.signals;
    this.clock = parts.clock;
    this.prefix = parts.prefix;
    this.taker = parts.random(8).toString('hex');
    this.client.whenReady(() => {
      this.notify();
      void this.addMissed();
    });
  }

  static async open(parts: WorkQueueParts): Promise<RedisWorkQueue> {
    const queue = new RedisWorkQueue(parts);
    const wake = () => queue.notify();
    const subscriptions = await Promise.all(QUEUES.map((name) => parts.signals.subscribe(channel(name), wake, wake)));
    queue.subscriptions.push(...subscriptions);
    return queue;
  }

  async add(queue: QueueName, work: Work): Promise<void> {
    try {
      await this.addAll(queue, [work], false);
    } catch (error) {
      if (this.missed.size < MOST_MISSED) {
        this.missed.set(`${queue}\0${work.key}`, { queue, work });
      }
      throw error;
    }
  }

  async addMissing(queue: QueueName, work: readonly Work[]): Promise<number> {
    let added = 0;
    for (let start = 0; start < work.length; start += PAGE) {
      added += await this.addAll(queue, work.slice(start, start + PAGE), true);
    }
    return added;
  }

  /** While Redis is away, waits on: nothing is to be had, and its own check tells why. */
  async take(queue: QueueName, options: TakeOptions, signal: AbortSignal): Promise<TakenItem[]> {
    while (!signal.aborted) {
      const changed = this.changed.promise;
      const { taken, due } = await this.takeNow(queue, options).catch((error: unknown) => {
        if (isRefusal(error)) {
          throw error;
        }
        return { taken: [], due: undefined };
      });
      if (taken.length > 0) {
        return taken;
      }
      await this.waitForWork(due, changed, signal);
    }
    return [];
  }

  async renew(queue: QueueName, items: readonly TakenItem[], lease: number): Promise<TakenItem[]> {
    const until = Math.floor(this.clock.now()) + lease;
    const lost: TakenItem[] = [];
    for (let start = 0; start < items.length; start += PAGE) {
      const page = items.slice(start, start + PAGE);
      const hands = page.flatMap((item) => [item.key, item.lease]);
      const places = (await this.run(queue, scripts.RENEW, [until, ...hands])) as number[];
      lost.push(...places.map((place) => page[place] as TakenItem));
    }
    return lost;
  }

  async finish(queue: QueueName, item: TakenItem): Promise<boolean> {
    return this.end(queue, item, 'finish');
  }

  async postpone(queue: QueueName, item: TakenItem, due: number): Promise<boolean> {
    return this.end(queue, item, 'postpone', due);
  }

  async release(queue: QueueName, item: TakenItem): Promise<void> {
    await this.end(queue, item, 'release');
  }

  async rest(queue: QueueName, group: string, until: number): Promise<void> {
    await this.run(queue, scripts.REST, [group, Math.floor(until)]);
  }

  async hasten(queue: QueueName, group: string): Promise<void> {
    for (let offset = 0, more = 1; more === 1; ) {
      let woken = 0;
      [offset, more, woken] = (await this.run(queue, scripts.HASTEN, [group, offset, PAGE])) as [
        number,
        number,
        number,
      ];
      this.wake(queue, woken);
    }
  }

  async remove(queue: QueueName, key: string): Promise<void> {
    await this.run(queue, scripts.REMOVE, [key]);
  }

  async *list(queue: QueueName, group = ''): AsyncIterable<WorkItem> {
    // A scan may show an item twice when others come and go.
    const seen = new Set<string>();
    let cursor = '0';
    do {
      const [next, found] = (await this.run(queue, scripts.LIST, [cursor, group])) as [string, string[]];
      for (const item of readItems(found)) {
        if (!seen.has(item.key) && item.expiry >= this.clock.now()) {
          seen.add(item.key);
          yield item;
        }
      }
      cursor = next;
    } while (cursor !== '0');
  }

  async *groups(queue: QueueName): AsyncIterable<WorkGroup> {
    await this.trim(queue);
    const names = (await this.run(queue, scripts.GROUP_NAMES, [])) as string[];
    for (let start = 0; start < names.length; start += PAGE) {
      const page = names.slice(start, start + PAGE);
      const told = (await this.run(queue, scripts.GROUPS, page)) as (number | string)[];
      for (const [index, group] of page.entries()) {
        const [count, first, rest] = told.slice(3 * index, 3 * index + 3) as [number, string, string];
        if (count > 0) {
          yield { group, count, due: Math.max(Number(first), Number(rest)), rest: Number(rest) };
        }
      }
    }
  }

  async oldestDue(queue: QueueName): Promise<number | undefined> {
    const due = (await this.run(queue, scripts.OLDEST_DUE, [])) as string;
    return due === '' ? undefined : Number(due);
  }

  /** What expired before it was done, newest first; the oldest are forgotten. @throws StoreError */
  async givenUp(queue: QueueName, most = PAGE): Promise<GivenUp[]> {
    const found = (await this.run(queue, scripts.GIVEN_UP, [most])) as string[];
    return found.map((json) => {
      const [key, group, attempts, expiry] = JSON.parse(json) as [string, string, number, number];
      return { key, group, attempts, expiry };
    });
  }

  /** Gives up what expired. @throws StoreError */
  async deleteExpired(): Promise<void> {
    for (const queue of QUEUES) {
      await this.trim(queue);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const subscription of this.subscriptions) {
      subscription.close();
    }
  }

  private run(queue: QueueName, script: Script, parameters: readonly (string | number)[]): Promise<unknown> {
    return this.client.run(script, [`{${this.prefix}${queue}}`], [Math.floor(this.clock.now()), ...parameters]);
  }

  private async addAll(queue: QueueName, work: readonly Work[], onlyMissing: boolean): Promise<number> {
    if (work.length === 0) {
      return 0;
    }
    const [added, woken] = (await this.run(queue, scripts.ADD, [
      onlyMissing ? 1 : 0,
      ...work.flatMap(({ key, group, size, expiry }) => [key, group, size, Math.floor(expiry)]),
    ])) as [number, number];
    this.wake(queue, woken);
    return added;
  }

  /** Adds what could not be added while Redis was away; where that fails, housekeeping does it. */
  private async addMissed(): Promise<void> {
    const missed = [...this.missed.values()];
    this.missed.clear();
    for (const { queue, work } of missed) {
      await this.add(queue, work).catch(() => undefined);
    }
  }

  private async trim(queue: QueueName): Promise<void> {
    while ((await this.run(queue, scripts.TRIM, [PAGE])) === PAGE) {
      // There may be more.
    }
  }

  private async takeNow(
    queue: QueueName,
    { count, lease: leaseTime, room }: TakeOptions,
  ): Promise<{ taken: TakenItem[]; due: number | undefined }> {
    const taken: TakenItem[] = [];
    let due: number | undefined;
    for (let offset = 0; offset < MOST_SEEN && taken.length < count; ) {
      const look = await this.look(queue, offset, count - taken.length);
      due = look.due;
      const lease = `${this.taker}-${++this.lastTake}`;
      const wanted: TakenItem[] = [];
      for (const { group, items } of look.groups) {
        const inHand = [...taken, ...wanted];
        const most = Math.min(room(group, inHand), count - inHand.length);
        wanted.push(...items.slice(0, Math.max(0, most)).map((item) => ({ ...item, lease })));
      }
      const won = await this.claim(queue, wanted, lease, leaseTime);
      taken.push(...won);
      if (!look.hasMore) {
        break;
      }
      // Where something was taken, others moved up.
      offset = wanted.length > 0 ? offset : look.offset;
    }
    return { taken, due };
  }

  private async look(queue: QueueName, offset: number, most: number): Promise<Look> {
    const [next, more, due, shown] = (await this.run(queue, scripts.PEEK, [
      offset,
      SHOWN_GROUPS,
      Math.min(most, SHOWN_OF_GROUP),
      4 * PAGE,
    ])) as [number, number, string, (string | string[])[]];
    const groups = [];
    for (let index = 0; index < shown.length; index += 2) {
      groups.push({ group: shown[index] as string, items: readItems(shown[index + 1] as string[]) });
    }
    return { offset: next, hasMore: more === 1, due: due === '' ? undefined : Number(due), groups };
  }

  private async claim(
    queue: QueueName,
    wanted: readonly TakenItem[],
    lease: string,
    leaseTime: number,
  ): Promise<TakenItem[]> {
    if (wanted.length === 0) {
      return [];
    }
    const until = Math.floor(this.clock.now()) + leaseTime;
    const keys = wanted.map(({ key }) => key);
    const won = new Set((await this.run(queue, scripts.CLAIM, [until, lease, ...keys])) as string[]);
    return wanted.filter(({ key }) => won.has(key));
  }

  private async end(
    queue: QueueName,
    { key, lease }: TakenItem,
    how: 'finish' | 'postpone' | 'release',
    due = 0,
  ): Promise<boolean> {
    const [done, woken] = (await this.run(queue, scripts.END, [key, lease, how, Math.floor(due)])) as [number, number];
    this.wake(queue, woken);
    // There may be room again here, also where nothing woke.
    this.notify();
    return done === 1;
  }

  /** Wakes takers here and in other processes. */
  private wake(queue: QueueName, groups: number): void {
    if (groups > 0) {
      this.signals.publish(channel(queue), Buffer.alloc(0));
    }
  }

  private notify(): void {
    this.changed.resolve();
    this.changed = Promise.withResolvers<void>();
  }

  /** Until something changed, a group becomes due, a while has gone by, or the signal aborts. */
  private async waitForWork(due: number | undefined, changed: Promise<void>, signal: AbortSignal): Promise<void> {
    const wait = due === undefined ? LONGEST_WAIT : Math.max(SHORTEST_WAIT, due - this.clock.now());
    const { promise: woken, resolve: wake } = Promise.withResolvers<void>();
    const onAbort = () => wake();
    const timer = setTimeout(wake, Math.min(wait, LONGEST_WAIT));
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) {
      wake();
    }
    await Promise.race([changed, woken]);
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

export interface WorkQueueParts {
  readonly client: RedisClient;
  readonly signals: Signals;
  readonly clock: Clock;
  readonly random: Random;
  /** What all keys of this gateway start with in Redis. */
  readonly prefix: string;
}

/** Where takers are woken. */
function channel(queue: QueueName): string {
  return `work/${queue}`;
}

/** Reads a list of key, item and due. */
function readItems(found: readonly string[]): WorkItem[] {
  const items: WorkItem[] = [];
  for (let index = 0; index < found.length; index += 3) {
    const [key, json, due] = found.slice(index, index + 3) as [string, string, string];
    const [group, size, expiry, attempts] = JSON.parse(json) as EncodedItem;
    items.push({ key, group, size, expiry, attempts, due: Number(due) });
  }
  return items;
}
