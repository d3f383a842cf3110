/** The HTTP server of the doors, with small routes of the tests' own. */
import type { TestContext } from 'node:test';
import { createHttpServer, type HttpServer, type HttpServerOptions } from '../../src/services/http/server.ts';
import { logLines } from './log-lines.ts';

/** The largest body that is taken, in octets. */
export const LIMIT = 100_000;

export interface SmallServer {
  readonly url: string;
  readonly server: HttpServer;
  readonly lines: readonly Record<string, unknown>[];
}

/** A server with `POST /bodies`, which answers with the length of the body once `gate` lets it. */
export async function startSmallServer(
  t: TestContext,
  options: Partial<HttpServerOptions> = {},
  gate: (body: Buffer) => Promise<void> = async () => {},
): Promise<SmallServer> {
  const { log, lines } = logLines();
  const server = await createHttpServer({ name: 'test', host: '127.0.0.1', port: 0, log, ...options });
  server.app.post('/bodies', (message, reply) =>
    server.bodies.receive(message.raw, LIMIT, async (body) => {
      await gate(body);
      return reply.header('content-type', 'application/x-test').send(Buffer.from(String(body.length)));
    }),
  );
  server.app.post('/late', async (message, reply) => {
    await gate(Buffer.alloc(0));
    await server.bodies.receive(message.raw, LIMIT, () => {});
    return reply.send();
  });
  server.app.post('/taken', (_message, reply) => reply.code(202).send());
  server.app.get('/address', (message, reply) => reply.send(Buffer.from(message.ip)));
  server.app.get('/fault', () => {
    throw new Error('Secret detail');
  });
  const url = await server.listen();
  t.after(() => server.stop(AbortSignal.abort()));
  return { url, server, lines };
}

/** A request with these header lines, as it is on the wire. */
export function post(headers: string, body = ''): string {
  return `POST /bodies HTTP/1.1\r\nHost: gateway.test\r\n${headers}\r\n\r\n${body}`;
}

/** A gate that the test opens, and a promise of the first body at it. */
export function gated() {
  const arrived = Promise.withResolvers<Buffer>();
  const opened = Promise.withResolvers<void>();
  const gate = (body: Buffer) => {
    arrived.resolve(body);
    return opened.promise;
  };
  return { gate, arrived: arrived.promise, open: () => opened.resolve() };
}
