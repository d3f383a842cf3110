/**
 * What each neighbourhood of addresses (a /24 of IPv4, a /56 of IPv6) has at once, within a bound, and which has most:
 * when there is no room at all, that one makes some for the others.
 */
import { addressBlock } from './addresses.ts';

/** What one neighbourhood has; shared by all that entered from it. */
export interface Neighbourhood<Member> {
  readonly block: string;
  /** Those who came first at the front. */
  readonly members: Set<Member>;
}

export class Neighbourhoods<Member> {
  private readonly most: number;
  private readonly all = new Map<string, Neighbourhood<Member>>();
  /** Those of each size, so that the largest is found at once among thousands. */
  private readonly bySize = new Map<number, Set<Neighbourhood<Member>>>();
  private largestSize = 0;

  /** @param most how many one neighbourhood may have; 0 is no limit */
  constructor(most: number) {
    this.most = most;
  }

  /** Adds one that is at this address, until `leave`; undefined when its neighbourhood has too many. */
  enter(address: string, member: Member): Neighbourhood<Member> | undefined {
    const block = addressBlock(address);
    let neighbourhood = this.all.get(block);
    if (!neighbourhood) {
      neighbourhood = { block, members: new Set() };
      this.all.set(block, neighbourhood);
    }
    const { size } = neighbourhood.members;
    if (this.most > 0 && size >= this.most) {
      return undefined;
    }
    neighbourhood.members.add(member);
    this.resize(neighbourhood, size);
    return neighbourhood;
  }

  leave(neighbourhood: Neighbourhood<Member>, member: Member): void {
    const { members, block } = neighbourhood;
    const { size } = members;
    if (members.delete(member)) {
      this.resize(neighbourhood, size);
      if (members.size === 0) {
        this.all.delete(block);
      }
    }
  }

  /** How many one at this address is among. */
  sizeOf(address: string): number {
    return this.all.get(addressBlock(address))?.members.size ?? 0;
  }

  /** One that none has more than; undefined when there is none. */
  get largest(): Neighbourhood<Member> | undefined {
    return this.bySize.get(this.largestSize)?.values().next().value;
  }

  private resize(neighbourhood: Neighbourhood<Member>, before: number): void {
    const { size } = neighbourhood.members;
    const old = this.bySize.get(before);
    if (old?.delete(neighbourhood) && old.size === 0) {
      this.bySize.delete(before);
    }
    if (size > 0) {
      this.bySize.set(size, (this.bySize.get(size) ?? new Set()).add(neighbourhood));
    }
    // It has changed by one, so that this is the next largest.
    this.largestSize = Math.max(size, this.bySize.has(this.largestSize) ? this.largestSize : this.largestSize - 1);
  }
}
