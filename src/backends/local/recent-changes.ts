/**
 * What the log of messages has and the index does not have yet: looked at before the index, by whoever reads.
 */
import type { ObjectEntry } from '../../gateway/ports.ts';
import type { Place } from './log-records.ts';

/** An object that was put: its entry, and where and with which checksum its body lies. */
export interface RecentPut {
  readonly entry: ObjectEntry;
  readonly id: number;
  readonly place: Place;
  readonly bodyChecksum: number;
}

/** The newest change of a key: a put, or the end of the version that was there. */
export interface RecentChange {
  readonly key: string;
  readonly put: RecentPut | undefined;
  /** Whether the index has it. */
  isSettled: boolean;
}

/** Keys are looked up by their first two parts, e.g. `mailboxes/ID/`: most prefixes that are listed have these. */
const PARTS = 2;

export class RecentChanges {
  private readonly byKey = new Map<string, RecentChange>();
  private readonly byFolder = new Map<string, Set<string>>();

  get size(): number {
    return this.byKey.size;
  }

  get(key: string): RecentChange | undefined {
    return this.byKey.get(key);
  }

  /** @returns the change, for `settle` */
  set(key: string, put: RecentPut | undefined): RecentChange {
    const change = { key, put, isSettled: false };
    this.restore(change);
    return change;
  }

  /** Puts a change back that another one took the place of, which came to nothing. */
  restore(change: RecentChange): void {
    const { key } = change;
    if (!this.byKey.has(key)) {
      const folder = folderOf(key);
      const keys = this.byFolder.get(folder);
      if (keys) {
        keys.add(key);
      } else {
        this.byFolder.set(folder, new Set([key]));
      }
    }
    this.byKey.set(key, change);
  }

  /** Forgets a change that the index has now, or that came to nothing, unless the key was changed again since. */
  settle(change: RecentChange): void {
    const { key } = change;
    change.isSettled = true;
    if (this.byKey.get(key) !== change) {
      return;
    }
    this.byKey.delete(key);
    const folder = folderOf(key);
    const keys = this.byFolder.get(folder);
    keys?.delete(key);
    if (keys?.size === 0) {
      this.byFolder.delete(folder);
    }
  }

  /** The changes of all keys that begin so. */
  under(prefix: string): RecentChange[] {
    const folder = folderOf(prefix);
    const keys = folder === '' ? this.byKey.keys() : (this.byFolder.get(folder) ?? []);
    const changes: RecentChange[] = [];
    for (const key of keys) {
      if (key.startsWith(prefix)) {
        changes.push(this.byKey.get(key) as RecentChange);
      }
    }
    return changes;
  }
}

/** The first two parts with their slashes, or nothing where there are fewer. */
function folderOf(key: string): string {
  let end = 0;
  for (let part = 0; part < PARTS; part++) {
    end = key.indexOf('/', end) + 1;
    if (end === 0) {
      return '';
    }
  }
  return key.slice(0, end);
}
