/**
 * The calls that are under way on a gRPC server, and what all of them may take together. When there is no more, those who
 * have most make room for others: a courier is nobody, so whoever came first must not keep the rest away.
 */
import { type Neighbourhood, Neighbourhoods } from '../http/neighbourhoods.ts';

export interface OpenCallsBounds {
  /** Calls at once, of all connections together. */
  readonly maxCalls: number;
  /** Calls at once from one neighbourhood of addresses; 0 is no limit. */
  readonly maxCallsPerAddress: number;
  /** Octets of messages that are not complete, or not answered, of all calls together. */
  readonly maxOctets: number;
  /** How long a call may be quiet, in milliseconds, before any network that has fewer may have its place. */
  readonly maxQuiet: number;
}

export interface OpenCall {
  /** It has brought a message. */
  readonly hasBrought: boolean;
  /** When something came or went last, on `performance.now`. */
  readonly active: number;
  /** Octets of a message that is not complete. */
  readonly incomplete: number;
  /** Ends it: the client may come again. */
  displace(): void;
}

export class OpenCalls {
  private readonly bounds: OpenCallsBounds;
  private readonly calls = new Map<OpenCall, Neighbourhood<OpenCall>>();
  private readonly neighbourhoods: Neighbourhoods<OpenCall>;
  private octets = 0;

  constructor(bounds: OpenCallsBounds) {
    this.bounds = bounds;
    this.neighbourhoods = new Neighbourhoods(bounds.maxCallsPerAddress);
  }

  /**
   * Adds a call from this address; another one may lose its place to it.
   *
   * @returns why it has no place; undefined when it has
   */
  enter(call: OpenCall, address: string): string | undefined {
    if (this.calls.size >= this.bounds.maxCalls) {
      const last = this.leastWorthy(this.neighbourhoods.sizeOf(address));
      if (!last) {
        return 'Too many calls at once';
      }
      last.displace();
    }
    const neighbourhood = this.neighbourhoods.enter(address, call);
    if (!neighbourhood) {
      return 'Too many calls at once from your network';
    }
    this.calls.set(call, neighbourhood);
    return undefined;
  }

  leave(call: OpenCall): void {
    const neighbourhood = this.calls.get(call);
    if (neighbourhood) {
      this.calls.delete(call);
      this.neighbourhoods.leave(neighbourhood, call);
    }
  }

  /** Half of the octets is taken: who has a message in hand should not take another one. */
  get isPressed(): boolean {
    return this.octets > this.bounds.maxOctets / 2;
  }

  /** Counts octets that came or, if negative, are no longer held. */
  count(octets: number): void {
    this.octets += octets;
    while (octets > 0 && this.octets > this.bounds.maxOctets) {
      const before = this.octets;
      let largest: OpenCall | undefined;
      for (const call of this.calls.keys()) {
        if (call.incomplete > (largest?.incomplete ?? 0)) {
          largest = call;
        }
      }
      largest?.displace();
      if (this.octets >= before) {
        // What is held is complete, and in hand.
        return;
      }
    }
  }

  /** The call whose place a neighbourhood with `own` calls may have: one of those who have most, quiet ones first. */
  private leastWorthy(own: number): OpenCall | undefined {
    const now = performance.now();
    let last: { call: OpenCall; size: number } | undefined;
    for (const [call, { members }] of this.calls) {
      const { size } = members;
      const hasMore = size > own + 1 || (size > own && now - call.active >= this.bounds.maxQuiet);
      if (hasMore && (!last || isLessWorthy(call, size, last))) {
        last = { call, size };
      }
    }
    return last?.call;
  }
}

function isLessWorthy(call: OpenCall, size: number, than: { call: OpenCall; size: number }): boolean {
  if (size !== than.size) {
    return size > than.size;
  }
  if (call.hasBrought !== than.call.hasBrought) {
    return !call.hasBrought;
  }
  return call.active < than.call.active;
}
