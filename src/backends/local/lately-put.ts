/**
 * Where the objects lie that were put last, also once the index of messages has them: most are read and deleted within
 * seconds, and need no look into the index then. Bodies may be moved since: whoever finds none there looks into the index.
 */
import type { RecentPut } from './recent-changes.ts';

/** Of those, the ones put first are forgotten first. */
const MOST = 10_000;

export class LatelyPut {
  private readonly byKey = new Map<string, RecentPut>();

  /** To be called when it is durable. */
  set(key: string, put: RecentPut): void {
    this.byKey.delete(key);
    this.byKey.set(key, put);
    if (this.byKey.size > MOST) {
      this.byKey.delete(this.byKey.keys().next().value as string);
    }
  }

  /** The newest version under a key, unless it has expired; undefined where that is not known. */
  get(key: string): RecentPut | undefined {
    return this.byKey.get(key);
  }

  /** To be called before it is deleted. */
  forget(key: string): void {
    this.byKey.delete(key);
  }
}
