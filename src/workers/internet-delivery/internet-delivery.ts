/**
 * The worker that delivers outboxes to the Internet: takes what is due, posts it, and deletes it or sets it back.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { Budget } from '../../gateway/budget.ts';
import { DeliveryFault } from '../../gateway/delivery-fault.ts';
import { type Attempt, Destinations } from '../../gateway/destinations.ts';
import type { InternetQueue } from '../../gateway/internet-queue.ts';
import type { JournalWriter } from '../../gateway/journal.ts';
import { type Outbox, readOutboxKey } from '../../gateway/outbox.ts';
import { storedParcelIds, waitedSince } from '../../gateway/parcel-at-rest.ts';
import type { Clock, JournalEntry, StoredObject, TakenItem } from '../../gateway/ports.ts';
import { retryWait } from '../../gateway/retry.ts';
import { alsoSent, fingerprintOf, type SentMemory, wasSent } from '../../gateway/sent-memory.ts';
import { SECOND } from '../../gateway/time.ts';
import { HeldItems, LEASE } from '../held-items.ts';
import { Completions, type SentParcelAtRest } from './completions.ts';
import { Readings } from './readings.ts';

/** Parcels in hand: under way, waiting for their turn, and being brought to their end. */
const SLOTS = 512;

/** Octets of parcels in memory: of destinations on trial, and of others. */
const OCTETS_IN_HAND = 48 * 1024 * 1024;

/** Waits grow no further when the resolver is away, so that all goes soon after it is back. */
const MOST_RESOLVER_FAILURES = 3;

/** How long to wait when a store is away, in milliseconds. */
const STORE_PAUSE = SECOND;

/** A queue that fails does so within this time, in milliseconds; one that is silent for longer has nothing to give. */
const SETTLED = 3 * SECOND;

/** Why a look for work was ended; made once, since each would cost as much as the look. */
const LOOK_AGAIN = new Error('There is room for more');

/** Where deliveries are told; pino's fits. */
export interface DeliveryLog {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

/** Delivers one parcel. @throws DeliveryFault */
export type Deliver = (internetAddress: string, parcel: Buffer) => Promise<void>;

/** What is to be done about a parcel when its destination has spoken. */
interface Outcome {
  /** @throws StoreError */
  end(): Promise<unknown>;
}

/** A parcel in hand that waits for its destination to be free. */
interface Waiting {
  readonly item: TakenItem;
  readonly attempt: Attempt;
  readonly end: () => void;
}

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
  private readonly completions: Completions;
  private readonly readings: Readings;
  private readonly inHand = new Set<Promise<void>>();
  private readonly held: HeldItems;
  /** What waits in hand, by destination. */
  private readonly lanes = new Map<string, Waiting[]>();
  /** Destinations that have failed, while the queue does not know yet that they rest. */
  private readonly goingToRest = new Set<string>();
  private readonly trialOctets = new Budget(OCTETS_IN_HAND);
  private readonly octets = new Budget(OCTETS_IN_HAND);
  private readonly end = new AbortController();
  /** Destinations that have more work than there was room for, since the last look. */
  private readonly short = new Set<string>();
  /** Ends the look for work that is under way, so that another one begins. */
  private look = new AbortController();
  /** Set while slots are waited for. */
  private onSlotFreed: (() => void) | undefined;
  private running: Promise<void> = Promise.resolve();
  /** Why work cannot be had; undefined when all is well. */
  private trouble: unknown;
  /** When the queue was asked for what it has not given yet, by `performance.now()`. */
  private asked = Number.POSITIVE_INFINITY;

  constructor(parts: InternetDeliveryParts) {
    this.parts = parts;
    const { queue, clock, chance, log, perDestination } = parts;
    this.held = new HeldItems({ renew: (items, lease) => queue.renew(items, lease), worker: this.name, log });
    this.completions = new Completions(parts);
    this.readings = new Readings(parts);
    this.destinations = new Destinations({ clock, chance, slots: SLOTS, perDestination });
  }

  start(): void {
    this.running = this.run();
    void this.hear();
  }

  /** @throws why deliveries cannot be made */
  async check(): Promise<void> {
    if (this.trouble !== undefined && performance.now() - this.asked < SETTLED) {
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
    this.look.abort();
    await this.running;
    for (const group of this.lanes.keys()) {
      this.emptyLane(group);
    }
    const { promise: cut, resolve } = Promise.withResolvers<void>();
    const onDeadline = () => resolve();
    deadline.addEventListener('abort', onDeadline);
    if (deadline.aborted) {
      resolve();
    }
    await Promise.race([Promise.all(this.inHand), cut]);
    deadline.removeEventListener('abort', onDeadline);
    this.held.close();
  }

  /** Resolves when nothing is in hand any more. */
  async settled(): Promise<void> {
    await Promise.all(this.inHand);
  }

  /** Has signs of life end rests, also of what waits since before the start. Never rejects: rests end by themselves, too. */
  private async hear(): Promise<void> {
    const { queue, outbox, log } = this.parts;
    try {
      const subscription = await queue.listen();
      this.end.signal.addEventListener('abort', () => subscription.close());
      if (this.end.signal.aborted) {
        subscription.close();
      }
      await queue.learn((key) => outbox.find(key));
    } catch (err) {
      log.warn({ err }, 'Addresses of endpoints whose parcels wait were not learnt');
    }
  }

  private async run(): Promise<void> {
    const { queue, log } = this.parts;
    while (!this.end.signal.aborted) {
      const count = SLOTS - this.inHand.size;
      if (count === 0) {
        await new Promise<void>((resolve) => {
          this.onSlotFreed = resolve;
        });
        continue;
      }
      try {
        this.look = new AbortController();
        this.short.clear();
        this.asked = performance.now();
        const room = (group: string, taken: readonly TakenItem[]) => this.room(group, taken);
        const items = await queue.take({ count, lease: LEASE, room }, this.look.signal);
        this.trouble = undefined;
        if (items.length > 0) {
          this.readings.ask(items);
        }
        for (const item of items) {
          this.takeInHand(item);
        }
      } catch (err) {
        this.trouble = err;
        this.asked = Number.POSITIVE_INFINITY;
        log.error({ err }, 'Work cannot be taken');
        await this.pause();
      }
    }
  }

  private room(group: string, taken: readonly TakenItem[]): number {
    const room = this.goingToRest.has(group) ? 0 : this.destinations.room(group, taken);
    if (room <= 0) {
      this.short.add(group);
    }
    return room;
  }

  private takeInHand(item: TakenItem): void {
    const { promise: done, resolve: end } = Promise.withResolvers<void>();
    const lane = this.lanes.get(item.group) ?? [];
    this.lanes.set(item.group, lane);
    lane.push({ item, attempt: this.destinations.take(item.group), end });
    this.inHand.add(done);
    this.held.hold(item);
    void done.then(() => {
      this.inHand.delete(done);
      this.onSlotFreed?.();
    });
    this.startNext(item.group);
  }

  /** Gets those under way whose turn it is. */
  private startNext(group: string): void {
    const lane = this.lanes.get(group);
    for (let next = lane?.[0]; lane && next; next = lane[0]) {
      if (!this.held.has(next.item)) {
        // Others deliver it.
        lane.shift();
        this.destinations.abandoned(next.attempt);
        next.end();
        continue;
      }
      const attempt = this.goingToRest.has(group) ? undefined : this.destinations.begin(next.attempt);
      if (!attempt) {
        return;
      }
      lane.shift();
      void this.work(next.item, attempt).then(next.end);
    }
    this.lanes.delete(group);
  }

  /** Gives back what waits for its turn. */
  private emptyLane(group: string): void {
    const lane = this.lanes.get(group) ?? [];
    this.lanes.delete(group);
    for (const { item, attempt, end } of lane) {
      this.destinations.abandoned(attempt);
      this.held.drop(item);
      void this.parts.queue.release(item).then(end);
    }
  }

  /** Never rejects. */
  private async work(item: TakenItem, attempt: Attempt): Promise<void> {
    const give = await (attempt.isOnTrial ? this.trialOctets : this.octets).take(item.size);
    let outcome: Outcome;
    try {
      const isWanted = !this.end.signal.aborted && this.held.has(item);
      outcome = isWanted ? await this.deliverStored(item, attempt) : this.giveBack(item, attempt);
    } catch (error) {
      this.destinations.abandoned(attempt);
      outcome = { end: () => Promise.reject(error) };
    } finally {
      give();
    }
    this.held.drop(item);
    this.startNext(item.group);
    if (!this.lanes.has(item.group) && this.short.delete(item.group)) {
      // What waits for this destination need not wait until this work has come to its end.
      this.look.abort(LOOK_AGAIN);
    }
    try {
      await outcome.end();
    } catch (err) {
      // A store is away, or the fault is ours: the parcel is where it was.
      this.parts.log.error({ err, key: item.key }, 'Parcel was not delivered: something failed here');
      await this.pause();
      await this.parts.queue.release(item);
    }
  }

  /**
   * Has the destination take the parcel, and learns of the destination.
   *
   * @returns what is then to be done about the parcel
   * @throws StoreError
   */
  private async deliverStored(item: TakenItem, attempt: Attempt): Promise<Outcome> {
    const { queue, deliver, clock, log, journal } = this.parts;
    const { peer, digest } = readOutboxKey(item.key);
    const { stored, sentBefore } = await this.readings.read(item, digest);
    if (!stored) {
      this.destinations.abandoned(attempt);
      return { end: () => queue.finish(item) };
    }
    const { destination = '' } = stored.metadata;
    const standing: JournalEntry['standing'] = attempt.isOnTrial ? 'trial' : 'proven';
    const told = { ...storedParcelIds(stored), peer, destination, door: 'pohttp' };
    const fingerprint = fingerprintOf(stored.body);
    const { key, version, size, expiry } = stored;
    const fingerprints = alsoSent(sentBefore, fingerprint);
    const parcel = { item, peer, digest, fingerprints, entry: { key, version, size, expiry } };
    if (wasSent(sentBefore, fingerprint)) {
      this.destinations.abandoned(attempt);
      log.info(told, 'Parcel was sent before');
      return { end: () => this.drop(parcel) };
    }
    const began = clock.now();
    const timed = () => ({ took: clock.now() - began, standing });
    try {
      await deliver(destination, stored.body);
    } catch (error) {
      if (!(error instanceof DeliveryFault)) {
        throw error;
      }
      if (!error.isFinal) {
        return this.setBack(item, attempt, stored, error, { told, timed: timed() });
      }
      const why = { code: error.code, reason: error.message };
      log.warn({ event: 'given-up', ...told, ...why }, 'Parcel refused for good');
      journal.record({ event: 'given-up', ...told, ...why, ...timed() });
      this.succeeded(attempt);
      return { end: () => this.drop(parcel) };
    }
    log.info({ event: 'sent-on', ...told }, 'Parcel sent');
    journal.record({ event: 'sent-on', ...told, ...timed(), waited: waitedSince(stored.arrival, clock.now()) });
    this.succeeded(attempt);
    return { end: () => this.completions.add(parcel) };
  }

  private async drop({ item, peer, entry }: SentParcelAtRest): Promise<void> {
    await this.parts.outbox.remove(peer, entry);
    await this.parts.queue.finish(item);
  }

  /** What waits for a destination that was down may hurry. */
  private succeeded(attempt: Attempt): void {
    if (this.destinations.succeeded(attempt)) {
      this.parts.queue.hasten(attempt.name).catch((err: unknown) => {
        this.parts.log.error({ err, destination: attempt.name }, 'Parcels were not hastened');
      });
    }
  }

  private giveBack(item: TakenItem, attempt: Attempt): Outcome {
    this.destinations.abandoned(attempt);
    return { end: () => this.parts.queue.release(item) };
  }

  private setBack(
    item: TakenItem,
    attempt: Attempt,
    stored: StoredObject,
    { code, message: reason }: DeliveryFault,
    { told, timed }: { told: Omit<JournalEntry, 'event'>; timed: Pick<JournalEntry, 'took' | 'standing'> },
  ): Outcome {
    const { queue, clock, chance, log, journal } = this.parts;
    if (this.end.signal.aborted || !this.held.has(item)) {
      // It may be our own end that cut it; or others try by now, and tell.
      return this.giveBack(item, attempt);
    }
    const attempts = item.attempts + 1;
    let due = clock.now() + retryWait(attempts, chance());
    let rest: number | undefined;
    if (code === 'RESOLVER_AWAY') {
      // Which tells nothing of the destination.
      this.destinations.abandoned(attempt);
      due = clock.now() + retryWait(Math.min(attempts, MOST_RESOLVER_FAILURES), chance());
      rest = due;
    } else {
      rest = this.destinations.failed(attempt);
    }
    const next = Math.max(due, rest ?? 0);
    const later = { code, reason, attempts, next: new Date(next).toISOString() };
    log.info({ event: 'postponed', ...told, ...later }, 'Parcel not sent yet');
    journal.record({ event: 'postponed', ...told, ...timed, code, reason, next });
    if (rest === undefined) {
      return { end: () => queue.postpone(item, due) };
    }
    queue.remember(stored);
    this.goingToRest.add(item.group);
    return {
      end: async () => {
        try {
          await queue.rest(item.group, rest);
          this.emptyLane(item.group);
        } finally {
          this.goingToRest.delete(item.group);
        }
        await queue.postpone(item, due);
      },
    };
  }

  private async pause(): Promise<void> {
    await pause(STORE_PAUSE, undefined, { signal: this.end.signal }).catch(() => undefined);
  }
}
