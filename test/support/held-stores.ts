/** Stores and signals that a test can hold at a barrier, around the real ones. */
import type { ObjectEntry, ObjectStore, Signals, Subscription } from '../../src/gateway/ports.ts';

/** Where calls wait until the test lets them on. */
export class Barrier {
  /** How many calls wait. */
  waiting = 0;
  private gate: PromiseWithResolvers<void> | undefined;
  private arrival = Promise.withResolvers<void>();

  /** Closes: what comes from now on waits. */
  hold(): void {
    this.gate ??= Promise.withResolvers();
    this.arrival = Promise.withResolvers();
  }

  /** Resolves when something waits. */
  get reached(): Promise<void> {
    return this.arrival.promise;
  }

  /** Opens: what waits goes on. */
  release(): void {
    this.gate?.resolve();
    this.gate = undefined;
  }

  async pass(): Promise<void> {
    if (this.gate) {
      this.arrival.resolve();
      this.waiting++;
      await this.gate.promise;
      this.waiting--;
    }
  }
}

/** Barriers on both sides of what a collection asks of its stores. */
export class Barriers {
  readonly beforeSubscribe = new Barrier();
  readonly afterSubscribe = new Barrier();
  readonly beforeList = new Barrier();
  /** When the listing was taken but not given: it is older than what happens now. */
  readonly afterList = new Barrier();
  readonly beforeGet = new Barrier();
  readonly afterGet = new Barrier();
  readonly beforeDelete = new Barrier();
}

export function heldObjects(objects: ObjectStore, barriers: Barriers): ObjectStore {
  return {
    put: (key, body, options) => objects.put(key, body, options),
    putUnless: (...parameters) => objects.putUnless(...parameters),
    async get(key) {
      await barriers.beforeGet.pass();
      const stored = await objects.get(key);
      await barriers.afterGet.pass();
      return stored;
    },
    find: (key) => objects.find(key),
    async *list(prefix) {
      await barriers.beforeList.pass();
      const entries: ObjectEntry[] = await Array.fromAsync(objects.list(prefix));
      await barriers.afterList.pass();
      yield* entries;
    },
    async delete(key, version) {
      await barriers.beforeDelete.pass();
      return objects.delete(key, version);
    },
  };
}

/** Signals that can be lost: `gap` makes all that was published and held since be forgotten, and tells so. */
export class HeldSignals implements Signals {
  private readonly signals: Signals;
  private readonly barriers: Barriers;
  private readonly gaps = new Set<() => void>();
  private held: { channel: string; payload: Buffer }[] | undefined;

  constructor(signals: Signals, barriers: Barriers) {
    this.signals = signals;
    this.barriers = barriers;
  }

  /** How many subscriptions are open. */
  get subscriptions(): number {
    return this.gaps.size;
  }

  publish(channel: string, payload: Buffer): void {
    if (this.held) {
      this.held.push({ channel, payload });
    } else {
      this.signals.publish(channel, payload);
    }
  }

  async subscribe(channel: string, listener: (payload: Buffer) => void, onGap: () => void): Promise<Subscription> {
    await this.barriers.beforeSubscribe.pass();
    const subscription = await this.signals.subscribe(channel, listener, onGap);
    const gap = () => onGap();
    this.gaps.add(gap);
    await this.barriers.afterSubscribe.pass();
    return {
      close: () => {
        this.gaps.delete(gap);
        subscription.close();
      },
    };
  }

  /** Keeps what is published from now on. */
  hold(): void {
    this.held ??= [];
  }

  /** How many signals are kept. */
  get heldCount(): number {
    return this.held?.length ?? 0;
  }

  /** Sends on one of those that are kept, by its place: signals of several processes come in any order. */
  releaseOne(place: number): void {
    for (const { channel, payload } of this.held?.splice(place, 1) ?? []) {
      this.signals.publish(channel, payload);
    }
  }

  /** Sends on all that was kept. */
  release(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const { channel, payload } of held) {
      this.signals.publish(channel, payload);
    }
  }

  /** Loses all that was kept and tells the subscribers that something was lost. */
  gap(): void {
    this.held = undefined;
    for (const tell of [...this.gaps]) {
      tell();
    }
  }
}
