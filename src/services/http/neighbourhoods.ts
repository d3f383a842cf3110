/**
 * Counts what each neighbourhood of addresses (a /24 of IPv4, a /56 of IPv6) has at once, within a bound.
 */
import { addressBlock } from './addresses.ts';

/** How many there are of one neighbourhood; shared by all that entered from it. */
export interface Neighbourhood {
  readonly block: string;
  count: number;
}

export class Neighbourhoods {
  private readonly most: number;
  private readonly all = new Map<string, Neighbourhood>();

  /** @param most how many one neighbourhood may have; 0 is no limit */
  constructor(most: number) {
    this.most = most;
  }

  /** Counts one more from this address, until `leave`; undefined when its neighbourhood has too many. */
  enter(address: string): Neighbourhood | undefined {
    const block = addressBlock(address);
    let neighbourhood = this.all.get(block);
    if (!neighbourhood) {
      neighbourhood = { block, count: 0 };
      this.all.set(block, neighbourhood);
    }
    if (this.most > 0 && neighbourhood.count >= this.most) {
      return undefined;
    }
    neighbourhood.count++;
    return neighbourhood;
  }

  leave(neighbourhood: Neighbourhood): void {
    if (--neighbourhood.count === 0) {
      this.all.delete(neighbourhood.block);
    }
  }
}
