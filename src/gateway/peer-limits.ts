/**
 * How often one private gateway may do something, once it has proved who it is: until then its address is what counts.
 */
import { GatewayError } from './errors.ts';
import type { Meters } from './ports.ts';
import { MINUTE } from './time.ts';

/** Over which time the limits count, in milliseconds. */
const PERIOD = MINUTE;

/** How many in a minute. */
export interface PeerLimitsPerMinute {
  readonly deliveries: number;
  readonly collections: number;
}

/** Far more than any phone needs, and far less than the gateway can take: a backlog of weeks goes out in a minute. */
export const DEFAULT_PEER_LIMITS: PeerLimitsPerMinute = { deliveries: 30_000, collections: 600 };

export class PeerLimits {
  private readonly meters: Meters;
  private readonly limits: PeerLimitsPerMinute;

  /** @param limits 0 switches one off */
  constructor(meters: Meters, limits: PeerLimitsPerMinute = DEFAULT_PEER_LIMITS) {
    this.meters = meters;
    this.limits = limits;
  }

  /** @throws GatewayError PEER_LIMITED, when this private gateway did this too often in the last minute */
  async take(what: keyof PeerLimitsPerMinute, peer: string): Promise<void> {
    const limit = this.limits[what];
    if (limit > 0 && !(await this.meters.take(`peer/${what}/${peer}`, limit, PERIOD))) {
      throw new GatewayError('PEER_LIMITED', `More than ${limit} ${what} in a minute`);
    }
  }
}
