/**
 * What a worker has in hand, which nobody else takes while the worker lives: leases are short, and are renewed in time.
 * So a worker that dies leaves its work to others within one lease, however long the work may last.
 */
import type { TakenItem } from '../gateway/ports.ts';
import { SECOND } from '../gateway/time.ts';

/** For how long an item is taken, and renewed, in milliseconds. */
export const LEASE = 90 * SECOND;

/** A renewal may fail twice, and nothing is lost. */
const RENEWAL_PERIOD = LEASE / 3;

export interface HeldItemsParts {
  /**
   * Has nobody else take these for so many milliseconds.
   *
   * @returns those that are in this hand no longer
   * @throws StoreError
   */
  readonly renew: (items: readonly TakenItem[], lease: number) => Promise<TakenItem[]>;
  /** Names the worker in the log. */
  readonly worker: string;
  /** Pino's fits. */
  readonly log: { warn(details: object, message: string): void };
}

export class HeldItems {
  private readonly parts: HeldItemsParts;
  private readonly items = new Set<TakenItem>();
  /** Runs while something is in hand. */
  private timer: NodeJS.Timeout | undefined;
  private isRenewing = false;

  constructor(parts: HeldItemsParts) {
    this.parts = parts;
  }

  /** Renews the item's lease from now on. */
  hold(item: TakenItem): void {
    this.items.add(item);
    this.timer ??= setInterval(() => void this.renew(), RENEWAL_PERIOD).unref();
  }

  /** Renews it no more. To be called before the queue is told what becomes of the item. */
  drop(item: TakenItem): void {
    this.items.delete(item);
  }

  /** False once the item was dropped, or is known to be in others' hands, or to be gone. */
  has(item: TakenItem): boolean {
    return this.items.has(item);
  }

  /** Renews nothing more: what is still in hand is for others once its lease has run out. */
  close(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  /** Never rejects: what could not be renewed is tried again. */
  private async renew(): Promise<void> {
    if (this.items.size === 0) {
      this.close();
      return;
    }
    if (this.isRenewing) {
      return;
    }
    this.isRenewing = true;
    const { renew, worker, log } = this.parts;
    try {
      const told = await renew([...this.items], LEASE);
      // What was dropped meanwhile was not lost.
      const lost = told.filter((item) => this.items.delete(item));
      if (lost.length > 0) {
        log.warn({ worker, lost: lost.length }, 'Work in hand was lost: taken by others, or removed');
      }
    } catch (err) {
      log.warn({ err, worker }, 'Work in hand was not renewed');
    } finally {
      this.isRenewing = false;
    }
  }
}
