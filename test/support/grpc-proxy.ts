/** A proxy before gRPC servers on loopback: it counts the calls that pass, and can hold, spoil, refuse or sign each. */
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { buffer } from 'node:stream/consumers';
import { freePort } from './free-port.ts';

/** What becomes of one call. */
export type Fate =
  | 'pass'
  /** It is never answered. */
  | 'hang'
  /** The connection breaks before the server hears of it. */
  | 'cut'
  /** The server carries it out; then the connection breaks in place of the answer. */
  | 'lose-answer'
  /** The proxy answers with this status of gRPC. */
  | { readonly status: number; readonly message: string };

/** A call as it came. */
export interface ProxiedCall {
  readonly headers: IncomingHttpHeaders;
  /** Frames of gRPC, as they were sent. */
  readonly request: Buffer;
}

export interface GrpcProxyOptions {
  /** Names a call for the counts, by its method and the octets of its request. */
  readonly nameOf?: (method: string, request: Buffer) => string;
  /** HOST:PORT of another server, for the services whose paths have such a start. */
  readonly elsewhere?: { readonly target: string; readonly paths: readonly string[] };
  /** In place of those that a call came with. */
  readonly headers?: OutgoingHttpHeaders;
}

export interface GrpcProxy extends AsyncDisposable {
  /** HOST:PORT */
  readonly host: string;
  /** How often each method was called, e.g. `Commit`, since the last `resetCounts`; by what `nameOf` makes of it. */
  readonly counts: Readonly<Record<string, number>>;
  resetCounts(): void;
  /** Decides on each call, and may take its time; all pass by default. */
  decide: (method: string, call: ProxiedCall) => Fate | Promise<Fate>;
  /** Breaks all connections, and refuses new ones. */
  goAway(): Promise<void>;
  /** Listens again where it did before. */
  comeBack(): Promise<void>;
}

/** @param target HOST:PORT of the server, which speaks without TLS */
export async function startGrpcProxy(
  target: string,
  { nameOf = (method) => method, elsewhere, headers: ours = {} }: GrpcProxyOptions = {},
): Promise<GrpcProxy> {
  const sessions = new Set<ServerHttp2Session>();
  let counts: Record<string, number> = {};
  let server: Http2Server;
  const listen = async (port: number) => {
    server = createServer();
    server.on('session', (session) => {
      sessions.add(session);
      const upstreams = [target, ...(elsewhere ? [elsewhere.target] : [])].map((to) => connect(`http://${to}`));
      for (const upstream of upstreams) {
        upstream.on('error', () => session.destroy());
      }
      session.on('error', () => undefined);
      session.on('close', () => {
        sessions.delete(session);
        for (const upstream of upstreams) {
          upstream.destroy();
        }
      });
      session.on('stream', (stream, headers) => {
        const isElsewhere = elsewhere?.paths.some((start) => headers[':path']?.startsWith(start));
        void forward(stream, headers, upstreams[isElsewhere ? 1 : 0] as ClientHttp2Session);
      });
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  // It comes back where it was.
  const port = await freePort();
  await listen(port);
  const goAway = async () => {
    const closed = once(server, 'close');
    server.close();
    for (const session of sessions) {
      session.destroy();
    }
    await closed;
  };
  const forward = async (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, upstream: ClientHttp2Session) => {
    stream.on('error', () => undefined);
    const method = `${headers[':path']}`.replace(/^.*\//, '');
    // None of the calls streams what it asks.
    const request = await buffer(stream).catch(() => undefined);
    if (!request) {
      return;
    }
    const name = nameOf(method, request);
    counts[name] = (counts[name] ?? 0) + 1;
    const fate = await proxy.decide(method, { headers, request });
    if (stream.destroyed) {
      return;
    }
    if (fate === 'cut') {
      stream.session?.destroy();
    } else if (typeof fate === 'object') {
      const refusal = { 'grpc-status': `${fate.status}`, 'grpc-message': encodeURIComponent(fate.message) };
      stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto', ...refusal }, { endStream: true });
    } else if (fate !== 'hang') {
      pass(stream, request, upstream.request({ ...headers, ...ours } as OutgoingHttpHeaders), fate === 'lose-answer');
    }
  };
  const proxy: GrpcProxy = {
    host: `127.0.0.1:${port}`,
    get counts() {
      return counts;
    },
    resetCounts() {
      counts = {};
    },
    decide: () => 'pass',
    goAway,
    comeBack: () => listen(port),
    async [Symbol.asyncDispose]() {
      if (server.listening) {
        await goAway();
      }
    },
  };
  return proxy;
}

function pass(stream: ServerHttp2Stream, request: Buffer, call: ClientHttp2Stream, isLost: boolean): void {
  let trailers: OutgoingHttpHeaders = {};
  call.on('error', () => stream.destroy());
  stream.on('close', () => call.close());
  call.end(request);
  if (isLost) {
    call.resume();
    call.on('end', () => stream.session?.destroy());
    return;
  }
  call.on('response', (answer, flags) => {
    // 1 is END_STREAM (RFC 9113, section 6.2): an answer of trailers alone.
    const isWhole = (flags & 1) !== 0;
    stream.respond(answer, isWhole ? { endStream: true } : { waitForTrailers: true });
    if (!isWhole) {
      call.pipe(stream);
    }
  });
  call.on('trailers', (received) => {
    trailers = received as OutgoingHttpHeaders;
  });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
}
