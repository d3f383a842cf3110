/**
 * Signals by Redis PubSub, over one connection a process; sharded PubSub on a cluster.
 *
 * Subscribers in this process are told directly, so that they hear each other also while Redis is away; what comes back
 * from Redis is passed over. Redis forgets whoever was not there, so after each loss of the connection all channels are
 * joined again and then everybody is told of a gap. What this process could not publish is made good the same way: the
 * subscribers of those channels in other processes are told of a gap. So are those of the channels that it published in shortly
 * before its connection was lost: a primary that others had left already takes what it is given, and nobody hears it.
 * Where a slot of a cluster moves, its channels are joined again where they are now, and a gap is told as well.
 *
 * A message: 1 octet what it is (0 a signal, 1 a gap), 8 octets that name the process, the payload.
 */
import { Cluster } from 'ioredis';
import type { Random, Signals, Subscription } from '../../gateway/ports.ts';
import type { RedisAddress } from './address.ts';
import { type Connection, connect, type RedisClient, type RedisLog, whenChannelMoves } from './client.ts';
import { GapPace } from './gap-pace.ts';

type Listener = (payload: Buffer) => void;

const SIGNAL = 0;
const GAP = 1;
const SOURCE_OCTETS = 8;
const HEADER_OCTETS = 1 + SOURCE_OCTETS;

/** The channel of all processes: a gap there is a gap in all channels. */
const EVERYONE = '';

/** Channels that are joined by one command. */
const BATCH = 500;
/** Octets on their way to Redis; what is published beyond is made good later. */
const MOST_UNDER_WAY = 16 * 1024 * 1024;
/** Channels that are remembered to be made good; beyond, it is all of them. */
const MOST_MISSED = 10_000;
/** How long until what failed is tried again, in milliseconds. */
const RETRY = 500;
/** How long it is remembered at least that something was published in a channel, in milliseconds; at most twice as long. */
const RECENT = 30_000;
/** How often a quiet connection is tried, in milliseconds. */
const HEARTBEAT = 2000;

interface Channel {
  readonly subscribers: RedisSubscription[];
  /** Resolves when Redis has been told, or is away. */
  readonly joined: Promise<void>;
}

export class RedisSignals implements Signals, AsyncDisposable {
  private readonly publisher: RedisClient;
  private readonly connection: Connection;
  private readonly prefix: string;
  private readonly source: Buffer;
  private readonly log: RedisLog;
  private readonly channels = new Map<string, Channel>();
  private readonly pace: GapPace<RedisSubscription>;
  private readonly missed = new Set<string>();
  private hasMissedMany = false;
  /** Channels that this process has published in, of late and in the time before that. */
  private recent = new Set<string>();
  private earlier = new Set<string>();
  private recentSince = performance.now();
  private octetsUnderWay = 0;
  private rejoining: Promise<void> | undefined;
  private mustRejoinAgain = false;
  private readonly heartbeat: NodeJS.Timeout;
  private makingGood: NodeJS.Timeout | undefined;
  private soon: NodeJS.Timeout | undefined;
  private isLost = false;
  private isClosed = false;

  /** @param parts.prefix what all channels of this gateway start with in Redis */
  constructor(parts: { client: RedisClient; address: RedisAddress; prefix: string; random: Random; log: RedisLog }) {
    this.publisher = parts.client;
    this.prefix = parts.prefix;
    this.source = parts.random(SOURCE_OCTETS);
    this.log = parts.log;
    this.pace = new GapPace((subscription) => this.tellGap(subscription));
    this.connection = connect(parts.address, true);
    // Each attempt to connect fails with one.
    this.connection.on('error', () => undefined);
    this.connection.on('close', () => this.noteLoss());
    const hear = (channel: Buffer | string, message: Buffer) => this.hear(channel.toString(), message);
    this.channels.set(EVERYONE, { subscribers: [], joined: Promise.resolve() });
    if (this.connection instanceof Cluster) {
      this.connection.on('smessageBuffer', hear);
      this.connection.on('subscribersReady', () => void this.rejoin());
      whenChannelMoves(this.connection, () => this.rejoinSoon());
    } else {
      this.connection.on('messageBuffer', hear);
    }
    this.connection.on('ready', () => void this.rejoin());
    this.publisher.whenLost(() => this.missRecent());
    this.heartbeat = setInterval(() => this.beat(), HEARTBEAT);
  }

  /** Resolves when Redis would tell this process of signals. */
  async whenJoined(): Promise<void> {
    while (!this.isClosed && (this.connection.status !== 'ready' || this.rejoining)) {
      await (this.rejoining ?? new Promise((resolve) => this.connection.once('ready', resolve)));
    }
  }

  publish(channel: string, payload: Buffer): void {
    this.tellAll(channel, payload);
    this.send(channel, SIGNAL, payload);
  }

  async subscribe(channel: string, listener: Listener, onGap: () => void): Promise<Subscription> {
    const subscription = new RedisSubscription(this, channel, listener, onGap);
    let present = this.channels.get(channel);
    if (!present) {
      present = { subscribers: [], joined: this.isJoinable ? this.join([channel]) : Promise.resolve() };
      this.channels.set(channel, present);
    }
    present.subscribers.push(subscription);
    await present.joined;
    return subscription;
  }

  /** Takes a subscription out; harmless when it is out already. */
  remove(subscription: RedisSubscription): void {
    this.pace.forget(subscription);
    const { channel } = subscription;
    const present = this.channels.get(channel);
    const place = present?.subscribers.indexOf(subscription) ?? -1;
    if (!present || place < 0) {
      return;
    }
    present.subscribers.splice(place, 1);
    if (present.subscribers.length === 0) {
      this.channels.delete(channel);
      if (this.isJoinable) {
        this.leave(channel).catch(() => undefined);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.isClosed = true;
    clearInterval(this.heartbeat);
    clearTimeout(this.makingGood);
    clearTimeout(this.soon);
    this.pace.close();
    this.connection.disconnect();
  }

  private get isJoinable(): boolean {
    return this.connection.status === 'ready';
  }

  private noteLoss(): void {
    if (!this.isLost && !this.isClosed) {
      this.isLost = true;
      this.log.warn({}, 'Signals of other processes are lost');
    }
  }

  /** Never rejects: what could not be joined now is joined later, and is told of the gap. */
  private async join(channels: readonly string[]): Promise<void> {
    try {
      await this.joinNow(channels);
    } catch {
      this.rejoinSoon();
    }
  }

  private async joinNow(channels: readonly string[]): Promise<void> {
    const names = channels.map((channel) => this.prefix + channel);
    const { connection } = this;
    if (connection instanceof Cluster) {
      await Promise.all(names.map((name) => connection.ssubscribe(name)));
    } else {
      await connection.subscribe(...names);
    }
  }

  private leave(channel: string): Promise<unknown> {
    const name = this.prefix + channel;
    const { connection } = this;
    return connection instanceof Cluster ? connection.sunsubscribe(name) : connection.unsubscribe(name);
  }

  /** Whatever asks for it meanwhile is served by the same one. */
  private rejoinSoon(): void {
    if (this.isClosed) {
      return;
    }
    this.soon ??= setTimeout(() => {
      this.soon = undefined;
      void this.rejoin();
    }, RETRY).unref();
  }

  /** Joins all channels and tells of a gap in each; asked meanwhile, once more. */
  private async rejoin(): Promise<void> {
    if (this.rejoining) {
      this.mustRejoinAgain = true;
      return this.rejoining;
    }
    this.rejoining = this.rejoinAll().finally(() => {
      this.rejoining = undefined;
      if (this.mustRejoinAgain) {
        this.mustRejoinAgain = false;
        void this.rejoin();
      }
    });
    return this.rejoining;
  }

  private async rejoinAll(): Promise<void> {
    this.isLost = false;
    const names = [...this.channels.keys()];
    for (let start = 0; start < names.length && !this.isClosed; start += BATCH) {
      // Those that went meanwhile are not joined any more.
      const batch = names.slice(start, start + BATCH).filter((name) => this.channels.has(name));
      try {
        await this.joinNow(batch);
      } catch {
        if (this.isJoinable) {
          this.rejoinSoon();
        }
        return;
      }
      for (const name of batch) {
        this.pace.owe(this.channels.get(name)?.subscribers ?? []);
      }
    }
  }

  private hear(name: string, message: Buffer): void {
    if (message.length < HEADER_OCTETS || this.source.equals(message.subarray(1, HEADER_OCTETS))) {
      return;
    }
    const channel = name.slice(this.prefix.length);
    if (message[0] === SIGNAL) {
      this.tellAll(channel, message.subarray(HEADER_OCTETS));
    } else if (channel === EVERYONE) {
      this.pace.owe([...this.channels.values()].flatMap(({ subscribers }) => subscribers));
    } else {
      this.pace.owe(this.channels.get(channel)?.subscribers ?? []);
    }
  }

  private tellAll(channel: string, payload: Buffer): void {
    for (const subscription of [...(this.channels.get(channel)?.subscribers ?? [])]) {
      try {
        subscription.listener?.(payload);
      } catch (error) {
        this.log.error({ err: error, channel }, 'A listener failed');
      }
    }
  }

  private tellGap(subscription: RedisSubscription): void {
    try {
      subscription.onGap();
    } catch (error) {
      this.log.error({ err: error, channel: subscription.channel }, 'A listener failed');
    }
  }

  private send(channel: string, kind: number, payload: Buffer): void {
    if (this.octetsUnderWay > MOST_UNDER_WAY || !this.publisher.isReady) {
      this.miss(channel);
      return;
    }
    if (this.recent.size <= MOST_MISSED) {
      this.recent.add(channel);
    }
    const message = Buffer.concat([Buffer.of(kind), this.source, payload]);
    this.octetsUnderWay += message.length;
    this.publisher
      .publish(this.prefix + channel, message)
      .catch(() => this.miss(channel))
      .finally(() => {
        this.octetsUnderWay -= message.length;
      });
  }

  private miss(channel: string): void {
    if (this.missed.size < MOST_MISSED) {
      this.missed.add(channel);
    } else {
      this.hasMissedMany = true;
    }
    if (!this.isClosed) {
      this.makingGood ??= setTimeout(() => this.makeGood(), RETRY).unref();
    }
  }

  /** Redis took them, and may have been alone by then. */
  private missRecent(): void {
    for (const channel of [...this.earlier, ...this.recent]) {
      this.miss(channel);
    }
    this.earlier.clear();
    this.recent.clear();
  }

  private makeGood(): void {
    this.makingGood = undefined;
    if (!this.publisher.isReady) {
      this.makingGood = setTimeout(() => this.makeGood(), RETRY).unref();
      return;
    }
    const channels = this.hasMissedMany ? [EVERYONE] : [...this.missed];
    this.missed.clear();
    this.hasMissedMany = false;
    for (const channel of channels) {
      this.send(channel, GAP, Buffer.alloc(0));
    }
  }

  /** A connection that went without a word is found dead by its silence (`ANSWER_LIMIT`), and made again. */
  private beat(): void {
    if (performance.now() - this.recentSince > RECENT) {
      this.recentSince = performance.now();
      this.earlier = this.recent;
      this.recent = new Set();
    }
    if (!(this.connection instanceof Cluster) && this.isJoinable) {
      this.connection.ping().catch(() => undefined);
    }
  }
}

class RedisSubscription implements Subscription {
  private readonly signals: RedisSignals;
  readonly channel: string;
  /** Gone once closed, so that a listener closed by an earlier one hears nothing more. */
  listener: Listener | undefined;
  readonly onGap: () => void;

  constructor(signals: RedisSignals, channel: string, listener: Listener, onGap: () => void) {
    this.signals = signals;
    this.channel = channel;
    this.listener = listener;
    this.onGap = onGap;
  }

  close(): void {
    if (this.listener) {
      this.listener = undefined;
      this.signals.remove(this);
    }
  }
}
