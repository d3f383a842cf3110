/** A TCP proxy on the loopback that passes so many octets a second each way, or breaks after so many. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** How often octets are passed, in milliseconds. */
const TICK = 10;

/** What the proxy holds each way, in octets: a real link holds little, too. */
const BUFFER = 16 * 1024;

export interface LinkOptions {
  /** Each way; unlimited by default. */
  readonly octetsPerSecond?: number;
  /** The connection breaks when the server has sent so many, each connection a new count. */
  readonly breakAfter?: number;
}

export interface SlowLink extends AsyncDisposable {
  readonly url: string;
  /** Octets that have come from the server. */
  readonly received: number;
}

/** Starts a link to the server with this URL. */
export async function startSlowLink(target: string, options: LinkOptions): Promise<SlowLink> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let received = 0;
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ host: hostname, port: Number(port), noDelay: true });
    let fromServer = 0;
    const cut = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', cut);
      socket.on('close', () => {
        sockets.delete(socket);
        cut();
      });
    }
    pass(client, upstream, options, () => undefined);
    pass(upstream, client, options, (octets) => {
      received += octets;
      fromServer += octets;
      if (options.breakAfter !== undefined && fromServer >= options.breakAfter) {
        cut();
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get received() {
      return received;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) {
        socket.destroy();
      }
      server.close();
      await once(server, 'close');
    },
  };
}

function pass(from: Socket, to: Socket, { octetsPerSecond }: LinkOptions, passed: (octets: number) => void): void {
  if (octetsPerSecond === undefined) {
    from.on('data', (octets: Buffer) => {
      to.write(octets);
      passed(octets.length);
    });
    return;
  }
  let held: Buffer = Buffer.alloc(0);
  let last = performance.now();
  let allowance = 0;
  from.on('data', (octets: Buffer) => {
    held = Buffer.concat([held, octets]);
    if (held.length >= BUFFER) {
      from.pause();
    }
  });
  const timer = setInterval(() => {
    const now = performance.now();
    // What the link did not use is lost.
    allowance = Math.min(octetsPerSecond / 10, allowance + ((now - last) / 1000) * octetsPerSecond);
    last = now;
    const count = Math.min(held.length, Math.floor(allowance));
    if (count > 0) {
      to.write(held.subarray(0, count));
      passed(count);
      held = held.subarray(count);
      allowance -= count;
    }
    if (held.length < BUFFER) {
      from.resume();
    }
  }, TICK);
  from.on('close', () => clearInterval(timer));
}
