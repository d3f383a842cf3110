/**
 * A raw HTTP/1.1 client, for requests that no proper client would send and for watching a connection closely.
 */
import { connect, type Socket } from 'node:net';

export interface RawResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** One connection; responses are awaited in order. */
export class RawConnection {
  readonly socket: Socket;
  private received = Buffer.alloc(0);
  private isEnded = false;
  private wake: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.wake();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.isEnded = true;
      this.wake();
    });
  }

  static async open(url: string): Promise<RawConnection> {
    const { hostname, port } = new URL(url);
    const socket = connect(Number(port), hostname);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new RawConnection(socket);
  }

  /** Resolves when the octets are handed to the operating system. */
  write(data: string | Buffer): Promise<void> {
    return new Promise((resolve, reject) => this.socket.write(data, (error) => (error ? reject(error) : resolve())));
  }

  /** The next response, e.g. 100 or 200. Rejects if the connection ends before it is complete. */
  async response(isForHead = false): Promise<RawResponse> {
    const end = await this.find('\r\n\r\n');
    const [statusLine = '', ...lines] = this.received.toString('latin1', 0, end).split('\r\n');
    const headers = new Map(
      lines.map((line) => [line.split(':', 1).join().toLowerCase(), line.replace(/^[^:]*: */, '')]),
    );
    const status = Number(statusLine.split(' ')[1]);
    const length = isForHead || status < 200 || status === 204 ? 0 : Number(headers.get('content-length') ?? 0);
    const start = end + 4;
    await this.until(() => this.received.length >= start + length);
    const body = this.received.toString('latin1', start, start + length);
    this.received = this.received.subarray(start + length);
    return { status, headers, body };
  }

  /** Resolves when the connection is closed by either side. */
  async closed(): Promise<void> {
    while (!this.isEnded) {
      await this.change();
    }
  }

  close(): void {
    this.socket.destroy();
  }

  private async find(text: string): Promise<number> {
    await this.until(() => this.received.includes(text));
    return this.received.indexOf(text);
  }

  private async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.isEnded) {
        throw new Error('Connection closed');
      }
      await this.change();
    }
  }

  private change(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }
}

/** Sends one request on a connection of its own and gives the answer. */
export async function rawRequest(url: string, request: string | Buffer): Promise<RawResponse> {
  const connection = await RawConnection.open(url);
  try {
    await connection.write(request);
    return await connection.response();
  } finally {
    connection.close();
  }
}
