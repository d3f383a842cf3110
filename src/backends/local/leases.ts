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

export class Leases {
  private readonly leases = new Map<string, Lease>();
  /** How many there are of each group. */
  private readonly counts = new Map<string, number>();
  private last = 0;

  /** @returns what proves the lease; an earlier one of the same item has ended */
  give(queue: QueueName, { key, group }: WorkItem, terms: Terms): string {
    this.forget(queue, key);
    const lease = { ...terms, id: `${++this.last}`, group };
    this.leases.set(`${queue}\0${key}`, lease);
    this.counts.set(`${queue}\0${group}`, this.inGroup(queue, group) + 1);
    return lease.id;
  }

  /** @returns false when the item is not in this hand any more */
  renew(queue: QueueName, item: TakenItem, until: number): boolean {
    const current = this.of(queue, item);
    if (current) {
      this.leases.set(`${queue}\0${item.key}`, { ...current, until });
    }
    return current !== undefined;
  }

  /** The lease of an item that is still in this hand. */
  of(queue: QueueName, { key, lease }: TakenItem): Lease | undefined {
    const current = this.leases.get(`${queue}\0${key}`);
    return current?.id === lease ? current : undefined;
  }

  /** Whether somebody has the item in hand. */
  isHeld(queue: QueueName, key: string, now: number): boolean {
    const current = this.leases.get(`${queue}\0${key}`);
    return current !== undefined && current.until >= now;
  }

  /** How many leases there are of a group, those included that have run out. */
  inGroup(queue: QueueName, group: string): number {
    return this.counts.get(`${queue}\0${group}`) ?? 0;
  }

  forget(queue: QueueName, key: string): void {
    const lease = this.leases.get(`${queue}\0${key}`);
    if (!lease) {
      return;
    }
    this.leases.delete(`${queue}\0${key}`);
    const left = this.inGroup(queue, lease.group) - 1;
    if (left > 0) {
      this.counts.set(`${queue}\0${lease.group}`, left);
    } else {
      this.counts.delete(`${queue}\0${lease.group}`);
    }
  }
}
