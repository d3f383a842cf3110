/** A PoHTTP server (RS-007) of a test's own on the loopback, over TLS: it keeps what it gets and answers as it is told. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { TlsCertificate } from './tls-certificate.ts';

export interface ReceivedPost {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  /** The TLS name that was asked for. */
  readonly serverName: string | false | null;
  /** The same for all that came by one connection. */
  readonly connection: number;
}

export interface ReceiverAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Gives the answer, or writes it itself, or never does. */
export type Answering = (
  post: ReceivedPost,
  response: ServerResponse,
) => ReceiverAnswer | undefined | Promise<ReceiverAnswer | undefined>;

export interface PoHttpReceiver extends AsyncDisposable {
  readonly port: number;
  /** All that came, in order. */
  readonly posts: readonly ReceivedPost[];
  /** How many connections were opened. */
  readonly connections: number;
  /** Closes all connections; new ones are taken. */
  drop(): void;
  /** Resolves with the next post that comes. */
  next(): Promise<ReceivedPost>;
}

/** Starts a receiver; it answers 202 unless told otherwise. */
export async function startPoHttpReceiver(
  tls: TlsCertificate,
  answering: Answering = () => ({ status: 202 }),
): Promise<PoHttpReceiver> {
  const posts: ReceivedPost[] = [];
  const connectionNumbers = new WeakMap<object, number>();
  let connections = 0;
  let waiting: ((post: ReceivedPost) => void)[] = [];
  const server = https.createServer(
    { cert: tls.certificate, key: readFileSync(tls.keyFile) },
    async (request, response) => {
      const socket = request.socket as import('node:tls').TLSSocket;
      const post: ReceivedPost = {
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body: await buffer(request),
        serverName: socket.servername,
        connection: connectionNumbers.get(socket) ?? 0,
      };
      posts.push(post);
      const listeners = waiting;
      waiting = [];
      for (const listener of listeners) {
        listener(post);
      }
      const answer = await answering(post, response);
      if (answer) {
        response.writeHead(answer.status, answer.headers).end(answer.body);
      }
    },
  );
  server.on('secureConnection', (socket) => {
    connections++;
    connectionNumbers.set(socket, connections);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    posts,
    get connections() {
      return connections;
    },
    drop: () => server.closeAllConnections(),
    next: () => new Promise((resolve) => waiting.push(resolve)),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
