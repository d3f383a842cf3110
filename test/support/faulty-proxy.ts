/** A proxy before a real gateway that spoils what passes through it. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { Transform } from 'node:stream';

export interface Spoiling {
  /** Answers a request in the gateway's place; gives false to let it pass. */
  readonly answer?: (incoming: IncomingMessage, response: ServerResponse) => boolean;
  /** Changes the headers of the gateway's answers. */
  readonly headers?: (headers: IncomingMessage['headers']) => IncomingMessage['headers'];
  /** Changes what the gateway sends over WebSockets, in place. */
  readonly socketChunk?: (chunk: Buffer) => void;
}

export interface FaultyProxy extends AsyncDisposable {
  readonly url: string;
}

/** Starts a proxy on a free port of the loopback. */
export async function startFaultyProxy(gateway: string, spoiling: Spoiling): Promise<FaultyProxy> {
  const { hostname, port } = new URL(gateway);
  const sockets = new Set<Socket>();
  const server = createServer((incoming, response) => {
    if (spoiling.answer?.(incoming, response)) {
      incoming.resume();
      return;
    }
    const { method, url: path, headers } = incoming;
    const outgoing = request({ hostname, port, method, path, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, spoiling.headers?.(answer.headers) ?? answer.headers);
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    incoming.pipe(outgoing);
  });
  server.on('upgrade', (incoming, client: Socket, head) => {
    const upstream = connect(Number(port), hostname);
    sockets.add(client).add(upstream);
    const lines = [`${incoming.method} ${incoming.url} HTTP/1.1`];
    for (let index = 0; index < incoming.rawHeaders.length; index += 2) {
      lines.push(`${incoming.rawHeaders[index]}: ${incoming.rawHeaders[index + 1]}`);
    }
    upstream.write(`${lines.join('\r\n')}\r\n\r\n`);
    upstream.write(head);
    const spoil = new Transform({
      transform(chunk: Buffer, _, done) {
        spoiling.socketChunk?.(chunk);
        done(null, chunk);
      },
    });
    client.pipe(upstream);
    upstream.pipe(spoil).pipe(client);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) {
        socket.destroy();
      }
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
