/**
 * How large the next cargo of a collection may be: small at first, since a courier's call lasts a few seconds and nobody
 * knows how slow its link is; larger as long as acknowledgements come fast (protocol section 6).
 */
import { SECOND } from '../time.ts';

/** What a cargo acknowledged within this time doubles. */
const FAST = SECOND / 4;

/** What a cargo acknowledged after this time halves. */
const SLOW = SECOND;

/** The least that a cargo is made for, in octets: its envelope takes 3 to 5 KiB. */
export const LEAST_CARGO_OCTETS = 8 * 1024;

export class CargoPace {
  private readonly start: number;
  private readonly most: number;
  private size: number;

  /**
   * @param start octets of the first cargo of a collection
   * @param most octets of the largest
   * @param fruitlessCalls how many earlier calls got nothing acknowledged: each halves the start
   */
  constructor(start: number, most: number, fruitlessCalls: number) {
    this.most = most;
    this.start = Math.min(most, Math.max(LEAST_CARGO_OCTETS, Math.floor(start / 2 ** fruitlessCalls)));
    this.size = this.start;
  }

  /** How many octets the next cargo may have, envelope included. */
  get octets(): number {
    return this.size;
  }

  /**
   * @param octets of the cargo: a single message may have made it larger than it was to be
   * @param elapsed from its being sent to its acknowledgement, in milliseconds
   */
  acknowledged(octets: number, elapsed: number): void {
    if (elapsed <= FAST) {
      this.size = Math.min(this.most, Math.max(this.size, octets) * 2);
    } else if (elapsed > SLOW) {
      this.size = Math.max(this.start, Math.floor(this.size / 2));
    }
  }
}
