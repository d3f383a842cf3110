/**
 * Load on a whole gateway by official clients, and the book that is kept of it: what was sent, what was acknowledged, what
 * came, and what never did.
 */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Parcel, StreamingMode } from '@relaycorp/relaynet-core';
import type { Addresses } from './deployment.ts';
import {
  newOfficialIdentity,
  type OfficialEndpoint,
  OfficialPrivateGateway,
  type OfficialSender,
  registerOfficially,
} from './official-client.ts';
import { deliverOfficially, officialCargo, officialCourier } from './official-courier.ts';

/** Milliseconds between two parcels of a pair, of the Internet's, between two cargoes, and two registrations. */
const PARCEL_PERIOD = 400;
const INTERNET_PERIOD = 700;
const CARGO_PERIOD = 2000;
const REGISTRATION_PERIOD = 1500;
/** How long a collector waits before it comes back: clients wait up to 3 s. */
const RECONNECT_PAUSE = 300;
const POLL = 50;
const REGISTRATION_ATTEMPTS = 5;

export type Way = 'poweb' | 'internet' | 'cargo';

interface Entry {
  readonly way: Way;
  readonly sent: number;
  acknowledged: number | undefined;
  readonly delivered: number[];
}

/** What came of everything since the last `begin`; times by `performance.now()`. */
export interface Report {
  readonly sent: number;
  readonly acknowledged: number;
  readonly delivered: number;
  readonly duplicated: number;
  /** By way: acknowledged and not delivered. */
  readonly missing: Readonly<Record<Way, number>>;
  /** When something was last answered by a refusal; and when a client last gave up waiting for an answer. */
  readonly lastRefusal: number | undefined;
  readonly lastSilence: number | undefined;
}

interface Pair {
  readonly sender: OfficialPrivateGateway;
  readonly recipient: OfficialPrivateGateway;
  readonly endpoint: OfficialEndpoint;
  readonly author: OfficialSender;
}

export interface TrafficOptions {
  /** Asked whenever somebody connects. */
  readonly addresses: () => Addresses;
  readonly pairs: number;
  /** Of an Internet endpoint; none where absent. */
  readonly internetAddress?: string;
  /** Whether couriers come, and private gateways register. */
  readonly hasCouriers?: boolean;
}

export class Traffic implements AsyncDisposable {
  private readonly options: TrafficOptions;
  private readonly pairs: readonly Pair[];
  private readonly book = new Map<string, Entry>();
  private readonly collectors = new AbortController();
  private readonly collecting: Promise<void>[] = [];
  private sending = new AbortController();
  private senders: Promise<void>[] = [];
  private lastRefusal: number | undefined;
  private lastSilence: number | undefined;

  private constructor(options: TrafficOptions, pairs: readonly Pair[]) {
    this.options = options;
    this.pairs = pairs;
  }

  /** Registers everybody, and starts to collect. */
  static async start(options: TrafficOptions): Promise<Traffic> {
    const { poweb } = options.addresses();
    const pairs: Pair[] = [];
    for (let number = 0; number < options.pairs; number++) {
      const sender = await registered(poweb);
      const recipient = await registered(poweb);
      const endpoint = await recipient.newEndpoint();
      const author = await endpoint.authorize((await sender.newEndpoint()).identity);
      pairs.push({ sender, recipient, endpoint, author });
    }
    const traffic = new Traffic(options, pairs);
    await Promise.all(pairs.map((pair) => traffic.collect(pair)));
    return traffic;
  }

  /** Opens a new page of the book, and starts to send. */
  begin(): void {
    this.book.clear();
    this.lastRefusal = undefined;
    this.lastSilence = undefined;
    this.sending = new AbortController();
    const every = (period: number, act: () => Promise<void>) => this.senders.push(this.repeat(period, act));
    for (const pair of this.pairs) {
      every(PARCEL_PERIOD, () => this.sendParcel(pair));
    }
    const [first] = this.pairs;
    const { internetAddress, hasCouriers } = this.options;
    if (first && internetAddress !== undefined) {
      every(INTERNET_PERIOD, () => this.sendToInternet(first, internetAddress));
    }
    if (first && hasCouriers) {
      every(CARGO_PERIOD, () => this.sendCargo(first));
      every(REGISTRATION_PERIOD, async () => {
        await this.answered(() => registerOfficially(first.sender.client, first.sender.identity));
      });
    }
  }

  /** Sends nothing more, and waits for what was acknowledged, at most so many milliseconds. */
  async settle(patience: number): Promise<Report> {
    this.sending.abort();
    await Promise.all(this.senders);
    this.senders = [];
    const end = performance.now() + patience;
    while (performance.now() < end && this.missing().length > 0) {
      await pause(POLL);
    }
    const entries = [...this.book.values()];
    const missing = this.missing();
    const count = (way: Way) => missing.filter((entry) => entry.way === way).length;
    return {
      sent: entries.length,
      acknowledged: entries.filter(({ acknowledged }) => acknowledged !== undefined).length,
      delivered: entries.filter(({ delivered }) => delivered.length > 0).length,
      duplicated: entries.reduce((sum, { delivered }) => sum + Math.max(0, delivered.length - 1), 0),
      missing: { poweb: count('poweb'), internet: count('internet'), cargo: count('cargo') },
      lastRefusal: this.lastRefusal,
      lastSilence: this.lastSilence,
    };
  }

  /** How long the slowest of the parcels that have come took, in milliseconds. */
  worstLatency(): number {
    const times = [...this.book.values()].map(({ sent, delivered: [first = sent] }) => first - sent);
    return Math.max(0, ...times);
  }

  /** Resolves with when the first parcel came live that was sent after this time. */
  async liveAfter(time: number): Promise<number> {
    for (;;) {
      const came = [...this.book.values()].find(
        ({ way, sent, delivered }) => way === 'poweb' && sent >= time && delivered.length > 0,
      );
      if (came) {
        return came.delivered[0] as number;
      }
      await pause(POLL);
    }
  }

  /** An Internet endpoint, or a collector, has got this. */
  arrived(parcel: Buffer): void {
    this.book.get(digestOf(parcel))?.delivered.push(performance.now());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.sending.abort();
    this.collectors.abort();
    await Promise.all([...this.senders, ...this.collecting]);
  }

  private missing(): Entry[] {
    return [...this.book.values()].filter(
      ({ acknowledged, delivered }) => acknowledged !== undefined && delivered.length === 0,
    );
  }

  private async repeat(period: number, act: () => Promise<void>): Promise<void> {
    const { signal } = this.sending;
    while (!signal.aborted) {
      await act();
      await pause(period, undefined, { signal }).catch(() => undefined);
    }
  }

  private async sendParcel({ sender, endpoint, author }: Pair): Promise<void> {
    const parcel = await endpoint.writeParcel(author, randomBytes(500));
    await this.send('poweb', Buffer.from(parcel), () => sender.deliver(parcel));
  }

  private async sendToInternet({ sender, author }: Pair, internetAddress: string): Promise<void> {
    const { id } = await newOfficialIdentity();
    const [certificate] = author.chain;
    const parcel = await new Parcel({ id, internetAddress }, certificate, randomBytes(500), { ttl: 86_400 }).serialize(
      author.identity.privateKey,
    );
    await this.send('internet', Buffer.from(parcel), () => sender.deliver(parcel));
  }

  private async sendCargo({ sender, endpoint, author }: Pair): Promise<void> {
    const parcel = Buffer.from(await endpoint.writeParcel(author, randomBytes(500)));
    const cargo = await officialCargo(sender, [parcel]);
    const courier = await officialCourier(this.options.addresses().cogrpc);
    try {
      await this.send('cargo', parcel, async () => {
        if ((await deliverOfficially(courier, [cargo])) !== 1) {
          throw new Error('The cargo was not acknowledged');
        }
      });
    } finally {
      courier.close();
    }
  }

  private async send(way: Way, parcel: Buffer, deliver: () => Promise<unknown>): Promise<void> {
    const entry: Entry = { way, sent: performance.now(), acknowledged: undefined, delivered: [] };
    this.book.set(digestOf(parcel), entry);
    if (await this.answered(deliver)) {
      entry.acknowledged = performance.now();
    }
  }

  /** Notes when something is not answered well. */
  private async answered(ask: () => Promise<unknown>): Promise<boolean> {
    try {
      await ask();
      return true;
    } catch (error) {
      if (/timeout of \d+ms exceeded/.test((error as Error).message)) {
        this.lastSilence = performance.now();
      } else {
        this.lastRefusal = performance.now();
      }
      return false;
    }
  }

  /** Collects for as long as the traffic lasts; resolves when it has begun. */
  private async collect({ recipient }: Pair): Promise<void> {
    const begun = Promise.withResolvers<void>();
    const { signal } = this.collectors;
    const aborted = new Promise<undefined>((resolve) => signal.addEventListener('abort', () => resolve(undefined)));
    const forever = async () => {
      while (!signal.aborted) {
        const live = recipient.at(this.options.addresses().poweb).collect(StreamingMode.KEEP_ALIVE, begun.resolve);
        try {
          for (;;) {
            const next = live.next();
            next.catch(() => undefined);
            const result = await Promise.race([next, aborted]);
            if (!result || result.done) {
              break;
            }
            this.arrived(Buffer.from(result.value.parcelSerialized));
            await result.value.ack();
          }
        } catch {
          // Its gateway's process has ended, or cannot read its stores: it comes back.
        }
        await pause(RECONNECT_PAUSE, undefined, { signal }).catch(() => undefined);
      }
    };
    this.collecting.push(forever());
    await begun.promise;
  }
}

/** A busy machine may take longer over the first than the client waits. */
async function registered(poweb: string): Promise<OfficialPrivateGateway> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await OfficialPrivateGateway.register(poweb);
    } catch (error) {
      if (attempt === REGISTRATION_ATTEMPTS) {
        throw error;
      }
    }
  }
}

function digestOf(parcel: Buffer): string {
  return createHash('sha256').update(parcel).digest('base64');
}
