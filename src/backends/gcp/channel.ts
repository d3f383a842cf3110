/** How connections of gRPC to the cloud behave when it goes and comes back. */

/**
 * Options of a channel, for the vendors' clients. By default, a connection that was refused for a while is tried again
 * after up to two minutes, and one whose other end is gone without a word is kept for as long as the kernel keeps it.
 *
 * Source: https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md and
 * https://github.com/grpc/grpc/blob/master/doc/keepalive.md
 */
export const CHANNEL = {
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1000,
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
} as const;
