/**
 * Sends deliveries in fragments, no faster than the client takes them, so that pings pass between the fragments of a
 * large parcel and soon arrive.
 *
 * Awaiting the socket's drain would not do: megabytes fit into the buffers below it, and on a slow link a ping behind
 * them comes too late. So after each allowance of octets the client's pong is awaited; the allowance follows the pace of
 * the pongs, from 16 KiB to 4 MiB.
 */
import type { WebSocket } from 'ws';
import type { SlowClient, UntakenOctets } from './untaken-octets.ts';

/** Octets of a fragment at most (protocol section 7). */
const FRAGMENT_OCTETS = 64 * 1024;

/** Octets that may be on their way at first: small parcels never wait for a pong. */
const FIRST_ALLOWANCE = 64 * 1024;
const MIN_ALLOWANCE = 16 * 1024;
const MAX_ALLOWANCE = 4 * 1024 * 1024;

/** How long an allowance should be under way, in milliseconds: what a ping waits for, at most and about. */
const ALLOWANCE_TIME = 1000;

/** The slowest pace of a delivery, in octets per second, and the time that each has besides, in milliseconds. */
const MIN_OCTETS_PER_SECOND = 1024;
const GRACE = 30_000;

interface Delivery {
  readonly header: Buffer;
  readonly parcel: Buffer;
  readonly done: () => void;
}

export class DeliveryWriter implements SlowClient {
  private readonly socket: WebSocket;
  private readonly ping: () => number;
  private readonly untaken: UntakenOctets;
  private readonly waiting: Delivery[] = [];
  private isWriting = false;
  private allowance = FIRST_ALLOWANCE;
  /** The number of the ping that is to be answered before more is sent. */
  private awaitedPing = 0;
  private onPong: (() => void) | undefined;
  /** When the delivery that is being written is too slow, on `performance.now`. */
  private deadline = Number.POSITIVE_INFINITY;

  /**
   * @param ping sends a ping that bears the next number, and tells that
   * @param untaken what the writers of all clients hold
   */
  constructor(socket: WebSocket, ping: () => number, untaken: UntakenOctets) {
    this.socket = socket;
    this.ping = ping;
    this.untaken = untaken;
  }

  /**
   * Sends one message: the header, then the parcel.
   *
   * @returns resolves when the network has taken it, or the connection has ended
   */
  write(header: Buffer, parcel: Buffer): Promise<void> {
    return new Promise((done) => {
      this.waiting.push({ header, parcel, done });
      this.untaken.add(this, parcel.length);
      if (!this.isWriting) {
        void this.writeAll();
      }
    });
  }

  /** Takes the client's answer to the ping of this number; it stands for those before, too (RFC 6455, 5.5.3). */
  pong(number: number): void {
    if (number >= this.awaitedPing) {
      this.onPong?.();
    }
  }

  /** True when the client takes a delivery so slowly that it is not worth the memory. */
  isTooSlow(now: number): boolean {
    return now > this.deadline;
  }

  /** Others need the memory. */
  cut(): void {
    this.socket.terminate();
  }

  /** Gives up what is not sent yet: the connection ends. */
  abandon(): void {
    this.onPong?.();
  }

  private async writeAll(): Promise<void> {
    this.isWriting = true;
    for (let next = this.waiting.shift(); next; next = this.waiting.shift()) {
      if (this.isOpen) {
        await this.writeDelivery(next);
      }
      this.untaken.remove(this, next.parcel.length);
      next.done();
    }
    this.isWriting = false;
  }

  private async writeDelivery({ header, parcel }: Delivery): Promise<void> {
    const total = header.length + parcel.length;
    this.deadline = performance.now() + GRACE + (total / MIN_OCTETS_PER_SECOND) * 1000;
    let unconfirmed = 0;
    for (let start = 0; start < total && this.isOpen; ) {
      if (unconfirmed >= this.allowance) {
        await this.confirm(unconfirmed);
        unconfirmed = 0;
        continue;
      }
      const end = Math.min(start + FRAGMENT_OCTETS, start + this.allowance - unconfirmed, total);
      const rest = parcel.subarray(Math.max(0, start - header.length), end - header.length);
      await this.send(start === 0 ? Buffer.concat([header, rest]) : rest, end === total);
      unconfirmed += end - start;
      start = end;
    }
    this.deadline = Number.POSITIVE_INFINITY;
  }

  /** Resolves when the fragment is with the operating system. */
  private send(fragment: Buffer, isLast: boolean): Promise<void> {
    return new Promise((resolve) => {
      this.socket.send(fragment, { binary: true, fin: isLast }, () => resolve());
    });
  }

  /** Waits until the client has read what was sent, and sets the allowance to what it takes in a second. */
  private async confirm(octets: number): Promise<void> {
    const start = performance.now();
    await new Promise<void>((resolve) => {
      this.onPong = resolve;
      this.awaitedPing = this.ping();
    });
    this.onPong = undefined;
    this.untaken.touch(this);
    const perAllowanceTime = (octets * ALLOWANCE_TIME) / Math.max(1, performance.now() - start);
    const most = Math.min(2 * this.allowance, MAX_ALLOWANCE);
    this.allowance = Math.max(MIN_ALLOWANCE, Math.min(Math.floor(perAllowanceTime), most));
  }

  private get isOpen(): boolean {
    return this.socket.readyState === this.socket.OPEN;
  }
}
