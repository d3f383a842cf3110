/**
 * Connections to Internet nodes: a pool a host and port, kept alive between deliveries, and pools within a bound.
 */
import { type buildConnector, Pool } from 'undici';
import { DeliveryFault } from '../../gateway/delivery-fault.ts';
import { SECOND } from '../../gateway/time.ts';

/** Pools beyond which the longest unused go. */
const MOST_POOLS = 1000;

/** How long a connection without a delivery is kept, in milliseconds, whatever the other side offers. */
const IDLE_TIME = 30 * SECOND;

/** Octets of an answer's header. */
const MOST_HEADER_OCTETS = 16 * 1024;

export class ConnectionPools {
  private readonly connect: buildConnector.connector;
  private readonly connections: number;
  private readonly pools = new Map<string, Pool>();
  private isDestroyed = false;

  /** @param parts.connections how many one pool may have at once */
  constructor(parts: { connect: buildConnector.connector; connections: number }) {
    this.connect = parts.connect;
    this.connections = parts.connections;
  }

  /**
   * @param origin of HTTPS, such as `https://pohttp.example:443`
   * @throws DeliveryFault CONNECTION_FAILED when all was cut
   */
  to(origin: string): Pool {
    if (this.isDestroyed) {
      throw new DeliveryFault('CONNECTION_FAILED', 'Connections are cut: the worker stops');
    }
    const pool =
      this.pools.get(origin) ??
      new Pool(origin, {
        connect: this.connect,
        connections: this.connections,
        pipelining: 1,
        keepAliveTimeout: IDLE_TIME,
        keepAliveMaxTimeout: IDLE_TIME,
        maxHeaderSize: MOST_HEADER_OCTETS,
      });
    this.pools.delete(origin);
    this.pools.set(origin, pool);
    if (this.pools.size > MOST_POOLS) {
      this.closeOldest();
    }
    return pool;
  }

  /** Cuts all connections; what is under way fails. */
  async destroy(): Promise<void> {
    this.isDestroyed = true;
    const pools = [...this.pools.values()];
    this.pools.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
  }

  private closeOldest(): void {
    for (const [origin, pool] of this.pools) {
      const { running, queued, pending } = pool.stats;
      if (running + queued + pending === 0) {
        this.pools.delete(origin);
        void pool.close();
        return;
      }
    }
  }
}
