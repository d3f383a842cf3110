/**
 * Where the objects lie that were put last, also once the index of messages has them: most are read and deleted within
 * seconds, and need no look into the index then. Bodies may be moved since: whoever finds none there looks into the index.
 */
import type { ObjectEntry, StoredObject } from '../../gateway/ports.ts';
import { checksum } from './checksum.ts';
import type { MessageLog } from './message-log.ts';
import { objectOf } from './object-rows.ts';
import type { RecentChanges, RecentPut } from './recent-changes.ts';

/** Of those, the ones put first are forgotten first. */
const MOST = 10_000;

/** How many bodies are read into one piece of memory, and up to how many octets each. */
const AT_ONCE = 32;
const MOST_OCTETS = 64 * 1024;

export class LatelyPut {
  private readonly log: MessageLog;
  private readonly recent: RecentChanges;
  private readonly byKey = new Map<string, RecentPut>();

  constructor(parts: { log: MessageLog; recent: RecentChanges }) {
    this.log = parts.log;
    this.recent = parts.recent;
  }

  /** To be called when it is durable. */
  set(key: string, put: RecentPut): void {
    this.byKey.delete(key);
    this.byKey.set(key, put);
    if (this.byKey.size > MOST) {
      this.byKey.delete(this.byKey.keys().next().value as string);
    }
  }

  /** The newest version under a key, which housekeeping may have deleted if it has expired; undefined where that is not known. */
  get(key: string): RecentPut | undefined {
    return this.byKey.get(key);
  }

  /** To be called before it is deleted. */
  forget(key: string): void {
    this.byKey.delete(key);
  }

  /**
   * Reads objects, neighbours in the log in one go.
   *
   * @param isWanted which of the entries to read
   * @returns in the order of the entries, those that are small, wanted and undamaged and of which this very version was put
   *   lately and is there
   * @throws StoreError
   */
  read(listed: readonly ObjectEntry[], isWanted: (entry: ObjectEntry) => boolean): (StoredObject | undefined)[] {
    const found: (StoredObject | undefined)[] = Array(listed.length).fill(undefined);
    const wanted = listed.flatMap((entry, index) => {
      const change = this.recent.get(entry.key);
      const put = change ? change.put : this.byKey.get(entry.key);
      const isThere = put?.entry.version === entry.version && entry.size <= MOST_OCTETS && isWanted(entry);
      return isThere ? { index, place: put.place, octets: entry.size, put } : [];
    });
    for (let start = 0; start < wanted.length; start += AT_ONCE) {
      const page = wanted.slice(start, start + AT_ONCE);
      const bodies = this.log.segments.readTogether(page);
      for (const [at, { index, octets, put }] of page.entries()) {
        const body = bodies[at];
        if (body?.length === octets && checksum(body) === put.bodyChecksum) {
          found[index] = objectOf(put.entry, body);
        }
      }
    }
    return found;
  }
}
