/**
 * The worker that delivers outboxes to the Internet: takes what is due, posts it, and deletes it or sets it back.
 *
 * What happens after a parcel was taken by its destination happens in this order: it is remembered as sent, it is
 * deleted, its work ends. A crash in between repeats what is harmless.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { Budget } from '../../gateway/budget.ts';
import { DeliveryFault } from '../../gateway/delivery-fault.ts';
import { type Attempt, Destinations } from '../../gateway/destinations.ts';
import type { InternetQueue } from '../../gateway/internet-queue.ts';
import type { JournalWriter } from '../../gateway/journal.ts';
import { type Outbox, readOutboxKey } from '../../gateway/outbox.ts';
import { storedParcelIds } from '../../gateway/parcel-at-rest.ts';
import type { Clock, JournalEntry, StoredObject, TakenItem } from '../../gateway/ports.ts';
import { retryWait } from '../../gateway/retry.ts';
import type { SentMemory } from '../../gateway/sent-memory.ts';
import { MINUTE, SECOND } from '../../gateway/time.ts';

/** Deliveries at once. */
const SLOTS = 256;

/** Octets of parcels in memory: of destinations on trial, and of others. */
const OCTETS_IN_HAND = 48 * 1024 * 1024;

/** Longer than any delivery lasts, redirects and further hosts included, in milliseconds. */
const LEASE = 60 * MINUTE;

/** How long to wait when a store is away, in milliseconds. */
const STORE_PAUSE = SECOND;

/** Where deliveries are told; pino's fits. */
export interface DeliveryLog {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

/** Delivers one parcel. @throws DeliveryFault */
export type Deliver = (internetAddress: string, parcel: Buffer) => Promise<void>;

export interface InternetDeliveryParts {
  readonly queue: InternetQueue;
  readonly outbox: Outbox;
  readonly sent: SentMemory;
  readonly deliver: Deliver;
  readonly clock: Clock;
  /** Gives a number from 0 up to 1. */
  readonly chance: () => number;
  readonly log: DeliveryLog;
  readonly journal: JournalWriter;
  /** How many deliveries one destination may have at once. */
  readonly perDestination: number;
}

export class InternetDelivery {
  readonly name = 'internet-delivery';
  private readonly parts: InternetDeliveryParts;
  private readonly destinations: Destinations;
  private readonly inHand = new Set<Promise<void>>();
  private readonly trialOctets = new Budget(OCTETS_IN_HAND);
  private readonly octets = new Budget(OCTETS_IN_HAND);
  private readonly end = new AbortController();
  private slotFreed = Promise.withResolvers<void>();
  private running: Promise<void> = Promise.resolve();
  /** Why work cannot be had; undefined when all is well. */
  private trouble: unknown;

  constructor(parts: InternetDeliveryParts) {
    this.parts = parts;
    const { clock, chance, perDestination } = parts;
    this.destinations = new Destinations({ clock, chance, slots: SLOTS, perDestination });
  }

  start(): void {
    this.running = this.run();
  }

  /** @throws why deliveries cannot be made */
  async check(): Promise<void> {
    if (this.trouble !== undefined) {
      throw this.trouble;
    }
  }

  /**
   * Takes nothing new and finishes what is in hand; what is not finished then stays as it was.
   *
   * @param deadline when it aborts, nothing more is waited for
   */
  async stop(deadline: AbortSignal): Promise<void> {
    this.end.abort();
    await this.running;
    const { promise: cut, resolve } = Promise.withResolvers<void>();
    const onDeadline = () => resolve();
    deadline.addEventListener('abort', onDeadline);
    if (deadline.aborted) {
      resolve();
    }
    await Promise.race([Promise.all(this.inHand), cut]);
    deadline.removeEventListener('abort', onDeadline);
  }

  /** Resolves when nothing is in hand any more. */
  async settled(): Promise<void> {
    await Promise.all(this.inHand);
  }

  private async run(): Promise<void> {
    const { queue, log } = this.parts;
    while (!this.end.signal.aborted) {
      const count = SLOTS - this.inHand.size;
      if (count === 0) {
        await this.slotFreed.promise;
        continue;
      }
      try {
        const room = (group: string, taken: readonly TakenItem[]) => this.destinations.room(group, taken);
        const items = await queue.take({ count, lease: LEASE, room }, this.end.signal);
        this.trouble = undefined;
        for (const item of items) {
          this.takeInHand(item);
        }
      } catch (err) {
        this.trouble = err;
        log.error({ err }, 'Work cannot be taken');
        await this.pause();
      }
    }
  }

  private takeInHand(item: TakenItem): void {
    const done = this.work(item).finally(() => {
      this.inHand.delete(done);
      this.slotFreed.resolve();
      this.slotFreed = Promise.withResolvers<void>();
    });
    this.inHand.add(done);
  }

  /** Never rejects. */
  private async work(item: TakenItem): Promise<void> {
    const attempt = this.destinations.begin(item.group);
    const give = await (attempt.isOnTrial ? this.trialOctets : this.octets).take(item.size);
    try {
      await this.deliverStored(item, attempt);
    } catch (err) {
      // A store is away, or the fault is ours: the parcel is where it was.
      this.destinations.abandoned(attempt);
      this.parts.log.error({ err, key: item.key }, 'Parcel was not delivered: something failed here');
      await this.pause();
      await this.parts.queue.release(item);
    } finally {
      give();
    }
  }

  /** @throws StoreError */
  private async deliverStored(item: TakenItem, attempt: Attempt): Promise<void> {
    const { queue, outbox, sent, deliver, log, journal } = this.parts;
    const stored = await outbox.read(item.key);
    if (!stored) {
      this.destinations.abandoned(attempt);
      await queue.finish(item);
      return;
    }
    const { peer, digest } = readOutboxKey(item.key);
    const { destination = '' } = stored.metadata;
    const told = { ...storedParcelIds(stored), peer, destination, door: 'pohttp' };
    if (await sent.includes(digest, stored.body)) {
      this.destinations.abandoned(attempt);
      await outbox.remove(peer, stored);
      await queue.finish(item);
      log.info(told, 'Parcel was sent before');
      return;
    }
    let fault: DeliveryFault | undefined;
    try {
      await deliver(destination, stored.body);
    } catch (error) {
      if (!(error instanceof DeliveryFault)) {
        throw error;
      }
      fault = error;
    }
    if (fault && !fault.isFinal) {
      await this.setBack(item, attempt, stored, fault, told);
      return;
    }
    if (fault) {
      const why = { code: fault.code, reason: fault.message };
      log.warn({ ...told, ...why }, 'Parcel refused for good');
      journal.record({ event: 'given-up', ...told, ...why });
    } else {
      await sent.add(digest, stored.body, stored.expiry);
      log.info(told, 'Parcel sent');
      journal.record({ event: 'sent-on', ...told });
    }
    const wasDown = this.destinations.succeeded(attempt);
    await outbox.remove(peer, stored);
    await queue.finish(item);
    if (wasDown) {
      await queue.hasten(item.group);
    }
  }

  private async setBack(
    item: TakenItem,
    attempt: Attempt,
    stored: StoredObject,
    { code, message: reason }: DeliveryFault,
    told: Omit<JournalEntry, 'event'>,
  ): Promise<void> {
    const { queue, clock, chance, log, journal } = this.parts;
    if (this.end.signal.aborted) {
      // It may be our own end that cut it.
      this.destinations.abandoned(attempt);
      await queue.release(item);
      return;
    }
    const rest = this.destinations.failed(attempt);
    const due = clock.now() + retryWait(item.attempts + 1, chance());
    if (rest !== undefined) {
      queue.remember(stored);
      await queue.rest(item.group, rest);
    }
    await queue.postpone(item, due);
    const next = Math.max(due, rest ?? 0);
    const attempts = item.attempts + 1;
    log.info({ ...told, code, reason, attempts, next: new Date(next).toISOString() }, 'Parcel not sent yet');
    journal.record({ event: 'postponed', ...told, code, reason, next });
  }

  private async pause(): Promise<void> {
    await pause(STORE_PAUSE, undefined, { signal: this.end.signal }).catch(() => undefined);
  }
}
