/**
 * The collection door: private gateways collect their parcels over WebSocket (RS-016, protocol section 7).
 *
 * Connections are handed from HTTP to `ws` directly: going through the router would keep each request alive as long as
 * its connection (docs/decisions/0004-websocket-server.md).
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Server, type ServerOptions, WebSocketServer } from 'ws';
import { MAX_HANDSHAKE_RESPONSE_OCTETS } from '../../awala/poweb/collection-handshake.ts';
import type { ParcelCollections } from '../../gateway/parcel-collections.ts';
import type { AddressLimits } from '../http/address-limits.ts';
import { addressBlock } from '../http/addresses.ts';
import { HttpError, RETRY_AFTER } from '../http/http-error.ts';
import type { HttpServer } from '../http/server.ts';
import { CloseCode } from './close-codes.ts';
import {
  CollectionConnection,
  CollectionSocket,
  type CollectionTimes,
  type ConnectionParts,
} from './collection-connection.ts';
import { isFromBrowser, readCollectionOptions } from './collection-request.ts';
import { Heartbeat } from './heartbeat.ts';
import { Turns } from './turns.ts';
import { UntakenOctets } from './untaken-octets.ts';

const PATH = '/v1/parcel-collection';

const DEFAULT_TIMES: CollectionTimes = {
  pingInterval: 5000,
  pongTimeout: 9000,
  handshakeTimeout: 30_000,
  failureDelay: 2000,
  maxAge: 6 * 3_600_000,
};

/** How many clients of one neighbourhood (/24, /56), and of all, may be in the midst of a handshake. */
const MAX_HANDSHAKES_PER_BLOCK = 2500;
const MAX_HANDSHAKES = 5000;

/** When there are too many, those cut to make room have had so long to answer, in milliseconds. */
const LEAST_HANDSHAKE_TIME = 1000;

/** How long a client has to answer our close frame, in milliseconds. */
const CLOSE_TIMEOUT = 5000;

/** The most frames and pieces that one message of a client may come in. */
const MAX_FRAGMENTS = 64;
const MAX_CHUNKS = 4096;

/** How many collections a second are ended at the stop: each comes back elsewhere and costs a handshake there. */
const DEFAULT_DRAIN_RATE = 1000;
const DRAIN_STEP = 50;

/** The golden ratio's fraction: its multiples spread evenly however many there are. */
const SPREAD_STEP = 0.618_033_988_75;

export interface CollectionDoorParts {
  readonly collections: ParcelCollections;
  readonly limits: AddressLimits;
  /** How long a collection goes on before it is ended with 4000, in milliseconds. */
  readonly maxAge?: number;
  /** The other times. */
  readonly times?: Partial<CollectionTimes>;
  /** Told of each connection whose client has proved who it is. */
  readonly onProof?: (socket: Duplex, peer: string) => void;
  /** What is given to slow clients. */
  readonly untaken?: UntakenOctets;
  /** Collections ended in a second at the stop. */
  readonly drainRate?: number;
}

/** Puts the collection door on a server that does not listen yet; it ends its collections when the server stops. */
export function serveCollection(server: HttpServer, parts: CollectionDoorParts): CollectionDoor {
  const door = new CollectionDoor({ onProof: (socket, peer) => server.prove(socket, peer), ...parts }, server.log);
  server.app.get(PATH, (_request, reply) => {
    reply.code(426).headers({ upgrade: 'websocket', connection: 'Upgrade', 'content-type': 'text/plain' });
    reply.send('Parcels are collected over WebSocket\n');
  });
  server.onUpgrade(PATH, (request, socket, head, address) => door.receive(request, socket, head, address));
  server.onStop((deadline) => door.drain(deadline));
  return door;
}

export class CollectionDoor {
  private readonly parts: CollectionDoorParts;
  private readonly connectionParts: ConnectionParts;
  private readonly webSockets: Server<typeof CollectionSocket>;
  private readonly connections = new Heartbeat<CollectionConnection>();
  /** Clients in the midst of a handshake, by neighbourhood. */
  private readonly handshakes = new Map<string, number>();
  /** The same clients, those who came first at the front, with the time when they came. */
  private readonly inHandshake = new Map<CollectionConnection, number>();
  private accepted = 0;
  private isDraining = false;

  constructor(parts: CollectionDoorParts, log: Logger) {
    this.parts = parts;
    this.connectionParts = {
      collections: parts.collections,
      times: { ...DEFAULT_TIMES, ...(parts.maxAge !== undefined && { maxAge: parts.maxAge }), ...parts.times },
      heartbeat: this.connections,
      turns: new Turns(),
      untaken: parts.untaken ?? new UntakenOctets(),
      log,
    };
    // Those who come back are refused in the handshake, which is paced (docs/decisions/0012-blocked-peers.md).
    parts.collections.whenBlocked((peer) => {
      for (const connection of this.connections) {
        if (connection.isOf(peer)) {
          connection.end();
        }
      }
    });
    // The types do not know `closeTimeout` yet.
    const options: ServerOptions<typeof CollectionSocket> & { closeTimeout: number } = {
      noServer: true,
      WebSocket: CollectionSocket,
      clientTracking: false,
      // Parcels are ciphertext.
      perMessageDeflate: false,
      maxPayload: MAX_HANDSHAKE_RESPONSE_OCTETS,
      maxFragments: MAX_FRAGMENTS,
      maxBufferedChunks: MAX_CHUNKS,
      // Acknowledgements are compared, not shown.
      skipUTF8Validation: true,
      closeTimeout: CLOSE_TIMEOUT,
    };
    this.webSockets = new WebSocketServer(options);
  }

  /** How many connections are open, those in the midst of a handshake among them. */
  get size(): number {
    return this.connections.size;
  }

  /** Takes a connection over from HTTP, or answers it with 503, when its turn comes. */
  receive(request: IncomingMessage, socket: Duplex, head: Buffer, address: string): void {
    // It may be lost meanwhile, and HTTP no longer looks after it.
    socket.on('error', ignore);
    this.connectionParts.turns.add(() => {
      socket.off('error', ignore);
      this.accept(request, socket, head, address);
    });
  }

  private accept(request: IncomingMessage, socket: Duplex, head: Buffer, address: string): void {
    const block = addressBlock(address);
    try {
      this.requireRoom(block);
      this.parts.limits.requireFewFailures('failedHandshake', address);
    } catch (error) {
      refuse(socket, error instanceof HttpError ? error.retryAfter : RETRY_AFTER);
      return;
    }
    const { headers } = request;
    const isBrowser = isFromBrowser(headers);
    const options = readCollectionOptions(headers);
    this.webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      if (isBrowser) {
        webSocket.on('error', () => {});
        webSocket.close(CloseCode.POLICY, 'Browsers may not collect parcels');
        return;
      }
      this.countHandshake(block, 1);
      const handshake = {
        options,
        address,
        onFailure: () => this.countFailure(address),
        onEnd: (peer?: string) => {
          this.inHandshake.delete(connection);
          this.countHandshake(block, -1);
          if (peer !== undefined) {
            this.parts.onProof?.(socket, peer);
          }
        },
      };
      const spread = (this.accepted++ * SPREAD_STEP) % 1;
      const connection = new CollectionConnection(this.connectionParts, webSocket, randomUUID(), handshake, spread);
      this.inHandshake.set(connection, performance.now());
    });
  }

  /**
   * Takes no new connections and ends those that are open with "come back at once", at a pace that others can take in.
   *
   * @param deadline when it aborts, what is still open is cut
   */
  async drain(deadline: AbortSignal): Promise<void> {
    this.isDraining = true;
    const perStep = Math.max(1, Math.round(((this.parts.drainRate ?? DEFAULT_DRAIN_RATE) * DRAIN_STEP) / 1000));
    const open = [...this.connections];
    while (this.connections.size > 0 && !deadline.aborted) {
      for (const connection of open.splice(0, perStep)) {
        connection.end();
      }
      await pause(DRAIN_STEP);
    }
    for (const connection of this.connections) {
      connection.cut();
    }
    this.connections.close();
  }

  /** @throws HttpError ADDRESS_LIMITED */
  private requireRoom(block: string): void {
    const ofBlock = this.handshakes.get(block) ?? 0;
    if (this.isDraining || ofBlock >= MAX_HANDSHAKES_PER_BLOCK || !this.hasRoom()) {
      throw new HttpError('ADDRESS_LIMITED', 503, 'Too many clients are connecting');
    }
  }

  /** Cuts whoever has long been silent where there is no room: many addresses must not shut everybody out. */
  private hasRoom(): boolean {
    if (this.inHandshake.size < MAX_HANDSHAKES) {
      return true;
    }
    const [[oldest, since] = []] = this.inHandshake;
    if (!oldest || since === undefined || performance.now() - since < LEAST_HANDSHAKE_TIME) {
      return false;
    }
    this.inHandshake.delete(oldest);
    oldest.cut();
    return true;
  }

  private countFailure(address: string): void {
    this.parts.limits.countFailure('failedHandshake', address).catch((err: unknown) => {
      this.connectionParts.log.warn({ err }, 'Failed handshake was not counted');
    });
  }

  private countHandshake(block: string, change: 1 | -1): void {
    const ofBlock = (this.handshakes.get(block) ?? 0) + change;
    if (ofBlock > 0) {
      this.handshakes.set(block, ofBlock);
    } else {
      this.handshakes.delete(block);
    }
  }
}

function ignore(): void {}

/** Answers 503 on a connection that is no longer HTTP's. */
function refuse(socket: Duplex, retryAfter: number): void {
  socket.on('error', () => socket.destroy());
  socket.once('finish', () => socket.destroy());
  socket.end(
    `HTTP/1.1 503 Service Unavailable\r\nRetry-After: ${retryAfter}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
  );
}
