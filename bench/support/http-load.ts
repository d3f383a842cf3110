/**
 * A load of HTTP requests over kept-alive connections, cheap enough to leave the server a core of its own: requests are
 * octets made beforehand, and of an answer only its status is looked at.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** Octets of a whole request, ready to be sent. */
export function requestOctets(url: URL, path: string, headers: Record<string, string>, body: Buffer): Buffer {
  const lines = Object.entries({ ...headers, host: url.host, 'content-length': String(body.length) });
  const head = `POST ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), body]);
}

/** One connection, one request at a time. */
export class Connection implements Disposable {
  private readonly socket: Socket;
  private answered: ((status: number) => void) | undefined;
  private failed: ((error: Error) => void) | undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (data) => {
      // The servers measured here answer 202 without a body, in one segment.
      this.answered?.(Number(data.toString('latin1', 9, 12)));
    });
    socket.on('close', () => this.failed?.(new Error('The server closed the connection')));
    socket.on('error', (error) => this.failed?.(error));
  }

  static async open(url: URL): Promise<Connection> {
    const socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
    await once(socket, 'connect');
    return new Connection(socket);
  }

  /** Sends a request and resolves with the status of its answer. */
  request(octets: Buffer): Promise<number> {
    return new Promise((resolve, reject) => {
      this.answered = resolve;
      this.failed = reject;
      this.socket.write(octets);
    });
  }

  [Symbol.dispose](): void {
    this.failed = undefined;
    this.socket.destroy();
  }
}

/**
 * Sends all requests over so many connections, each as fast as it is answered.
 *
 * @returns milliseconds that it took
 * @throws Error at the first answer that is not 202
 */
export async function sendAll(url: URL, requests: readonly Buffer[], connections: number): Promise<number> {
  const open = await Promise.all(Array.from({ length: connections }, () => Connection.open(url)));
  const start = performance.now();
  let next = 0;
  await Promise.all(
    open.map(async (connection) => {
      for (let octets = requests[next++]; octets; octets = requests[next++]) {
        requireAccepted(await connection.request(octets));
      }
    }),
  );
  const time = performance.now() - start;
  for (const connection of open) {
    connection[Symbol.dispose]();
  }
  return time;
}

export function requireAccepted(status: number): void {
  if (status !== 202) {
    throw new Error(`The server answered ${status} instead of 202`);
  }
}
