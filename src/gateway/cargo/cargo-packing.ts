/**
 * Packs messages into cargoes, in their order: as many as fit, and one by itself that is larger than the rest may be.
 */
import { cargoItemOctets, MAX_CARGO_ITEMS } from '../../awala/cargo/cargo-message-set.ts';
import type { TraceIds } from '../errors.ts';

/** A message that is to travel in cargo. */
export interface OutgoingItem {
  readonly bytes: Buffer;
  /** ms since 1970 */
  readonly expiry: number;
  /** Tells it from every other that goes to the same private gateway: 8 octets, as a binary string. */
  readonly digest: string;
  /** What traces it, if it is a parcel. */
  readonly ids?: TraceIds;
  /** When it came here, if it is a parcel: ms since 1970. */
  readonly arrival?: number;
}

/** What goes into one cargo. */
export interface PackedCargo {
  readonly items: readonly OutgoingItem[];
  /** That of the item that lives longest: ms since 1970. */
  readonly expiry: number;
}

/**
 * @param batches messages, as many together as come at once
 * @param room how many octets the next cargo's message set may have; asked when each is begun
 * @returns cargoes of one item at least, and of more only while they have that room
 */
export async function* packCargoes(
  batches: AsyncIterable<readonly OutgoingItem[]>,
  room: () => number,
): AsyncGenerator<PackedCargo> {
  let packed: OutgoingItem[] = [];
  let roomLeft = 0;
  for await (const items of batches) {
    for (const item of items) {
      const octets = cargoItemOctets(item.bytes.length);
      if (packed.length > 0 && (octets > roomLeft || packed.length >= MAX_CARGO_ITEMS)) {
        yield sealed(packed);
        packed = [];
      }
      if (packed.length === 0) {
        roomLeft = room();
      }
      packed.push(item);
      roomLeft -= octets;
    }
  }
  if (packed.length > 0) {
    yield sealed(packed);
  }
}

function sealed(items: readonly OutgoingItem[]): PackedCargo {
  return { items, expiry: items.reduce((latest, { expiry }) => Math.max(latest, expiry), 0) };
}
