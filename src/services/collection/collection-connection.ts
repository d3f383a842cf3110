/**
 * One client's connection to the collection door: challenge, handshake, deliveries and acknowledgements, pings, the end.
 *
 * Thousands of these idle in one process, so each keeps little: no timers, no closures of its own on the socket, and
 * nothing of the request or the handshake once that is done.
 */
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { type RawData, WebSocket } from 'ws';
import { AwalaError } from '../../awala/errors.ts';
import { writeHandshakeChallenge } from '../../awala/poweb/collection-handshake.ts';
import { MAX_DELIVERY_ID_LENGTH, writeParcelDeliveryHeader } from '../../awala/poweb/parcel-delivery.ts';
import { GatewayError, type TraceIds } from '../../gateway/errors.ts';
import type { CollectionOptions, CollectionOutlet, ParcelCollection } from '../../gateway/parcel-collection.ts';
import type { ParcelCollections } from '../../gateway/parcel-collections.ts';
import { CloseCode } from './close-codes.ts';
import { DeliveryWriter } from './delivery-writer.ts';
import type { Heartbeat } from './heartbeat.ts';
import type { Turns } from './turns.ts';
import type { UntakenOctets } from './untaken-octets.ts';

const NONCE_OCTETS = 16;

/** How long a collection whose time has come may go on with what is in flight, in milliseconds. */
const LAST_DELIVERIES_TIME = 60_000;

/** Times of a connection, in milliseconds. */
export interface CollectionTimes {
  /** From one ping to the next; deployed clients wait 7 seconds for one. */
  readonly pingInterval: number;
  /** A client whose last pong is this old is dropped. */
  readonly pongTimeout: number;
  /** From the connection to the client's answer to the challenge. */
  readonly handshakeTimeout: number;
  /** How long a failed handshake is kept open: some clients come back without a pause. */
  readonly failureDelay: number;
  /** How long a collection goes on before it is ended with 4000; up to a tenth less, lest all end at once. */
  readonly maxAge: number;
}

/** What all connections of a door share. */
export interface ConnectionParts {
  readonly collections: ParcelCollections;
  readonly times: CollectionTimes;
  readonly heartbeat: Heartbeat<CollectionConnection>;
  /** For the verification of handshakes. */
  readonly turns: Turns;
  readonly untaken: UntakenOctets;
  readonly log: Logger;
}

/** What is known until the handshake is done, and forgotten then. */
export interface Handshake {
  readonly options: CollectionOptions;
  /** The client's. */
  readonly address: string;
  /** Called when the client did not prove who it is. */
  readonly onFailure: () => void;
  /** Called with the private gateway that it has proved to be, the first of several, or without when it is gone. */
  readonly onEnd: (peer?: string) => void;
}

type OpenHandshake = Handshake & { readonly nonce: Buffer };

/** A WebSocket that knows its connection, so that its listeners can be the same functions for all. */
export class CollectionSocket extends WebSocket {
  connection: CollectionConnection | undefined = undefined;

  /** Called by the library, without a reason, for what breaks its rules, such as a message that is too long. */
  override close(code?: number, reason?: string | Buffer): void {
    const isBroken = code !== undefined && reason === undefined;
    if (!isBroken || !this.connection?.receiveBroken()) {
      super.close(code, reason);
    }
  }

  /** Has longer messages, also in parts, be broken from now on: what is not complete is held in memory. */
  limitMessages(octets: number): void {
    const { _receiver } = this as unknown as { _receiver: { _maxPayload: number } };
    _receiver._maxPayload = octets;
  }
}

export class CollectionConnection implements CollectionOutlet {
  /** For logs. */
  readonly id: string;
  private readonly parts: ConnectionParts;
  private readonly socket: CollectionSocket;
  private handshake: OpenHandshake | undefined;
  private readonly spread: number;
  private collection: ParcelCollection | undefined;
  private writer: DeliveryWriter | undefined;
  /** The handshake's answer came. */
  private hasAnswered = false;
  /** How a refused client will be sent away. */
  private refusal: CloseCode | undefined;
  private isEnding = false;
  private pings = 0;
  private nextPing: number;
  private lastPong: number;
  /** When the handshake, the failure or the collection has lasted long enough. */
  private deadline: number;

  /** @param spread 0 to 1: where in the interval its pings fall, and how much shorter its life is than the longest */
  constructor(parts: ConnectionParts, socket: CollectionSocket, id: string, handshake: Handshake, spread: number) {
    this.parts = parts;
    this.socket = socket;
    this.id = id;
    this.spread = spread;
    this.handshake = { ...handshake, nonce: randomBytes(NONCE_OCTETS) };
    const { pingInterval, handshakeTimeout } = parts.times;
    const now = performance.now();
    this.nextPing = now + pingInterval * (1 - spread / 2);
    this.lastPong = now;
    this.deadline = now + handshakeTimeout;
    socket.connection = this;
    socket.on('message', onMessage);
    socket.on('pong', onPong);
    socket.on('close', onClose);
    socket.on('error', onError);
    parts.heartbeat.add(this);
    socket.send(writeHandshakeChallenge(this.handshake.nonce));
  }

  /** True until the client has proved who it is: not a time to end a connection (protocol section 7). */
  get isInHandshake(): boolean {
    return this.handshake !== undefined;
  }

  /** Ends the collection with "come back at once"; one in mid-handshake when that is done. */
  end(): void {
    this.isEnding = true;
    if (!this.isInHandshake) {
      this.close(CloseCode.COME_BACK, 'Come back');
    }
  }

  /** Whether this private gateway collects here. */
  isOf(peer: string): boolean {
    return this.collection?.isOf(peer) ?? false;
  }

  /** Cuts the connection. */
  cut(): void {
    this.socket.terminate();
  }

  /** Does what is due: pings, and ends what has lasted too long. */
  beat(now: number): void {
    if (this.socket.readyState !== WebSocket.OPEN) {
      return;
    }
    const { pingInterval, pongTimeout } = this.parts.times;
    if (now - this.lastPong >= pongTimeout) {
      this.parts.log.info({ collection: this.id }, 'Client is silent');
      this.cut();
      return;
    }
    if (this.writer?.isTooSlow(now)) {
      this.parts.log.info({ collection: this.id }, 'Client is too slow');
      this.cut();
      return;
    }
    if (now >= this.deadline) {
      this.endInTime(now);
    }
    if (now >= this.nextPing) {
      this.nextPing = Math.max(this.nextPing + pingInterval, now + pingInterval / 2);
      this.ping();
      this.collection?.maintain();
    }
  }

  async deliver(deliveryId: string, parcel: Buffer, ids: TraceIds): Promise<void> {
    this.parts.log.debug({ collection: this.id, ...ids }, 'Parcel sent for collection');
    this.writer ??= new DeliveryWriter(this.socket, () => this.ping(), this.parts.untaken);
    await this.writer.write(writeParcelDeliveryHeader(deliveryId, parcel.length), parcel);
  }

  supersede(): void {
    this.parts.log.info({ collection: this.id }, 'Collection makes way for a newer one');
    this.end();
  }

  complete(): void {
    this.close(CloseCode.COMPLETE, 'All parcels were collected');
  }

  fail(error: Error): void {
    this.parts.log.error({ err: error, collection: this.id }, 'Collection failed');
    this.close(CloseCode.INTERNAL_ERROR, 'Internal error');
  }

  /** Called by the socket's listeners. */
  receive(message: Buffer): void {
    if (this.handshake) {
      if (this.hasAnswered) {
        this.receiveEarly();
      } else {
        const { handshake } = this;
        this.hasAnswered = true;
        this.parts.turns.add(() => this.answerChallenge(handshake, message));
      }
    } else if (this.collection) {
      this.acknowledge(message);
    }
  }

  /**
   * Called by the socket for what it cannot read; nothing is read after that.
   *
   * @returns whether it is ended from here
   */
  receiveBroken(): boolean {
    if (this.handshake && this.hasAnswered) {
      this.receiveEarly();
    } else if (this.handshake) {
      this.hasAnswered = true;
      this.refuse(new AwalaError('HANDSHAKE_MALFORMED', 'Response is too long, or no message'));
    } else {
      this.close(CloseCode.CANNOT_ACCEPT, 'Unknown acknowledgement');
    }
    return true;
  }

  /** Called by the socket's listeners. */
  receivePong(payload: Buffer): void {
    this.lastPong = performance.now();
    this.writer?.pong(Number(payload.toString('latin1')));
  }

  /** Called by the socket's listeners. */
  closed(code: number): void {
    this.parts.heartbeat.delete(this);
    this.handshake?.onEnd();
    this.handshake = undefined;
    this.collection?.close();
    this.writer?.abandon();
    if (this.collection) {
      this.parts.log.info({ collection: this.id, code }, 'Collection ended');
    }
  }

  private answerChallenge(handshake: OpenHandshake, response: Buffer): void {
    const { collections } = this.parts;
    if (!this.handshake) {
      // It is gone.
      return;
    }
    try {
      const peers = collections.authenticate(handshake.nonce, response);
      collections
        .admit(peers)
        .then(() => this.begin(handshake, peers))
        .catch((error: Error) => this.refuse(error));
    } catch (error) {
      this.refuse(error as Error);
    }
  }

  private begin({ options, address, onEnd }: OpenHandshake, peers: readonly string[]): void {
    const { collections, times, log } = this.parts;
    if (!this.handshake) {
      // It is gone.
      return;
    }
    const collection = this.isEnding ? undefined : collections.open(peers, options, this);
    this.handshake = undefined;
    this.socket.limitMessages(MAX_DELIVERY_ID_LENGTH);
    onEnd(peers[0]);
    if (this.isEnding) {
      this.end();
      return;
    }
    log.info({ collection: this.id, peers, address, ...options }, 'Collection started');
    this.deadline = performance.now() + times.maxAge * (1 - this.spread / 10);
    this.collection = collection;
  }

  /** Keeps a client that is refused waiting, then closes: some come back without a pause. */
  private refuse(error: Error): void {
    if (!(error instanceof AwalaError || error instanceof GatewayError)) {
      this.fail(error);
      return;
    }
    const { code, message } = error;
    const address = this.handshake?.address;
    this.parts.log.info({ collection: this.id, code, reason: message, address }, 'Handshake refused');
    this.refusal = code === 'PEER_LIMITED' ? CloseCode.COME_BACK : CloseCode.CANNOT_ACCEPT;
    this.deadline = performance.now() + this.parts.times.failureDelay;
    if (error instanceof AwalaError) {
      this.handshake?.onFailure();
    }
  }

  /** A message between the answer and the first delivery acknowledges nothing. */
  private receiveEarly(): void {
    if (this.refusal === undefined) {
      this.close(CloseCode.CANNOT_ACCEPT, 'Unknown acknowledgement');
    }
  }

  private acknowledge(message: Buffer): void {
    const isId = message.length > 0 && message.length <= MAX_DELIVERY_ID_LENGTH;
    const ids = isId ? this.collection?.acknowledge(message.toString('latin1')) : undefined;
    if (ids) {
      this.parts.log.info({ event: 'acknowledged', door: 'poweb', collection: this.id, ...ids }, 'Parcel collected');
    } else {
      this.close(CloseCode.CANNOT_ACCEPT, 'Unknown acknowledgement');
    }
  }

  private endInTime(now: number): void {
    if (this.refusal !== undefined) {
      this.close(this.refusal, 'Handshake refused');
    } else if (this.handshake) {
      this.parts.log.info({ collection: this.id }, 'Handshake timed out');
      this.close(CloseCode.CANNOT_ACCEPT, 'Handshake timed out');
    } else if (this.collection?.inFlight === 0 || now >= this.deadline + LAST_DELIVERIES_TIME) {
      this.end();
    }
  }

  /** Sends a ping with the next number; nothing when the connection is closing. */
  private ping(): number {
    this.pings++;
    this.socket.ping(String(this.pings));
    return this.pings;
  }

  /** Starts the closing handshake; acknowledgements that are on their way still count. */
  private close(code: CloseCode, reason: string): void {
    this.collection?.close();
    this.socket.close(code, reason);
    this.writer?.abandon();
  }
}

function onMessage(this: WebSocket, data: RawData): void {
  (this as CollectionSocket).connection?.receive(data as Buffer);
}

function onPong(this: WebSocket, data: Buffer): void {
  (this as CollectionSocket).connection?.receivePong(data);
}

function onClose(this: WebSocket, code: number): void {
  (this as CollectionSocket).connection?.closed(code);
}

/** Of broken frames and lost connections, which end the socket by themselves. */
function onError(this: WebSocket): void {}
