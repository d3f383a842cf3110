/**
 * The work of delivering parcels to Internet nodes, and who of them gave a sign of life.
 *
 * Work is grouped by destination: the recipient's Internet address.
 */
import type {
  ObjectEntry,
  Signals,
  Subscription,
  TakenItem,
  TakeOptions,
  Work,
  WorkGroup,
  WorkItem,
  WorkQueue,
} from './ports.ts';

const QUEUE = 'internet-delivery';

/** Where those who take parcels in tell those who deliver them of endpoints that gave a sign of life. */
const CHANNEL = 'heard-endpoints';

/** Destinations whose endpoints are learnt at a start, and parcels of each that are looked at. */
const LEARNT_DESTINATIONS = 1000;
const LEARNT_PARCELS = 8;

/** Endpoints whose Internet addresses are remembered; of those, the longest unused go first. */
const REMEMBERED = 10_000;

export class InternetQueue {
  private readonly work: WorkQueue;
  private readonly signals: Signals;
  /** Internet addresses by endpoint id. */
  private readonly addresses = new Map<string, string>();

  constructor({ work, signals }: { work: WorkQueue; signals: Signals }) {
    this.work = work;
    this.signals = signals;
  }

  /** Adds a parcel that was put into an outbox. Never fails: housekeeping adds what is missing. */
  async add(entry: ObjectEntry): Promise<void> {
    this.remember(entry);
    // The parcel is durable, and that is what was promised.
    await this.work.add(QUEUE, workOf(entry)).catch(() => undefined);
  }

  /** Adds those that have no work item. @throws StoreError */
  addMissing(entries: readonly ObjectEntry[]): Promise<number> {
    return this.work.addMissing(QUEUE, entries.map(workOf));
  }

  /** Keeps in mind at which address the recipient is. */
  remember({ metadata: { recipient, destination } }: Pick<ObjectEntry, 'metadata'>): void {
    if (recipient === undefined || destination === undefined) {
      return;
    }
    this.addresses.delete(recipient);
    this.addresses.set(recipient, groupOf(destination));
    if (this.addresses.size > REMEMBERED) {
      this.addresses.delete(this.addresses.keys().next().value as string);
    }
  }

  /** A parcel came from this endpoint: should parcels wait for its address, they wait no longer. Never fails. */
  async heardFrom(endpoint: string): Promise<void> {
    if (!(await this.hastenTo(endpoint)) && (this.signals.isHeard?.(CHANNEL) ?? true)) {
      this.signals.publish(CHANNEL, Buffer.from(endpoint));
    }
  }

  /**
   * Hears of endpoints from other processes, too. For who delivers: it knows the addresses of those that it could not
   * deliver to. Never fails.
   */
  async listen(): Promise<Subscription> {
    return this.signals.subscribe(
      CHANNEL,
      (payload) => void this.hastenTo(payload.toString()),
      // Their destinations come to their turns all the same.
      () => undefined,
    );
  }

  /**
   * Learns the addresses of endpoints whose parcels wait since before the start; of many destinations, of some.
   *
   * @param find gives what is told of a parcel
   * @throws StoreError
   */
  async learn(find: (key: string) => Promise<Pick<ObjectEntry, 'metadata'> | undefined>): Promise<void> {
    let destinations = 0;
    for await (const { group } of this.work.groups(QUEUE)) {
      let parcels = 0;
      for await (const { key } of this.work.list(QUEUE, group)) {
        const entry = await find(key);
        if (entry) {
          this.remember(entry);
        }
        if (++parcels === LEARNT_PARCELS) {
          break;
        }
      }
      if (++destinations === LEARNT_DESTINATIONS) {
        return;
      }
    }
  }

  /** @returns whether its address is known here */
  private async hastenTo(endpoint: string): Promise<boolean> {
    const address = this.addresses.get(endpoint);
    if (address !== undefined) {
      await this.hasten(address).catch(() => undefined);
    }
    return address !== undefined;
  }

  /** @throws StoreError */
  take(options: TakeOptions, signal: AbortSignal): Promise<TakenItem[]> {
    return this.work.take(QUEUE, options, signal);
  }

  /** @returns those that are in this hand no longer @throws StoreError */
  renew(items: readonly TakenItem[], lease: number): Promise<TakenItem[]> {
    return this.work.renew(QUEUE, items, lease);
  }

  finish(item: TakenItem): Promise<boolean> {
    return this.work.finish(QUEUE, item);
  }

  postpone(item: TakenItem, due: number): Promise<boolean> {
    return this.work.postpone(QUEUE, item, due);
  }

  /** Never rejects: what cannot be given back is for others once its lease has run out. */
  async release(item: TakenItem): Promise<void> {
    await this.work.release(QUEUE, item).catch(() => undefined);
  }

  rest(destination: string, until: number): Promise<void> {
    return this.work.rest(QUEUE, destination, until);
  }

  hasten(destination: string): Promise<void> {
    return this.work.hasten(QUEUE, groupOf(destination));
  }

  /** Takes a parcel's item out, whoever has it in hand. @throws StoreError */
  remove(key: string): Promise<void> {
    return this.work.remove(QUEUE, key);
  }

  /** How things stand with all destinations that parcels wait for, in no particular order. */
  destinations(): AsyncIterable<WorkGroup> {
    return this.work.groups(QUEUE);
  }

  /** How things stand with one destination; undefined when nothing waits for it. @throws StoreError */
  async destination(name: string): Promise<WorkGroup | undefined> {
    for await (const group of this.work.groups(QUEUE)) {
      if (group.group === groupOf(name)) {
        return group;
      }
    }
    return undefined;
  }

  /** All parcels that wait for a destination, in no particular order. */
  list(destination: string): AsyncIterable<WorkItem> {
    return this.work.list(QUEUE, groupOf(destination));
  }
}

function workOf({ key, size, expiry, metadata: { destination = '' } }: ObjectEntry): Work {
  return { key, group: groupOf(destination), size, expiry };
}

/** Domain names are the same in any case. */
function groupOf(destination: string): string {
  return destination.toLowerCase();
}
