/**
 * The open connections of a server: how many each neighbourhood of strangers has, and what they have sent that no
 * request accounts for.
 *
 * A client that has proved who it is no longer counts against its neighbourhood, since thousands of phones may share one,
 * but against itself: who registers may open connections, too. When there is no room for more, the neighbourhood with
 * most strangers makes it. Headers and handshakes that come but never end are held in memory by the parsers, so that
 * their sum is bounded: when it is passed, those who sent most are cut.
 */
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { type Neighbourhood, Neighbourhoods } from './neighbourhoods.ts';

/** How often the octets are summed up, in milliseconds. */
const LOOK = 250;

/** How often dropped connections are told in the log at most, in milliseconds. */
const DROP_LOG_INTERVAL = 60_000;

/** How many connections one client may have that do not count against its neighbourhood. */
const MAX_PROVEN = 16;

interface Connection {
  /** Its client is a proxy: others are behind it, who prove nothing for each other. */
  readonly isProxy: boolean;
  /** Undefined once its client has proved who it is, and for proxies. */
  neighbourhood: Neighbourhood<Socket> | undefined;
  /** Who its client has proved to be: what it counts against. */
  owner: string | undefined;
  /** Its client's latest request was a known one's. */
  isProven: boolean;
  /** Octets read when the last request ended; infinite while one is in hand. */
  accounted: number;
}

export interface OpenSocketsParts {
  /** Connections that there may be. */
  readonly most: number;
  /** Connections of strangers that one neighbourhood may have; 0 is no limit. */
  readonly maxPerAddress: number;
  /** Octets that may have been sent outside of requests, all together. */
  readonly maxUnaccounted: number;
  /** Whose connections are those of many clients. */
  readonly isTrustedProxy: (address: string) => boolean;
  readonly log: Logger;
}

export class OpenSockets {
  private readonly parts: OpenSocketsParts;
  private readonly sockets = new Map<Socket, Connection>();
  /** TLS sockets with the TCP sockets below them. */
  private readonly below = new WeakMap<Socket, Socket>();
  /** Those in the TLS handshake, by their other ends. */
  private readonly handshaking = new Map<string, Socket>();
  /** Those of strangers. */
  private readonly neighbourhoods: Neighbourhoods<Socket>;
  /** How many connections count against each client that has proved who it is. */
  private readonly owners = new Map<string, number>();
  private readonly timer: NodeJS.Timeout;
  /** Until when nothing is told of dropped connections, on `performance.now`. */
  private quietUntil = 0;

  constructor(parts: OpenSocketsParts) {
    this.parts = parts;
    this.neighbourhoods = new Neighbourhoods(parts.maxPerAddress);
    this.timer = setInterval(() => this.look(), LOOK).unref();
  }

  get size(): number {
    return this.sockets.size;
  }

  [Symbol.iterator](): Iterator<Socket> {
    return this.sockets.keys();
  }

  /**
   * Adds a connection; where there is no room, the neighbourhood with most strangers loses its oldest to one with fewer.
   *
   * @returns false when its neighbourhood has too many, or there is no room; it is then not added
   */
  add(socket: Socket): boolean {
    const address = socket.remoteAddress ?? '';
    const isProxy = this.parts.isTrustedProxy(address);
    if (!this.hasRoom(isProxy ? 0 : this.neighbourhoods.sizeOf(address))) {
      this.tellOfDrop();
      return false;
    }
    const neighbourhood = isProxy ? undefined : this.neighbourhoods.enter(address, socket);
    if (!isProxy && !neighbourhood) {
      this.tellOfDrop();
      return false;
    }
    this.sockets.set(socket, { isProxy, neighbourhood, owner: undefined, isProven: false, accounted: 0 });
    return true;
  }

  /** Has TLS sockets be known by those below them: to be called before a TLS handshake, and with its outcome after it. */
  expectTls(socket: Socket): void {
    const end = otherEnd(socket);
    this.handshaking.set(end, socket);
    socket.on('close', () => this.handshaking.delete(end));
  }

  secure(tlsSocket: Socket): void {
    const end = otherEnd(tlsSocket);
    const socket = this.handshaking.get(end);
    if (socket) {
      this.handshaking.delete(end);
      this.below.set(tlsSocket, socket);
    }
  }

  delete(socket: Socket): void {
    const connection = this.sockets.get(socket);
    if (connection) {
      this.sockets.delete(socket);
      this.leave(socket, connection);
      this.disown(connection);
    }
  }

  /** A request on this connection is in hand: what comes is its body, which is bounded elsewhere. */
  begin(socket: Socket): void {
    const connection = this.sockets.get(this.tcpSocket(socket));
    if (connection) {
      connection.accounted = Number.POSITIVE_INFINITY;
    }
  }

  /**
   * The request is done, or the connection has become another protocol's.
   *
   * @param ahead octets that were read but do not belong to the request
   */
  end(socket: Socket, ahead = 0): void {
    const tcpSocket = this.tcpSocket(socket);
    const connection = this.sockets.get(tcpSocket);
    if (connection) {
      connection.accounted = tcpSocket.bytesRead - ahead;
    }
  }

  /** The client has proved to be `owner`, by its latest request or once and for all. */
  prove(socket: Socket, owner: string): void {
    const tcpSocket = this.tcpSocket(socket);
    const connection = this.sockets.get(tcpSocket);
    if (!connection || connection.isProxy) {
      return;
    }
    connection.isProven = true;
    if (connection.owner !== undefined) {
      return;
    }
    const owned = this.owners.get(owner) ?? 0;
    if (owned < MAX_PROVEN) {
      connection.owner = owner;
      this.owners.set(owner, owned + 1);
      this.leave(tcpSocket, connection);
    }
  }

  /** The client's latest request was anybody's. */
  doubt(socket: Socket): void {
    const connection = this.sockets.get(this.tcpSocket(socket));
    if (connection) {
      connection.isProven = false;
    }
  }

  /** Whether the client's latest request was a known one's. */
  isProven(socket: Socket): boolean {
    return this.sockets.get(this.tcpSocket(socket))?.isProven ?? false;
  }

  close(): void {
    clearInterval(this.timer);
  }

  private tcpSocket(socket: Socket): Socket {
    return this.below.get(socket) ?? socket;
  }

  /** A connection is dropped, since too many are open. */
  private tellOfDrop(): void {
    const now = performance.now();
    if (now >= this.quietUntil) {
      this.quietUntil = now + DROP_LOG_INTERVAL;
      this.parts.log.warn({ connections: this.size }, 'Connections are dropped: too many are open');
    }
  }

  /** Whether there is room for one more of a neighbourhood with so many, if need be in the place of another. */
  private hasRoom(own: number): boolean {
    if (this.sockets.size < this.parts.most) {
      return true;
    }
    const members = this.neighbourhoods.largest?.members;
    if (!members || members.size <= own + 1) {
      return false;
    }
    const [oldest] = members as Iterable<Socket>;
    if (oldest) {
      this.tellOfDrop();
      this.delete(oldest);
      oldest.destroy();
    }
    return true;
  }

  private leave(socket: Socket, connection: Connection): void {
    const { neighbourhood } = connection;
    connection.neighbourhood = undefined;
    if (neighbourhood) {
      this.neighbourhoods.leave(neighbourhood, socket);
    }
  }

  private disown({ owner }: Connection): void {
    if (owner !== undefined) {
      const left = (this.owners.get(owner) ?? 0) - 1;
      if (left > 0) {
        this.owners.set(owner, left);
      } else {
        this.owners.delete(owner);
      }
    }
  }

  private look(): void {
    let sum = 0;
    const pending: { socket: Socket; octets: number }[] = [];
    for (const [socket, { accounted }] of this.sockets) {
      const octets = accounted === Number.POSITIVE_INFINITY ? 0 : socket.bytesRead - accounted;
      if (octets > 0) {
        sum += octets;
        pending.push({ socket, octets });
      }
    }
    if (sum <= this.parts.maxUnaccounted) {
      return;
    }
    pending.sort((one, other) => other.octets - one.octets);
    for (const { socket, octets } of pending) {
      if (sum <= this.parts.maxUnaccounted / 2) {
        return;
      }
      sum -= octets;
      socket.destroy();
    }
  }
}

function otherEnd({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
