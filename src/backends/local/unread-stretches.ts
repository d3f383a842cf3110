/**
 * Octets of the log of messages that could not be read when they were wanted, as on a disk that fails. Another time they may
 * be: their segments stay for as long as messages live, and each start tries them again.
 */
import { setImmediate } from 'node:timers/promises';
import type { IndexFeed } from './index-feed.ts';
import { placeOf } from './log-records.ts';
import type { MessageLog } from './message-log.ts';
import type { Quarantine } from './quarantine.ts';
import type { SegmentDamage } from './segments.ts';
import type { StoreFiles, StoreLog } from './store-files.ts';

/** They lie in the quarantine, under ids that no object has. */
export const UNREAD_STRETCHES = 'SELECT -id AS place, entry FROM quarantine WHERE id < 0';

export type UnreadStretch = Pick<SegmentDamage, 'segment' | 'from' | 'to'>;

/** @throws StoreError */
export async function listUnread(files: StoreFiles): Promise<UnreadStretch[]> {
  const rows = await files.read('objects', UNREAD_STRETCHES);
  return rows.map(({ entry }) => JSON.parse(entry as string) as UnreadStretch);
}

/**
 * Brings back what can be read now, where nothing later in the log is about it. The index must have all of the log.
 *
 * @throws StoreError
 */
export async function readAgain(
  stretches: readonly UnreadStretch[],
  parts: { log: MessageLog; feed: IndexFeed; quarantine: Quarantine; report: StoreLog },
): Promise<void> {
  const { log, feed, quarantine, report } = parts;
  for (const stretch of stretches) {
    const { segment, from, to } = stretch;
    const keys = new Set<string>();
    const unread: SegmentDamage[] = [];
    const onDamage = (damage: SegmentDamage) => damage.isUnreadable && unread.push(damage);
    for (const record of log.recordsOf({ number: segment, octets: to }, { from, verifiesBodies: true, onDamage })) {
      if (record) {
        keys.add(record.head[2]);
      } else {
        await setImmediate();
      }
    }
    if (keys.size > 0) {
      report.warn({ segment, from, to, keys: keys.size }, 'Octets of the log of messages can be read again');
      await feed.rebuild(placeOf(segment, from), keys);
    }
    await quarantine.keepUnread(unread, stretch);
  }
}
