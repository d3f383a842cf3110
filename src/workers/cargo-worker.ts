/**
 * Opens the cargo that couriers have brought: takes it from the queue, has the gateway process it, and puts back what has
 * to wait.
 */
import { setTimeout as delay, setImmediate } from 'node:timers/promises';
import type { Logger } from 'pino';
import { TELL_NOBODY, type TellOfCargo } from '../gateway/cargo/cargo-events.ts';
import type { CargoOutcome, CargoProcessing, ItemOutcome } from '../gateway/cargo/cargo-processing.ts';
import { CARGO_QUEUE } from '../gateway/cargo/cargo-storage.ts';
import { type Clock, StoreError, type TakenItem, type WorkQueue } from '../gateway/ports.ts';
import { MINUTE, SECOND } from '../gateway/time.ts';
import { HeldItems, LEASE } from './held-items.ts';

/** Cargoes that are open at the same time, each with some 30 MiB in memory, and how many of one private gateway. */
const CONCURRENT_CARGOES = 4;
const CONCURRENT_OF_PEER = 1;

/** The first and the longest wait of cargo that has to wait, in milliseconds. */
const FIRST_WAIT = 5 * SECOND;
const LONGEST_WAIT = 10 * MINUTE;

/** How long the worker waits when the queue itself is away, in milliseconds. */
const QUEUE_PAUSE = SECOND;

/** A queue that fails does so within this time, in milliseconds; one that is silent for longer has nothing to give. */
const SETTLED = 3 * SECOND;

/** Messages of one cargo that are refused and told in the log one by one. */
const MAX_LOGGED_REFUSALS = 20;

/** After so many messages others have their turn. */
const ITEMS_AT_A_STRETCH = 16;

export interface CargoWorkerParts {
  readonly queue: WorkQueue;
  readonly processing: CargoProcessing;
  readonly log: Logger;
  readonly clock: Clock;
  /** A number from 0 up to 1, so that what failed together is not tried again together. */
  readonly chance: () => number;
  /** Told of what becomes of each cargo. */
  readonly tell?: TellOfCargo;
}

export class CargoWorker {
  readonly name = 'cargo-worker';
  private readonly parts: CargoWorkerParts;
  /** Takes nothing more. */
  private readonly end = new AbortController();
  /** Leaves what is in hand. */
  private readonly cut = new AbortController();
  private readonly inHand = new Map<string, number>();
  private readonly jobs = new Set<Promise<void>>();
  private readonly held: HeldItems;
  private running: Promise<void> | undefined;
  /** Why the queue could not be asked the last time. */
  private fault: unknown;
  /** When it was asked for what it has not given yet, by `performance.now()`. */
  private asked = Number.POSITIVE_INFINITY;

  constructor(parts: CargoWorkerParts) {
    this.parts = parts;
    const { queue, log } = parts;
    this.held = new HeldItems({
      renew: (items, lease) => queue.renew(CARGO_QUEUE, items, lease),
      worker: this.name,
      log,
    });
  }

  /** Starts to work, until it is stopped. */
  start(): void {
    this.running ??= this.run();
  }

  /** Resolves when it works. @throws StoreError while the queue is away */
  async check(): Promise<void> {
    if (this.fault && performance.now() - this.asked < SETTLED) {
      throw this.fault;
    }
    if (!this.running || this.end.signal.aborted) {
      throw new Error('Not working');
    }
  }

  /**
   * Takes nothing more, and resolves when what is in hand is done or given back.
   *
   * @param deadline when it aborts, what is in hand is left: it is opened again from the start
   */
  async stop(deadline: AbortSignal): Promise<void> {
    this.end.abort();
    const cut = () => this.cut.abort();
    deadline.addEventListener('abort', cut);
    if (deadline.aborted) {
      cut();
    }
    await this.running;
    await Promise.all(this.jobs);
    this.held.close();
    deadline.removeEventListener('abort', cut);
  }

  private async run(): Promise<void> {
    const { queue, log } = this.parts;
    const { signal } = this.end;
    const room = (peer: string) => CONCURRENT_OF_PEER - (this.inHand.get(peer) ?? 0);
    while (!signal.aborted) {
      if (this.jobs.size >= CONCURRENT_CARGOES) {
        await Promise.race(this.jobs);
        continue;
      }
      try {
        const count = CONCURRENT_CARGOES - this.jobs.size;
        this.asked = performance.now();
        for (const item of await queue.take(CARGO_QUEUE, { count, lease: LEASE, room }, signal)) {
          this.begin(item);
        }
        this.fault = undefined;
      } catch (err) {
        this.fault = err;
        this.asked = Number.POSITIVE_INFINITY;
        log.warn({ err }, 'Cargo queue is away');
        await delay(QUEUE_PAUSE, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  private begin(item: TakenItem): void {
    const { group } = item;
    this.held.hold(item);
    this.inHand.set(group, (this.inHand.get(group) ?? 0) + 1);
    const job = this.open(item).finally(() => {
      this.jobs.delete(job);
      const left = (this.inHand.get(group) ?? 1) - 1;
      if (left > 0) {
        this.inHand.set(group, left);
      } else {
        this.inHand.delete(group);
      }
    });
    this.jobs.add(job);
  }

  /** Never rejects: what goes wrong is tried again until the cargo expires. */
  private async open(item: TakenItem): Promise<void> {
    const { queue, processing, log, clock } = this.parts;
    const { key } = item;
    const began = clock.now();
    try {
      const refusals = new Refusals(log);
      const opening = processing.open(key, async (message) => {
        await refusals.note(message);
        this.cut.signal.throwIfAborted();
      });
      // What was lost meanwhile is opened to its end: others that open it, too, find the same.
      const outcome = await opening.finally(() => this.held.drop(item));
      refusals.end();
      this.tell(key, outcome, clock.now() - began);
      if (outcome.result === 'waiting') {
        await this.postpone(item);
      } else {
        await queue.finish(CARGO_QUEUE, item);
      }
    } catch (err) {
      if (this.cut.signal.aborted) {
        await queue.release(CARGO_QUEUE, item).catch(() => undefined);
        return;
      }
      if (err instanceof StoreError) {
        log.warn({ err, key }, 'Cargo cannot be opened now');
      } else {
        log.error({ err, key }, 'Cargo cannot be opened');
      }
      await this.postpone(item).catch(() => undefined);
    }
  }

  private async postpone(item: TakenItem): Promise<void> {
    const { queue, clock, chance } = this.parts;
    const longest = Math.min(FIRST_WAIT * 2 ** item.attempts, LONGEST_WAIT);
    await queue.postpone(CARGO_QUEUE, item, clock.now() + longest * (1 - chance() / 2));
  }

  private tell(key: string, outcome: CargoOutcome, took: number): void {
    const { log, tell = TELL_NOBODY } = this.parts;
    if (outcome.result !== 'gone') {
      const code = outcome.result === 'dropped' ? { code: outcome.error.code } : {};
      tell({ event: outcome.result, ids: outcome.ids, took, ...code });
    }
    switch (outcome.result) {
      case 'opened':
        log.info({ ...outcome.ids, items: outcome.items }, 'Cargo opened');
        break;
      case 'waiting':
        log.info({ ...outcome.ids, items: outcome.items }, 'Cargo has to wait: there is no room for all in it');
        break;
      case 'dropped': {
        const { code, message } = outcome.error;
        log.warn({ ...outcome.ids, code, reason: message }, 'Cargo dropped: it cannot be opened');
        break;
      }
      case 'gone':
        log.debug({ key }, 'Cargo was opened before, or has expired');
    }
  }
}

/** Tells of the messages in one cargo, and of refused ones only so many one by one. */
class Refusals {
  private readonly log: Logger;
  private count = 0;
  private refused = 0;

  constructor(log: Logger) {
    this.log = log;
  }

  async note({ kind, ids, result, error }: ItemOutcome): Promise<void> {
    if (result === 'refused') {
      this.refused++;
      if (this.refused <= MAX_LOGGED_REFUSALS) {
        const event = kind === 'parcel' ? { event: 'refused', door: 'cargo' } : {};
        this.log.info(
          { ...event, ...ids, kind, code: error?.code, reason: error?.message },
          'Message in cargo refused',
        );
      }
    } else if (kind === 'parcel' && result === 'taken') {
      this.log.info({ event: 'accepted', door: 'cargo', ...ids }, 'Parcel accepted');
    } else {
      this.log.debug({ ...ids, kind, result }, 'Message in cargo');
    }
    if (++this.count % ITEMS_AT_A_STRETCH === 0) {
      await setImmediate();
    }
  }

  end(): void {
    if (this.refused > MAX_LOGGED_REFUSALS) {
      this.log.info({ refused: this.refused }, 'More messages of this cargo were refused');
    }
  }
}
