/** How long work has waited: a look at a few groups, for whoever watches. */
import type { QueueName } from '../../gateway/ports.ts';
import type { Leases } from './leases.ts';
import type { StoreFiles } from './store-files.ts';

/** Groups that one look reads, those that are due for longest. */
const MOST_GROUPS = 16;

/**
 * Since when the oldest item has been due that nobody has in hand, in milliseconds; undefined when there is none.
 *
 * @throws StoreError
 */
export async function oldestDue(
  { files, leases }: { files: StoreFiles; leases: Leases },
  queue: QueueName,
  now: number,
): Promise<number | undefined> {
  const groups = await files.read(
    'records',
    `SELECT grp, due, rest FROM work_groups WHERE queue = ? AND due <= ? ORDER BY due LIMIT ${MOST_GROUPS}`,
    queue,
    now,
  );
  let oldest: number | undefined;
  for (const { grp, due: bound, rest } of groups) {
    // A group is never due before its first item: the groups after this one are no older.
    if (oldest !== undefined && oldest <= (bound as number)) {
      break;
    }
    const items = await files.read(
      'records',
      'SELECT key, due FROM work WHERE queue = ? AND grp = ? AND due <= ? AND expiry >= ? ORDER BY due, id LIMIT ?',
      queue,
      grp as string,
      now,
      now,
      1 + leases.inGroup(queue, grp as string),
    );
    const first = items.find(({ key }) => !leases.isHeld(queue, key as string, now));
    if (first) {
      oldest = Math.min(oldest ?? Number.POSITIVE_INFINITY, Math.max(first['due'] as number, rest as number));
    }
  }
  return oldest;
}
