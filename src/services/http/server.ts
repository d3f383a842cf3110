/**
 * The HTTP server under PoWeb, PoHTTP and the ops port: everything that bounds what strangers may take, in one place.
 *
 * Doors register their routes on `app` and receive bodies through `bodies`. Known paths answer OPTIONS with 204 and
 * other methods with 405, `GET /` and `HEAD /` with 200; there is no CORS.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, RequestListener, Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import fastify, { type FastifyInstance, type FastifyRequest, LogController } from 'fastify';
import type { Logger } from 'pino';
import type { TraceIds } from '../../gateway/errors.ts';
import type { Service } from '../service.ts';
import type { AddressLimits } from './address-limits.ts';
import { clientAddress, readTrustedProxies } from './addresses.ts';
import { checkAnswer } from './check-answer.ts';
import { RETRY_AFTER } from './http-error.ts';
import { DEFAULT_LIMITS, type HttpLimits } from './limits.ts';
import { answerMethods } from './methods.ts';
import { createServer } from './node-http.ts';
import { OpenSockets } from './open-sockets.ts';
import { answerRefusals } from './refusals.ts';
import { BodyBudget, RequestBodies } from './request-bodies.ts';
import { TlsCertificate, type TlsFiles } from './tls-certificate.ts';
import { UploadPace } from './upload-pace.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** What traces the message that the request brings; doors set it before they ask the gateway. */
    ids: TraceIds | null;
  }
}

/** Memory that bodies in flight may take in this process, in octets. */
const DEFAULT_BODY_BUDGET = 256 * 1024 * 1024;

/** How often Node looks for connections that are over their time, in milliseconds. */
const TIMEOUT_CHECK_INTERVAL = 1000;

const TLS_HANDSHAKE_TIMEOUT = 10_000;

/** The answer to a parcel that was taken, which proves its sender. */
const ACCEPTED = 202;

/** How often idle connections are closed while the server stops, in milliseconds. */
const IDLE_CHECK_INTERVAL = 200;

export interface HttpServerOptions {
  /** The service's name, in logs and checks, e.g. `poweb`. */
  readonly name: string;
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
  readonly log: Logger;
  readonly tls?: TlsFiles | undefined;
  /** How often the TLS files are looked at, in milliseconds. */
  readonly tlsInterval?: number;
  /** CIDRs whose forwarded headers count; by default nobody's do. */
  readonly trustedProxies?: readonly string[];
  /** Shared by the servers of a process. */
  readonly bodyBudget?: BodyBudget;
  readonly limits?: Partial<HttpLimits>;
  /** Told of each answer but those to probes: the route's path (empty where there is none), status, milliseconds. */
  readonly onAnswer?: (route: string, status: number, took: number) => void;
  /** Counts requests for which no private gateway answers; by default they are not counted. */
  readonly addressLimits?: AddressLimits;
}

/**
 * Takes over a connection whose client wants to speak WebSocket.
 *
 * @param head what the client sent right behind the request
 * @param address the client's, by forwarded headers where these count
 */
export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer, address: string) => void;

/**
 * Makes a server that does not listen yet.
 *
 * @throws Error in one line, if TLS files or proxies' CIDRs are wrong
 */
export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const log = options.log.child({ service: options.name });
  const certificate = options.tls && (await TlsCertificate.open(options.tls, log));
  return new HttpServer(options, log, certificate);
}

export class HttpServer implements Service {
  readonly name: string;
  /** Where doors put their routes, before `listen`. */
  readonly app: FastifyInstance;
  readonly bodies: RequestBodies;
  readonly log: Logger;
  private readonly options: HttpServerOptions;
  private readonly certificate: TlsCertificate | undefined;
  private readonly server: Server;
  private readonly sockets: OpenSockets;
  private readonly upgrades = new Map<string, UpgradeHandler>();
  private readonly isTrustedProxy: (address: string) => boolean;
  private readonly drains: ((deadline: AbortSignal) => Promise<void>)[] = [];
  private isStopping = false;

  constructor(options: HttpServerOptions, log: Logger, certificate: TlsCertificate | undefined) {
    this.name = options.name;
    this.log = log;
    this.options = options;
    this.certificate = certificate;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    const proxies = options.trustedProxies ?? [];
    this.isTrustedProxy = readTrustedProxies(proxies);
    this.bodies = new RequestBodies({
      budget: options.bodyBudget ?? new BodyBudget(DEFAULT_BODY_BUDGET),
      pace: new UploadPace({ minOctetsPerSecond: limits.minUploadOctetsPerSecond, grace: limits.uploadGrace }),
      addressOf: (message) => this.addressOf(message),
    });
    this.sockets = new OpenSockets({
      most: limits.maxConnections,
      maxPerAddress: limits.maxConnectionsPerAddress,
      maxUnaccounted: limits.maxUnaccountedOctets,
      isTrustedProxy: this.isTrustedProxy,
      log,
    });
    let server: Server | undefined;
    this.app = fastify({
      serverFactory: (handler) => {
        server = this.createServer(handler as RequestListener, limits);
        return server;
      },
      loggerInstance: withoutChildren(log),
      logController: new LogController({ disableRequestLogging: true }),
      genReqId: () => randomUUID(),
      // No route has a schema; fastify would load the compilers of schemas all the same.
      schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
      // A request that was under way when the stop began is served; fastify's own 503 would not say when to come back.
      return503OnClosing: false,
      trustProxy: proxies.length > 0 ? this.isTrustedProxy : false,
      clientErrorHandler: (error, socket) => this.answerBrokenRequest(error, socket),
    }) as unknown as FastifyInstance;
    this.server = server as unknown as Server;
    this.app.decorateRequest('ids', null);
    this.app.removeAllContentTypeParsers();
    // Doors receive bodies themselves, once they know that they want them.
    this.app.addContentTypeParser('*', (_request, _payload, done) => done(null));
    this.app.addHook('onSend', (_request, reply, _payload, done) => {
      if (this.isStopping) {
        reply.header('connection', 'close');
      }
      done();
    });
    this.limitRequests(this.app);
    answerMethods(this.app, this.bodies);
    answerRefusals(this.app, { bodies: this.bodies, log, refusalOf: () => undefined });
  }

  /** Where it listens, e.g. `http://127.0.0.1:8080`. */
  get url(): string {
    const { address, port, family } = this.server.address() as AddressInfo;
    return `${this.certificate ? 'https' : 'http'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** When the TLS certificate in use ends, in milliseconds; undefined without TLS. */
  get certificateExpiry(): number | undefined {
    return this.certificate?.expiry;
  }

  /** Starts to listen; resolves with `url`. */
  async listen(): Promise<string> {
    const { host, port } = this.options;
    await this.app.listen({ host, port, listenTextResolver: (address) => `Listening at ${address}` });
    this.certificate?.follow(this.server as TlsServer, this.options.tlsInterval);
    return this.url;
  }

  /** Resolves when the server answers a request of our own. */
  check(): Promise<void> {
    if (!this.server.listening) {
      return Promise.reject(new Error('Not listening'));
    }
    return checkAnswer(this.url);
  }

  /**
   * Hands connections over that ask for WebSocket at `path`; asked for elsewhere, the request is answered as if it had
   * not.
   */
  onUpgrade(path: string, handler: UpgradeHandler): void {
    this.upgrades.set(path, handler);
  }

  /**
   * A client of an upgraded connection has proved to be `owner`: it counts no longer against its neighbourhood. What it
   * sends from now on is bounded where it is read.
   */
  prove(socket: Duplex, owner: string): void {
    this.sockets.prove(socket as Socket, owner);
    this.sockets.begin(socket as Socket);
  }

  /** Has `drain` called at the stop, once nothing new comes in: for connections that HTTP does not know of any more. */
  onStop(drain: (deadline: AbortSignal) => Promise<void>): void {
    this.drains.push(drain);
  }

  /** From now on answers end their connections. */
  announceStop(): void {
    this.isStopping = true;
  }

  /**
   * Stops to listen, answers what is in hand, drains, and closes.
   *
   * @param deadline when it aborts, all connections are cut
   */
  async stop(deadline: AbortSignal): Promise<void> {
    this.announceStop();
    this.certificate?.close();
    const cut = () => {
      for (const socket of this.sockets) {
        socket.destroy();
      }
    };
    deadline.addEventListener('abort', cut);
    try {
      const closed = this.server.listening ? closeServer(this.server) : Promise.resolve();
      if (deadline.aborted) {
        cut();
      }
      const drained = await Promise.allSettled(this.drains.map((drain) => drain(deadline)));
      for (const { reason: err } of drained.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[]) {
        this.log.error({ err }, 'Drain failed');
      }
      await Promise.all([closed, this.app.close()]);
    } finally {
      deadline.removeEventListener('abort', cut);
      this.bodies.close();
      this.sockets.close();
    }
  }

  /** Follows each request from its headers to its end, and counts those of strangers against their neighbourhood. */
  private limitRequests(app: FastifyInstance): void {
    const { addressLimits, onAnswer } = this.options;
    app.addHook('onRequest', (request, _reply, done) => {
      this.sockets.begin(request.raw.socket);
      try {
        if (addressLimits?.hasBlocked && !isProbe(request) && !this.sockets.isProven(request.raw.socket)) {
          addressLimits.requireFewFailures(kindOf(request), request.ip);
        }
        done();
      } catch (error) {
        done(error as Error);
      }
    });
    app.addHook('onResponse', (request, reply, done) => {
      const { socket } = request.raw;
      this.sockets.end(socket);
      const { peer, sender = '' } = request.ids ?? {};
      if (peer !== undefined || reply.statusCode === ACCEPTED) {
        this.sockets.prove(socket, peer ?? sender);
      } else if (!isProbe(request)) {
        this.sockets.doubt(socket);
        void addressLimits?.countFailure(kindOf(request), request.ip);
      }
      if (onAnswer && !isProbe(request)) {
        onAnswer(request.routeOptions.url ?? '', reply.statusCode, reply.elapsedTime);
      }
      done();
    });
  }

  private createServer(handler: RequestListener, limits: HttpLimits): Server {
    const options = {
      maxHeaderSize: limits.maxHeaderOctets,
      headersTimeout: limits.headersTimeout,
      requestTimeout: limits.requestTimeout,
      keepAliveTimeout: limits.keepAliveTimeout,
      connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL,
      shouldUpgradeCallback: (request: IncomingMessage) => this.upgradeOf(request) !== undefined,
    };
    const server = this.certificate
      ? createTlsServer(
          { ...options, ...this.certificate.secureContext, handshakeTimeout: TLS_HANDSHAKE_TIMEOUT },
          handler,
        )
      : createServer(options, handler);
    server.on('checkContinue', (request, response) => {
      this.bodies.expect(request, response);
      handler(request, response);
    });
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.sockets.end(socket as Socket, head.length);
      this.upgradeOf(request)?.(request, socket, head, this.addressOf(request));
    });
    this.follow(server);
    return server as Server;
  }

  private addressOf({ socket, headers }: IncomingMessage): string {
    return clientAddress(socket.remoteAddress, headers['x-forwarded-for']?.toString(), this.isTrustedProxy);
  }

  private upgradeOf({ url = '', headers }: IncomingMessage): UpgradeHandler | undefined {
    return headers.upgrade?.toLowerCase() === 'websocket' ? this.upgrades.get(url.split('?', 1)[0] ?? '') : undefined;
  }

  /** Keeps account of connections. */
  private follow(server: Server): void {
    const { sockets } = this;
    // One function for all: tens of thousands of connections idle here.
    function forget(this: Socket): void {
      sockets.delete(this);
    }
    server.on('connection', (socket: Socket) => {
      if (sockets.add(socket)) {
        socket.on('close', forget);
        if (this.certificate) {
          sockets.expectTls(socket);
        }
      } else {
        socket.destroy();
      }
    });
    server.on('secureConnection', (socket: Socket) => sockets.secure(socket));
  }

  /** Answers what never became a request: broken or oversized headers, or a request that took too long. */
  private answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
    const status = brokenRequestStatus(error.code ?? '');
    if (status && socket.writable) {
      this.log.debug({ code: error.code }, 'Broken request');
      socket.write(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    }
    socket.destroy();
  }
}

/** The same log, which is its own child: fastify wants one for each request, and doors log with the request's ids. */
function withoutChildren(log: Logger): Logger {
  const childless: Logger = Object.create(log, { child: { value: () => childless } });
  return childless;
}

/** A request with a signature is refused only for others that were wrong: whose it is will be seen. */
function kindOf({ headers }: FastifyRequest): 'request' | 'signedRequest' {
  return headers.authorization === undefined ? 'request' : 'signedRequest';
}

/** Android's look whether there is a way to the Internet: every five seconds, and outside of all limits. */
function isProbe({ method, url }: FastifyRequest): boolean {
  return url === '/' && (method === 'GET' || method === 'HEAD');
}

/** The status line, and more headers where due; undefined for faults of the connection, such as failed handshakes. */
function brokenRequestStatus(code: string): string | undefined {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    // Slowness is no refusal for good: some clients would drop the message on any 4xx.
    return `503 Service Unavailable\r\nRetry-After: ${RETRY_AFTER}`;
  }
  if (code === 'HPE_HEADER_OVERFLOW') {
    return '431 Request Header Fields Too Large';
  }
  return code.startsWith('HPE_') ? '400 Bad Request' : undefined;
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    // Some may be answered between two requests of ours to close.
    const timer = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_INTERVAL);
    server.close(() => {
      clearInterval(timer);
      resolve();
    });
  });
}

/** Stands where fastify's compilers of JSON schemas would. */
function noSchemas(): never {
  throw new Error('Routes have no schemas here');
}
