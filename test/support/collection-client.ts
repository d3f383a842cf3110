/** A private gateway that collects, speaking the protocol over a real socket, and able to misbehave. */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { Signer } from '../../src/awala/cms/sign.ts';
import {
  readHandshakeChallenge,
  writeHandshakeResponse,
  writeNonceSignature,
} from '../../src/awala/poweb/collection-handshake.ts';
import { type ParcelDeliveryMessage, readParcelDelivery } from '../../src/awala/poweb/parcel-delivery.ts';

export interface CollectionClientOptions {
  /** Of the request, e.g. the streaming mode. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether it answers pings; it does by default. */
  readonly autoPong?: boolean;
  /** For servers with TLS: who is trusted, and the server's name. */
  readonly tls?: { readonly ca: string; readonly servername: string };
  /** Called with the socket before it is open. */
  readonly onSocket?: (socket: WebSocket) => void;
}

/** How a connection ended. */
export interface Closure {
  readonly code: number;
  /** Since the connection was opened, in milliseconds. */
  readonly after: number;
}

export class CollectionClient implements Disposable {
  readonly socket: WebSocket;
  readonly closed: Promise<Closure>;
  /** When pings came, in milliseconds since the connection was opened. */
  readonly pings: number[] = [];
  private readonly arrived: Buffer[] = [];
  private wake: (() => void) | undefined;
  private opened = performance.now();

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('open', () => {
      this.opened = performance.now();
    });
    socket.on('message', (message: Buffer) => {
      this.arrived.push(message);
      this.wake?.();
    });
    socket.on('ping', () => {
      this.pings.push(performance.now() - this.opened);
      this.wake?.();
    });
    const { promise, resolve } = Promise.withResolvers<Closure>();
    this.closed = promise;
    socket.on('close', (code) => {
      resolve({ code, after: performance.now() - this.opened });
      this.wake?.();
    });
  }

  /**
   * Opens a connection to the collection door at this HTTP URL; resolves before the handshake.
   *
   * @throws Error, when the server does not switch protocols
   */
  static async connect(url: string, options: CollectionClientOptions = {}): Promise<CollectionClient> {
    const { headers = {}, autoPong = true, tls = {} } = options;
    const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/parcel-collection`, { headers, autoPong, ...tls });
    options.onSocket?.(socket);
    const client = new CollectionClient(socket);
    await once(socket, 'open');
    return client;
  }

  /** Opens a connection and proves to be all of these private gateways. */
  static async collect(
    url: string,
    signers: readonly Signer[],
    options: CollectionClientOptions = {},
  ): Promise<CollectionClient> {
    const client = await CollectionClient.connect(url, options);
    await client.answerChallenge(signers);
    return client;
  }

  async answerChallenge(signers: readonly Signer[]): Promise<void> {
    const nonce = readHandshakeChallenge(await this.nextMessage());
    const signatures = await Promise.all(signers.map((signer) => writeNonceSignature(nonce, signer)));
    this.socket.send(writeHandshakeResponse(signatures));
  }

  /** Takes the next message. @throws Error when the connection ends before one came */
  async nextMessage(): Promise<Buffer> {
    await this.until(() => this.arrived.length > 0);
    return this.arrived.shift() as Buffer;
  }

  async nextDelivery(): Promise<ParcelDeliveryMessage> {
    return readParcelDelivery(await this.nextMessage());
  }

  /** Takes the next delivery, acknowledges it and gives its parcel. */
  async collectNext(): Promise<Buffer> {
    const { deliveryId, parcel } = await this.nextDelivery();
    this.acknowledge(deliveryId);
    return parcel;
  }

  acknowledge(deliveryId: string): void {
    this.socket.send(deliveryId);
  }

  /** How many messages came and were not taken. */
  get waiting(): number {
    return this.arrived.length;
  }

  /** Resolves when the server has answered a ping of ours: all that it sent before has come. */
  async settled(): Promise<void> {
    this.socket.ping();
    await once(this.socket, 'pong');
  }

  /** Resolves when so many pings have come. */
  async pinged(count: number): Promise<void> {
    await this.until(() => this.pings.length >= count);
  }

  [Symbol.dispose](): void {
    this.socket.terminate();
  }

  private async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.socket.readyState === WebSocket.CLOSED) {
        throw new Error('Connection ended');
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.wake = resolve;
      await promise;
    }
  }
}
