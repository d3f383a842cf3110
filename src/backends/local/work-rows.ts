/** Work items as rows of the queue's table, and how they get there. */
import type { QueueName, Work, WorkItem } from '../../gateway/ports.ts';
import type { FreshItem } from './fresh-work.ts';
import type { Row } from './reader.ts';
import type { Statement } from './writer-messages.ts';

/** What `readItem` reads, and the row's `id` and `additions`. */
export const ITEM_COLUMNS = 'id, key, grp, size, expiry, due, attempts, additions';

/** What adding does to an item that is there: a worker that has it in hand does not end it any more. */
export const ADDED_AGAIN = `DO UPDATE SET
  grp = excluded.grp, size = excluded.size, expiry = excluded.expiry, additions = additions + 1`;

/** Adds an item that is due now. @param ifThere what is done about one that is there, in SQL */
export function addItem(queue: QueueName, { key, group, size, expiry }: Work, now: number, ifThere: string): Statement {
  return [
    `INSERT INTO work (queue, key, grp, size, expiry, due, attempts, additions) VALUES (?, ?, ?, ?, ?, ?, 0, 1)
     ON CONFLICT (queue, key) ${ifThere}`,
    queue,
    key,
    group,
    size,
    Math.floor(expiry),
    now,
  ];
}

/** Adds items of one group that were in memory until now, in their order; there is at least one. */
export function addItems(queue: QueueName, items: readonly FreshItem[]): Statement[] {
  const rows = items.map(({ key, size, expiry, due, attempts, additions }) => [
    key,
    size,
    expiry,
    due,
    attempts,
    additions,
  ]);
  const group = items[0]?.group ?? '';
  return [
    [
      `INSERT INTO work (queue, key, grp, size, expiry, due, attempts, additions)
       SELECT ?1, value->>0, ?2, value->>1, value->>2, value->>3, value->>4, value->>5 FROM json_each(?3) WHERE true
       ON CONFLICT (queue, key) DO NOTHING`,
      queue,
      group,
      JSON.stringify(rows),
    ],
    [
      `INSERT INTO work_groups (queue, grp, due, rest) VALUES (?1, ?2, ?3, 0)
       ON CONFLICT (queue, grp) DO UPDATE SET due = max(rest, min(due, excluded.due))`,
      queue,
      group,
      Math.min(...items.map(({ due }) => due)),
    ],
  ];
}

/** Comes after `addItem`: the group is due when the item is, unless it rests. */
export function addToGroup(queue: QueueName, { key, group }: Work): Statement {
  return [
    `INSERT INTO work_groups (queue, grp, due, rest)
     VALUES (?1, ?2, (SELECT due FROM work WHERE queue = ?1 AND key = ?3), 0)
     ON CONFLICT (queue, grp) DO UPDATE SET due = max(rest, min(due, excluded.due))`,
    queue,
    group,
    key,
  ];
}

/** Reads a row of `ITEM_COLUMNS`. */
export function readItem(row: Row): WorkItem {
  const { key, grp, size, expiry, due, attempts } = row;
  return {
    key: key as string,
    group: grp as string,
    size: size as number,
    expiry: expiry as number,
    due: due as number,
    attempts: attempts as number,
  };
}
