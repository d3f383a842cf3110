/**
 * Limits on what one neighbourhood of addresses may do: a /24 of IPv4, a /56 of IPv6.
 *
 * Answers are never 429, which some clients take for a final refusal, but 503 with Retry-After. The defaults leave room
 * for 15,000 phones behind one carrier's /24.
 */
import type { Clock, Meters } from '../../gateway/ports.ts';
import { addressBlock } from './addresses.ts';
import { HttpError, RETRY_AFTER } from './http-error.ts';

/** How many times in how long, in milliseconds; a limit of 0 is none. */
export interface Rate {
  readonly limit: number;
  readonly period: number;
}

/** What is counted, and the allowance of one neighbourhood. */
export interface AddressRates {
  /** Pre-registrations, each of which costs a signature. */
  readonly preRegistration: Rate;
  /** Registrations, each of which costs two signatures and three durable writes. */
  readonly registration: Rate;
  /** Registrations that were refused. */
  readonly failedRegistration: Rate;
  /** Collection handshakes that were refused. */
  readonly failedHandshake: Rate;
  /** Requests for which no private gateway answers. */
  readonly request: Rate;
  /** The same with a signature that proves nothing: each costs its verification. */
  readonly signedRequest: Rate;
  /** Signatures with the identity key; twice as many for all neighbourhoods together. */
  readonly signature: Rate;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** 15,000 phones may all register within 25 minutes, and one in ten of them fail. */
export const DEFAULT_ADDRESS_RATES: AddressRates = {
  preRegistration: { limit: 3000, period: 5 * MINUTE },
  registration: { limit: 3000, period: 5 * MINUTE },
  failedRegistration: { limit: 300, period: 5 * MINUTE },
  failedHandshake: { limit: 3000, period: 5 * MINUTE },
  request: { limit: 30_000, period: 5 * MINUTE },
  signedRequest: { limit: 30_000, period: 5 * MINUTE },
  signature: { limit: 50, period: SECOND },
};

/** How many neighbourhoods are remembered as blocked. */
const MAX_BLOCKED = 10_000;

export class AddressLimits {
  private readonly meters: Meters;
  private readonly clock: Clock;
  private readonly rates: AddressRates;
  /** Until when a neighbourhood may not do something, in milliseconds since the epoch. Oldest first. */
  private readonly blocked = new Map<string, number>();

  constructor(parts: { meters: Meters; clock: Clock; rates?: Partial<AddressRates> }) {
    this.meters = parts.meters;
    this.clock = parts.clock;
    this.rates = { ...DEFAULT_ADDRESS_RATES, ...parts.rates };
  }

  /**
   * Takes one from the allowance of the address's neighbourhood.
   *
   * @throws HttpError ADDRESS_LIMITED, when nothing is left of it
   */
  async take(what: keyof AddressRates, address: string): Promise<void> {
    const { limit, period } = this.rates[what];
    if (limit > 0 && !(await this.meters.take(meterKey(what, address), limit, period))) {
      throw limited(RETRY_AFTER);
    }
  }

  /**
   * Takes a signature with the identity key from the neighbourhood's allowance and from that of all.
   *
   * @throws HttpError ADDRESS_LIMITED
   */
  async takeSignature(address: string): Promise<void> {
    await this.take('signature', address);
    const { limit, period } = this.rates.signature;
    if (limit > 0 && !(await this.meters.take('address/signature', 2 * limit, period))) {
      throw new HttpError('ADDRESS_LIMITED', 503, 'Too many clients register');
    }
  }

  /** Counts a failure; when there were too many, the neighbourhood is blocked for a tenth of the rate's period. */
  async countFailure(what: keyof AddressRates, address: string): Promise<void> {
    const { limit, period } = this.rates[what];
    const key = meterKey(what, address);
    if (limit > 0 && !(await this.meters.take(key, limit, period))) {
      this.blocked.delete(key);
      this.blocked.set(key, this.clock.now() + period / 10);
      for (const oldest of this.blocked.keys()) {
        if (this.blocked.size <= MAX_BLOCKED) {
          break;
        }
        this.blocked.delete(oldest);
      }
    }
  }

  /** Whether any neighbourhood is blocked. */
  get hasBlocked(): boolean {
    return this.blocked.size > 0;
  }

  /** @throws HttpError ADDRESS_LIMITED, while the address's neighbourhood is blocked for its failures */
  requireFewFailures(what: keyof AddressRates, address: string): void {
    if (!this.hasBlocked) {
      return;
    }
    const key = meterKey(what, address);
    const until = this.blocked.get(key);
    if (until === undefined) {
      return;
    }
    const left = until - this.clock.now();
    if (left > 0) {
      throw limited(Math.ceil(left / 1000));
    }
    this.blocked.delete(key);
  }
}

function meterKey(what: keyof AddressRates, address: string): string {
  return `address/${what}/${addressBlock(address)}`;
}

function limited(retryAfter: number): HttpError {
  return new HttpError('ADDRESS_LIMITED', 503, 'Too many requests from your network', retryAfter);
}
