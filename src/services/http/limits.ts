/**
 * Bounds on what the clients of one HTTP server may take.
 */

/** Times are in milliseconds. */
export interface HttpLimits {
  /** Connections open at once, collections among them; then the neighbourhood with most strangers makes room. */
  readonly maxConnections: number;
  /** Those from one /24 or /56, of clients that have not proved who they are; 0 is no limit. */
  readonly maxConnectionsPerAddress: number;
  /** Octets of headers and handshakes that are not complete, of all strangers together. */
  readonly maxUnaccountedOctets: number;
  /** Octets of a request's line and headers; a countersignature in base64 is 3 to 6 kB. */
  readonly maxHeaderOctets: number;
  /** From the connection, or the request's first octet, to its last header. */
  readonly headersTimeout: number;
  /** From the request's first octet to the last one of its body. */
  readonly requestTimeout: number;
  /** How long a connection may idle between requests. */
  readonly keepAliveTimeout: number;
  /** The slowest pace of a body. */
  readonly minUploadOctetsPerSecond: number;
  /** How long a body may come at no pace at all. */
  readonly uploadGrace: number;
}

/** Wide enough for 15,000 phones behind one address, each with a collection open. */
export const DEFAULT_LIMITS: HttpLimits = {
  maxConnections: 25_000,
  maxConnectionsPerAddress: 20_000,
  maxUnaccountedOctets: 32 * 1024 * 1024,
  maxHeaderOctets: 32 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 300_000,
  keepAliveTimeout: 75_000,
  minUploadOctetsPerSecond: 1024,
  uploadGrace: 10_000,
};
