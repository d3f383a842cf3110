/**
 * The CogRPC server (RS-008): couriers' calls over gRPC, under both names of the service, and gRPC's health service.
 *
 * The sockets are ours, so that connections are bounded and TLS certificates reloaded as at the other doors; what comes
 * over them is the gRPC library's.
 */
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import { type ConnectionInjector, Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { readTrustedProxies } from '../http/addresses.ts';
import { OpenSockets } from '../http/open-sockets.ts';
import { TlsCertificate, type TlsFiles } from '../http/tls-certificate.ts';
import type { Service } from '../service.ts';
import { boundCalls } from './bounded-calls.ts';
import { type OnCallEnd, watchCalls } from './call-watch.ts';
import { CARGO_RELAY_NAMES, type CargoRelay, cargoRelayDefinition } from './cargo-relay.ts';
import { checkHealth } from './check-health.ts';
import { HEALTH_DEFINITION, HEALTH_NAME, Health } from './health.ts';
import { type CogRpcLimits, DEFAULT_COGRPC_LIMITS, MAX_GRPC_MESSAGE_OCTETS } from './limits.ts';

/** Deliveries of one call that are stored at the same time, or whose acknowledgement is held back. */
const MAX_UNACKNOWLEDGED = 5;

const DEFAULT_HEALTH_INTERVAL = 5000;

/** Octets of questions for our health that are not complete, of all calls together. */
const MAX_HEALTH_OCTETS = 1024 * 1024;

/** How long such a question may take to come, or its answer to be taken, in milliseconds. */
const HEALTH_IDLE_TIMEOUT = 10_000;

/** Octets of TLS handshakes that are not complete, of all connections together. */
const MAX_UNACCOUNTED_OCTETS = 8 * 1024 * 1024;

const isHealth = (path: string) => path.startsWith(`/${HEALTH_NAME}/`);

export interface CogRpcServerOptions {
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
  readonly log: Logger;
  readonly tls?: TlsFiles | undefined;
  /** How often the TLS files are looked at, in milliseconds. */
  readonly tlsInterval?: number;
  readonly limits?: Partial<CogRpcLimits>;
  /** CIDRs of proxies: they may have any number of connections, and their forwarded headers tell couriers apart. */
  readonly trustedProxies?: readonly string[];
  /** Resolves when what the calls need works: the state that the health service tells. */
  readonly checkStores: () => Promise<void>;
  /** How often that is looked at for those who watch it, in milliseconds. */
  readonly healthInterval?: number;
  /** Told of how each call ended. */
  readonly onCallEnd?: OnCallEnd;
}

/**
 * Makes a server that does not listen yet.
 *
 * @throws Error in one line, if TLS files are wrong
 */
export async function createCogRpcServer(options: CogRpcServerOptions, relay: CargoRelay): Promise<CogRpcServer> {
  const log = options.log.child({ service: 'cogrpc' });
  const certificate = options.tls && (await TlsCertificate.open(options.tls, log));
  return new CogRpcServer(options, relay, log, certificate);
}

export class CogRpcServer implements Service {
  readonly name = 'cogrpc';
  readonly log: Logger;
  private readonly options: CogRpcServerOptions;
  private readonly certificate: TlsCertificate | undefined;
  private readonly grpc: GrpcServer;
  private readonly health: Health;
  private readonly connections: ConnectionInjector;
  private readonly server: NetServer;
  private readonly sockets: OpenSockets;
  private readonly isTrustedProxy: (address: string) => boolean;

  constructor(options: CogRpcServerOptions, relay: CargoRelay, log: Logger, certificate: TlsCertificate | undefined) {
    this.options = options;
    this.log = log;
    this.certificate = certificate;
    const limits = { ...DEFAULT_COGRPC_LIMITS, ...options.limits };
    this.isTrustedProxy = readTrustedProxies(options.trustedProxies ?? []);
    this.sockets = new OpenSockets({
      most: limits.maxConnections,
      maxPerAddress: limits.maxConnectionsPerAddress,
      maxUnaccounted: MAX_UNACCOUNTED_OCTETS,
      isTrustedProxy: this.isTrustedProxy,
      log,
    });
    this.grpc = new GrpcServer({
      'grpc.max_receive_message_length': MAX_GRPC_MESSAGE_OCTETS,
      'grpc.max_send_message_length': MAX_GRPC_MESSAGE_OCTETS,
      'grpc.max_concurrent_streams': limits.maxCallsPerConnection,
      'grpc.max_connection_idle_ms': limits.connectionIdleTimeout,
      'grpc.max_connection_age_ms': limits.connectionMaxAge,
      'grpc.max_connection_age_grace_ms': limits.connectionAgeGrace,
      'grpc.enable_channelz': 0,
      interceptors: [
        ...(options.onCallEnd ? [watchCalls(options.onCallEnd, isHealth)] : []),
        boundCalls(
          {
            maxCalls: limits.maxCalls,
            maxCallsPerAddress: limits.maxCallsPerAddress,
            maxOctets: limits.maxOctets,
            maxQuiet: limits.maxQuiet,
            isTrustedProxy: this.isTrustedProxy,
            idleTimeout: limits.callIdleTimeout,
            maxUnanswered: { DeliverCargo: MAX_UNACKNOWLEDGED },
          },
          isHealth,
        ),
        // Whoever asks how we are is told, however many watch.
        boundCalls(
          {
            maxCalls: limits.maxHealthCalls,
            maxCallsPerAddress: limits.maxHealthCallsPerAddress,
            maxOctets: MAX_HEALTH_OCTETS,
            maxQuiet: 0,
            isTrustedProxy: this.isTrustedProxy,
            idleTimeout: HEALTH_IDLE_TIMEOUT,
            maxUnanswered: {},
          },
          (path) => !isHealth(path),
        ),
      ],
    });
    for (const name of CARGO_RELAY_NAMES) {
      this.grpc.addService(cargoRelayDefinition(name), { ...relay });
    }
    this.health = new Health({
      services: CARGO_RELAY_NAMES,
      check: options.checkStores,
      interval: options.healthInterval ?? DEFAULT_HEALTH_INTERVAL,
    });
    this.grpc.addService(HEALTH_DEFINITION, this.health.handlers);
    // TLS ends before the library, so it takes every connection for a plain one.
    this.connections = this.grpc.createConnectionInjector(ServerCredentials.createInsecure());
    this.server = this.createServer(limits);
  }

  /** Where it listens, e.g. `http://127.0.0.1:8082`: HTTP/2, over TLS if it is https. */
  get url(): string {
    const address = this.server.address();
    if (address === null || typeof address === 'string') {
      throw new Error('Not listening');
    }
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
    return `${this.certificate ? 'https' : 'http'}://${host}:${address.port}`;
  }

  /** When the TLS certificate in use ends, in milliseconds; undefined without TLS. */
  get certificateExpiry(): number | undefined {
    return this.certificate?.expiry;
  }

  /** Starts to listen; resolves with `url`. */
  async listen(): Promise<string> {
    const { host, port, tlsInterval } = this.options;
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ host, port }, () => {
        this.server.off('error', reject);
        resolve();
      });
    });
    this.certificate?.follow(this.server as TlsServer, tlsInterval);
    this.log.info(`Listening at ${this.url}`);
    return this.url;
  }

  /** Resolves when the server answers a call of our own. */
  async check(): Promise<void> {
    if (!this.server.listening) {
      throw new Error('Not listening');
    }
    await checkHealth(this.url);
  }

  /**
   * Takes no new connections or calls, finishes those in hand, and closes.
   *
   * @param deadline when it aborts, all connections are cut
   */
  async stop(deadline: AbortSignal): Promise<void> {
    this.certificate?.close();
    this.health.close();
    const cut = () => {
      this.grpc.forceShutdown();
      for (const socket of this.sockets) {
        socket.destroy();
      }
    };
    const closed = new Promise<void>((resolve) => {
      this.server.close(() => resolve());
    });
    const ended = new Promise<void>((resolve) => {
      this.grpc.tryShutdown(() => resolve());
    });
    deadline.addEventListener('abort', cut);
    if (deadline.aborted) {
      cut();
    }
    try {
      await closed;
      await ended;
    } finally {
      deadline.removeEventListener('abort', cut);
      this.sockets.close();
    }
  }

  private createServer(limits: CogRpcLimits): NetServer {
    const { certificate, sockets } = this;
    const server = certificate
      ? createTlsServer({
          ...certificate.secureContext,
          ALPNProtocols: ['h2'],
          handshakeTimeout: limits.handshakeTimeout,
        })
      : createServer();
    server.on('connection', (socket: Socket) => {
      if (!sockets.add(socket)) {
        socket.destroy();
        return;
      }
      socket.on('close', () => sockets.delete(socket));
      if (certificate) {
        sockets.expectTls(socket);
      }
    });
    if (certificate) {
      server.on('secureConnection', (socket: Socket) => {
        sockets.secure(socket);
        this.serve(socket);
      });
    } else {
      server.on('connection', (socket: Socket) => this.serve(socket));
    }
    return server;
  }

  /** Hands a connection over to the library; what comes over it is bounded where the calls are. */
  private serve(socket: Socket): void {
    if (!socket.destroyed) {
      this.sockets.begin(socket);
      socket.setNoDelay(true);
      this.connections.injectConnection(socket);
    }
  }
}
