/**
 * Parcels that came in cargo: for each we owe the private gateway that sent it a collection acknowledgement (PCA),
 * repeated with every collection until the parcel expires, since couriers lose cargo (protocol section 6).
 *
 * The same record tells that a parcel was taken already, so that repeating a cargo changes nothing.
 */
import type { ParcelCollectionAck } from '../../awala/cargo/parcel-collection-ack.ts';
import { MAX_TTL } from '../../awala/ramf/ramf-message.ts';
import { type ParcelName, parcelDigest } from '../parcel-at-rest.ts';
import type { Clock, Meters, Records, StoredRecord } from '../ports.ts';
import { Quota } from '../quota.ts';
import { SECOND } from '../time.ts';

/** For how many parcels of one private gateway acknowledgements are owed at once. */
const MAX_OWED = 100_000;

const KIND = 'collected-parcels';

/** Of SHA-256. */
const DIGEST_OCTETS = 32;

/** Versions of one parcel that are known again; of more, the latest. */
const VERSIONS = 8;

/** A parcel that came in cargo. */
export interface CollectedParcel extends ParcelName {
  /** SHA-256 of its octets. */
  readonly content: Buffer;
  /** Milliseconds since the epoch. */
  readonly expiry: number;
}

/** An acknowledgement that is owed. */
export interface OwedAck {
  readonly ack: ParcelCollectionAck;
  /** When the parcel was taken from cargo, in milliseconds: it is news to who collected before. */
  readonly collected: number;
  /** When it is owed no more, in milliseconds. */
  readonly expiry: number;
}

export class CollectedParcels {
  private readonly records: Records;
  private readonly clock: Clock;
  private readonly quota: Quota;

  constructor(parts: { records: Records; meters: Meters; clock: Clock; maxOwed?: number }) {
    this.records = parts.records;
    this.clock = parts.clock;
    this.quota = new Quota({
      meters: parts.meters,
      clock: parts.clock,
      name: KIND,
      limit: { count: parts.maxOwed ?? MAX_OWED, octets: 0 },
      entriesOf: (peer) => this.sizes(peer),
    });
  }

  /** Whether exactly this parcel of `peer` was taken from cargo before. @throws StoreError */
  async includes(peer: string, { content, ...name }: ParcelName & { content: Buffer }): Promise<boolean> {
    return versionsIn(await this.records.get(KIND, `${peer}/${parcelDigest(name)}`)).some((one) => one.equals(content));
  }

  /** Whether `peer` is owed the acknowledgement of a parcel, whatever its octets were. @throws StoreError */
  async isOwed(peer: string, name: ParcelName): Promise<boolean> {
    return (await this.records.get(KIND, `${peer}/${parcelDigest(name)}`)) !== undefined;
  }

  /**
   * Owes `peer` the acknowledgement of a parcel that was stored, or refused for good; durable when it resolves.
   *
   * @returns false when too many are owed already: the peer will send the parcel again
   * @throws StoreError
   */
  async add(peer: string, { sender, recipient, messageId, content, expiry }: CollectedParcel): Promise<boolean> {
    const now = this.clock.now();
    // A parcel that was refused may claim any date.
    const end = Math.min(expiry, now + MAX_TTL * SECOND);
    if (end <= now) {
      return true;
    }
    if (!(await this.quota.reserve(peer, 0))) {
      return false;
    }
    const key = `${peer}/${parcelDigest({ sender, recipient, messageId })}`;
    const fields = { sender, recipient, messageId, content, collected: now, end };
    // Nearly always the first of its name, which takes no look.
    if (!(await this.records.create(KIND, key, fields, end))) {
      const before = versionsIn(await this.records.get(KIND, key)).filter((one) => !one.equals(content));
      const all = Buffer.concat([...before.slice(1 - VERSIONS), content]);
      await this.records.put(KIND, key, { ...fields, content: all }, end);
    }
    return true;
  }

  /** All that is owed to `peer`, in no particular order. @throws StoreError */
  async *owedTo(peer: string): AsyncIterable<OwedAck> {
    for await (const { fields } of this.records.list(KIND, `${peer}/`)) {
      yield {
        ack: {
          senderEndpointId: fields['sender'] as string,
          recipientEndpointId: fields['recipient'] as string,
          parcelId: fields['messageId'] as string,
        },
        collected: fields['collected'] as number,
        expiry: fields['end'] as number,
      };
    }
  }

  private async *sizes(peer: string): AsyncIterable<{ size: number }> {
    for await (const _record of this.records.list(KIND, `${peer}/`)) {
      yield { size: 0 };
    }
  }
}

/** SHA-256 of each version, one after another in a field. */
function versionsIn(record: StoredRecord | undefined): Buffer[] {
  const octets = Buffer.from((record?.fields['content'] as Uint8Array | undefined) ?? []);
  return Array.from({ length: octets.length / DIGEST_OCTETS }, (_, index) =>
    octets.subarray(index * DIGEST_OCTETS, (index + 1) * DIGEST_OCTETS),
  );
}
