/**
 * Who has which work item in hand. No other process works on this queue, so that leases may end with it.
 */
import type { QueueName, TakenItem, WorkItem } from '../../gateway/ports.ts';

interface Terms {
  /** Milliseconds. */
  readonly until: number;
  /** How often the item had been added when it was taken. */
  readonly additions: number;
}

export interface Lease extends Terms {
  readonly id: string;
  readonly group: string;
}

/** The leases of one queue: keys as they are, since making longer ones of them costs more than looking one up. */
interface OfQueue {
  readonly byKey: Map<string, Lease>;
  /** How many there are of each group. */
  readonly counts: Map<string, number>;
}

export class Leases {
  private readonly queues: Readonly<Record<QueueName, OfQueue>> = {
    'internet-delivery': { byKey: new Map(), counts: new Map() },
    cargo: { byKey: new Map(), counts: new Map() },
  };
  private last = 0;

  /** @returns what proves the lease; an earlier one of the same item has ended */
  give(queue: QueueName, { key, group }: WorkItem, { until, additions }: Terms): string {
    this.forget(queue, key);
    const id = `${++this.last}`;
    const { byKey, counts } = this.queues[queue];
    byKey.set(key, { until, additions, id, group });
    counts.set(group, (counts.get(group) ?? 0) + 1);
    return id;
  }

  /** @returns false when the item is not in this hand any more */
  renew(queue: QueueName, item: TakenItem, until: number): boolean {
    const current = this.of(queue, item);
    if (current) {
      this.queues[queue].byKey.set(item.key, { ...current, until });
    }
    return current !== undefined;
  }

  /** The lease of an item that is still in this hand. */
  of(queue: QueueName, { key, lease }: TakenItem): Lease | undefined {
    const current = this.queues[queue].byKey.get(key);
    return current?.id === lease ? current : undefined;
  }

  /** Whether somebody has the item in hand. */
  isHeld(queue: QueueName, key: string, now: number): boolean {
    const end = this.end(queue, key);
    return end !== undefined && end >= now;
  }

  /** Until when somebody has the item in hand, in milliseconds; undefined where nobody has. */
  end(queue: QueueName, key: string): number | undefined {
    return this.queues[queue].byKey.get(key)?.until;
  }

  /** How many leases there are of a group, those included that have run out. */
  inGroup(queue: QueueName, group: string): number {
    return this.queues[queue].counts.get(group) ?? 0;
  }

  forget(queue: QueueName, key: string): void {
    const { byKey, counts } = this.queues[queue];
    const lease = byKey.get(key);
    if (!lease) {
      return;
    }
    byKey.delete(key);
    const left = this.inGroup(queue, lease.group) - 1;
    if (left > 0) {
      counts.set(lease.group, left);
    } else {
      counts.delete(lease.group);
    }
  }
}
