/**
 * Parcels that were given to slow clients and are in memory until these take them: bounded, all together.
 *
 * Anybody who registers can open collections and read nothing. So when there are too many octets, the client that has
 * taken nothing for longest is cut, and its parcel stays in its mailbox.
 */

/** How many there may be. */
const DEFAULT_MOST = 48 * 1024 * 1024;

/** Nobody is cut who has taken something in so many milliseconds. */
const LEAST_TIME = 5000;

export interface SlowClient {
  /** Ends its connection. */
  cut(): void;
}

export class UntakenOctets {
  private readonly most: number;
  private readonly leastTime: number;
  /** The one that has taken nothing for longest first; its octets, and since when, on `performance.now`. */
  private readonly clients = new Map<SlowClient, { octets: number; since: number }>();
  private octets = 0;

  constructor(most: number = DEFAULT_MOST, leastTime: number = LEAST_TIME) {
    this.most = most;
    this.leastTime = leastTime;
  }

  /** How many there are. */
  get size(): number {
    return this.octets;
  }

  /** A parcel of so many octets waits for this client. */
  add(client: SlowClient, octets: number): void {
    const now = performance.now();
    const held = this.clients.get(client);
    if (held) {
      held.octets += octets;
    } else {
      this.clients.set(client, { octets, since: now });
    }
    this.octets += octets;
    for (const [slowest, { since }] of this.clients) {
      if (this.octets <= this.most || now - since < this.leastTime) {
        return;
      }
      this.forget(slowest);
      slowest.cut();
    }
  }

  /** The client has taken a parcel of so many octets, or will never. */
  remove(client: SlowClient, octets: number): void {
    const held = this.clients.get(client);
    if (held) {
      this.octets -= octets;
      held.octets -= octets;
      this.clients.delete(client);
      if (held.octets > 0) {
        this.clients.set(client, { octets: held.octets, since: performance.now() });
      }
    }
  }

  /** The client has taken a part of it. */
  touch(client: SlowClient): void {
    const held = this.clients.get(client);
    if (held) {
      this.clients.delete(client);
      this.clients.set(client, { octets: held.octets, since: performance.now() });
    }
  }

  private forget(client: SlowClient): void {
    this.octets -= this.clients.get(client)?.octets ?? 0;
    this.clients.delete(client);
  }
}
