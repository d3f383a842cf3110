/**
 * Bounds on what couriers may take of one CogRPC server.
 */

/** Times are in milliseconds. */
export interface CogRpcLimits {
  /** Connections open at once; then the neighbourhood with most loses its oldest to one with fewer. */
  readonly maxConnections: number;
  /** Connections open at once from one neighbourhood of addresses (a /24, a /56); 0 is no limit. */
  readonly maxConnectionsPerAddress: number;
  /** Calls at once on one connection; deployed clients make one at a time. */
  readonly maxCallsPerConnection: number;
  /** Calls at once in this process; when these are too many, a network that has most loses one to another. */
  readonly maxCalls: number;
  /** Of them, those from one neighbourhood of addresses; 0 is no limit. */
  readonly maxCallsPerAddress: number;
  /** Octets of cargo that is not complete or not stored, of all calls together; who has most makes room for the others. */
  readonly maxOctets: number;
  /** How long a call may be quiet before any network that has fewer may have its place, when there is no other. */
  readonly maxQuiet: number;
  /** Calls of the health service at once; the quietest makes room for a further one. */
  readonly maxHealthCalls: number;
  /** Of them, those from one neighbourhood of addresses; 0 is no limit. */
  readonly maxHealthCallsPerAddress: number;
  /** How long a call may wait for its client to send or to take something. */
  readonly callIdleTimeout: number;
  /** How long a connection may be without a call. */
  readonly connectionIdleTimeout: number;
  /** When a connection is told to come back anew, so that load spreads; its calls go on for `connectionAgeGrace`. */
  readonly connectionMaxAge: number;
  readonly connectionAgeGrace: number;
  /** From the connection to the end of its TLS handshake. */
  readonly handshakeTimeout: number;
}

export const DEFAULT_COGRPC_LIMITS: CogRpcLimits = {
  maxConnections: 1000,
  maxConnectionsPerAddress: 250,
  maxCallsPerConnection: 8,
  maxCalls: 32,
  maxCallsPerAddress: 16,
  maxOctets: 48 * 1024 * 1024,
  maxQuiet: 10_000,
  maxHealthCalls: 256,
  maxHealthCallsPerAddress: 32,
  callIdleTimeout: 120_000,
  connectionIdleTimeout: 60_000,
  connectionMaxAge: 3_600_000,
  connectionAgeGrace: 60_000,
  handshakeTimeout: 10_000,
};

/** The longest gRPC message, in octets: 9 MiB of cargo (RS-001) with an id. */
export const MAX_GRPC_MESSAGE_OCTETS = 9_437_184 + 64 * 1024;
