/**
 * The open connections of a server: how many each neighbourhood of strangers has, and what they have sent that no
 * request accounts for.
 *
 * A client that has proved who it is no longer counts against its neighbourhood: thousands of phones may share one.
 * Headers and handshakes that come but never end are held in memory by the parsers, so that their sum is bounded: when
 * it is passed, those who sent most are cut.
 */
import type { Socket } from 'node:net';
import { type Neighbourhood, Neighbourhoods } from './neighbourhoods.ts';

/** How often the octets are summed up, in milliseconds. */
const LOOK = 250;

interface Connection {
  /** Undefined once its client has proved who it is, and for proxies. */
  neighbourhood: Neighbourhood | undefined;
  /** Octets read when the last request ended; infinite while one is in hand. */
  accounted: number;
}

export interface OpenSocketsParts {
  /** Connections of strangers that one neighbourhood may have; 0 is no limit. */
  readonly maxPerAddress: number;
  /** Octets that strangers may have sent outside of requests, all together. */
  readonly maxUnaccounted: number;
  /** Whose connections are those of many clients. */
  readonly isTrustedProxy: (address: string) => boolean;
}

export class OpenSockets {
  private readonly parts: OpenSocketsParts;
  private readonly sockets = new Map<Socket, Connection>();
  /** TLS sockets with the TCP sockets below them. */
  private readonly below = new WeakMap<Socket, Socket>();
  /** Those in the TLS handshake, by their other ends. */
  private readonly handshaking = new Map<string, Socket>();
  /** Those of strangers. */
  private readonly neighbourhoods: Neighbourhoods;
  private readonly timer: NodeJS.Timeout;

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

  /** @returns false when its neighbourhood has too many; it is then not added */
  add(socket: Socket): boolean {
    const address = socket.remoteAddress ?? '';
    const isProxy = this.parts.isTrustedProxy(address);
    const neighbourhood = isProxy ? undefined : this.neighbourhoods.enter(address);
    if (!isProxy && !neighbourhood) {
      return false;
    }
    this.sockets.set(socket, { neighbourhood, accounted: 0 });
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
      this.leave(connection);
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

  /** The client has proved who it is. */
  prove(socket: Socket): void {
    const connection = this.sockets.get(this.tcpSocket(socket));
    if (connection) {
      this.leave(connection);
    }
  }

  close(): void {
    clearInterval(this.timer);
  }

  private tcpSocket(socket: Socket): Socket {
    return this.below.get(socket) ?? socket;
  }

  private leave(connection: Connection): void {
    const { neighbourhood } = connection;
    connection.neighbourhood = undefined;
    if (neighbourhood) {
      this.neighbourhoods.leave(neighbourhood);
    }
  }

  private look(): void {
    let sum = 0;
    const pending: { socket: Socket; octets: number }[] = [];
    for (const [socket, { neighbourhood, accounted }] of this.sockets) {
      const octets = neighbourhood ? socket.bytesRead - accounted : 0;
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
