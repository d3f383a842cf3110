/**
 * Work that is in memory only: what came within the last few seconds, and of whose group nothing is on the disk.
 *
 * Most work is done before it would be worth writing down. Groups have their turns, and within a group the oldest item goes
 * first, as on the disk. Nothing here waits, writes or knows the time.
 */
import type { Work, WorkItem } from '../../gateway/ports.ts';

/** Groups that one look goes through, at most; the next one goes on from there. */
const MOST_SEEN = 4096;

/** Of the items of a group that were handed out, so many are dropped from its list at once. */
const DROPPED_AT_ONCE = 1024;

export interface FreshItem extends WorkItem {
  /** Grows with each item: the order of their coming. */
  readonly number: number;
  size: number;
  expiry: number;
  due: number;
  attempts: number;
  /** How often it was added. */
  additions: number;
  state: 'waiting' | 'in hand' | 'gone';
}

class FreshGroup {
  readonly name: string;
  /** All its items, those in hand included, oldest first. */
  readonly members = new Set<FreshItem>();
  /** While it goes to the disk none of its items is handed out. */
  isLeaving = false;
  /** Those that wait, and some that do not any more; from `next` on. */
  private items: FreshItem[] = [];
  private next = 0;
  private isSorted = true;

  constructor(name: string) {
    this.name = name;
  }

  push(item: FreshItem): void {
    const last = this.items.at(-1);
    this.isSorted &&= last === undefined || last.number < item.number;
    this.items.push(item);
  }

  /** The oldest item that waits. */
  first(): FreshItem | undefined {
    if (!this.isSorted) {
      this.items = this.items.slice(this.next).sort((one, other) => one.number - other.number);
      this.next = 0;
      this.isSorted = true;
    }
    while (this.next < this.items.length && this.items[this.next]?.state !== 'waiting') {
      this.next++;
    }
    if (this.next >= DROPPED_AT_ONCE) {
      this.items.splice(0, this.next);
      this.next = 0;
    }
    return this.items[this.next];
  }
}

export class FreshWork {
  private readonly items = new Map<string, FreshItem>();
  private readonly groups = new Map<string, FreshGroup>();
  /** Groups that may have items that wait, in the order of their turns. */
  private readonly turns = new Map<string, FreshGroup>();
  private lastNumber = 0;

  /** How many items there are. */
  get size(): number {
    return this.items.size;
  }

  get(key: string): FreshItem | undefined {
    return this.items.get(key);
  }

  has(group: string): boolean {
    return this.groups.has(group);
  }

  /** Adds an item that is not there yet. @param due whole milliseconds */
  add({ key, group: name, size, expiry }: Work, due: number): void {
    const item: FreshItem = {
      key,
      group: name,
      size,
      expiry: Math.floor(expiry),
      due,
      attempts: 0,
      additions: 1,
      number: ++this.lastNumber,
      state: 'waiting',
    };
    const group = this.groups.get(name) ?? new FreshGroup(name);
    this.groups.set(name, group);
    this.items.set(key, item);
    group.members.add(item);
    group.push(item);
    this.turns.set(name, group);
  }

  /**
   * Hands items out; they are in hand until they are put back or removed.
   *
   * @param now whole milliseconds
   * @param give does the rest about one that is handed out
   */
  take(
    { count, room }: { count: number; room: (group: string) => number },
    now: number,
    give: (item: FreshItem) => void,
  ): void {
    let left = count;
    for (let seen = Math.min(this.turns.size, MOST_SEEN); seen > 0 && left > 0; seen--) {
      const [name, group] = this.turns.entries().next().value as [string, FreshGroup];
      this.turns.delete(name);
      let wanted = group.isLeaving ? 0 : Math.min(room(name), left);
      let first = group.first();
      for (; first && wanted > 0; first = group.first()) {
        if (first.expiry < now) {
          this.remove(first);
          continue;
        }
        first.state = 'in hand';
        give(first);
        left--;
        wanted--;
      }
      if (first) {
        // At the end: the others have their turns first.
        this.turns.set(name, group);
      }
    }
  }

  /** Takes an item back that was in hand, to its place among the others. */
  putBack(item: FreshItem): void {
    if (item.state === 'in hand') {
      item.state = 'waiting';
      const group = this.groups.get(item.group) as FreshGroup;
      group.push(item);
      this.turns.set(item.group, group);
    }
  }

  remove(item: FreshItem): void {
    if (item.state === 'gone') {
      return;
    }
    item.state = 'gone';
    this.items.delete(item.key);
    const group = this.groups.get(item.group) as FreshGroup;
    group.members.delete(item);
    if (group.members.size === 0) {
      this.groups.delete(group.name);
      this.turns.delete(group.name);
    }
  }

  /** Hands out nothing of this group from now on, or does so again. @returns its items, oldest first */
  setLeaving(name: string, isLeaving: boolean): FreshItem[] {
    const group = this.groups.get(name);
    if (!group) {
      return [];
    }
    group.isLeaving = isLeaving;
    return [...group.members];
  }

  /** All items, or those of one group, oldest first. */
  of(group?: string): FreshItem[] {
    return [...(group === undefined ? this.items.values() : (this.groups.get(group)?.members ?? []))];
  }

  /** The oldest item for which that holds. */
  oldest(holds: (item: FreshItem) => boolean): FreshItem | undefined {
    for (const item of this.items.values()) {
      if (holds(item)) {
        return item;
      }
    }
    return undefined;
  }

  groupNames(): string[] {
    return [...this.groups.keys()];
  }

  /** Names of groups with an item that has been due since then or for longer (milliseconds). */
  groupsDueSince(instant: number): Set<string> {
    const names = new Set<string>();
    for (const { group, due } of this.items.values()) {
      // They lie in the order of their coming.
      if (due > instant) {
        break;
      }
      names.add(group);
    }
    return names;
  }
}
