/**
 * What stands before a gateway's processes where clients know one address only: collections go to one process, all else
 * to another. With a certificate it ends TLS, as load balancers do.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type IncomingMessage, request, createServer as serveHttp } from 'node:http';
import { createServer as serveHttps } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { TlsCertificate } from './tls-certificate.ts';

/** Asked for each request, since processes come and go. */
export interface FrontOptions {
  /** URL of where requests go. */
  readonly requests: () => string;
  /** URL of where WebSockets go. */
  readonly sockets?: () => string;
  readonly tls?: Pick<TlsCertificate, 'certificate' | 'keyFile'> | undefined;
  /** 0, the default, takes any free one. */
  readonly port?: number;
}

export interface Front extends AsyncDisposable {
  readonly url: string;
}

/** Starts a front on the loopback. */
export async function startFront(options: FrontOptions): Promise<Front> {
  const { requests, sockets = requests, tls, port = 0 } = options;
  const open = new Set<Socket>();
  const server = tls ? serveHttps({ cert: tls.certificate, key: readFileSync(tls.keyFile) }) : serveHttp();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  server.on('request', (incoming, response) => {
    const { hostname, port: at } = new URL(requests());
    const { method, url, headers } = incoming;
    const outgoing = request({ hostname, port: at, method, path: url, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    incoming.pipe(outgoing);
  });
  server.on('upgrade', (incoming, client: Socket, head: Buffer) => {
    const { hostname, port: at } = new URL(sockets());
    const upstream = connect(Number(at), hostname);
    upstream.write(headOf(incoming));
    upstream.write(head);
    client.pipe(upstream);
    upstream.pipe(client);
    client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy());
    upstream.on('error', () => client.destroy()).on('close', () => client.destroy());
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const host = tls ? 'https://localhost' : 'http://127.0.0.1';
  return {
    url: `${host}:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of open) {
        socket.destroy();
      }
      await closed;
    },
  };
}

/** The request's head as it came. */
function headOf({ method, url, rawHeaders }: IncomingMessage): string {
  const lines = [`${method} ${url} HTTP/1.1`];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    lines.push(`${rawHeaders[index]}: ${rawHeaders[index + 1]}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}
