/** Whether something was put or deleted under a key while somebody looked what is there. */

export interface Watch {
  readonly key: string;
  /** Something has been put or deleted since the watch began. */
  hasCome: boolean;
}

export class WatchedKeys {
  private readonly watches = new Set<Watch>();

  /** To be left. */
  watch(key: string): Watch {
    const watch = { key, hasCome: false };
    this.watches.add(watch);
    return watch;
  }

  leave(watch: Watch): void {
    this.watches.delete(watch);
  }

  /** To be called with each change; few are watched at a time, mostly none. */
  note(key: string): void {
    for (const watch of this.watches) {
      watch.hasCome ||= watch.key === key;
    }
  }
}
