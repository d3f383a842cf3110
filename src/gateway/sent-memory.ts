/**
 * Parcels that an Internet node has taken, remembered until they expire: a courier may bring weeks later what PoWeb
 * brought today (protocol section 3).
 *
 * The same octets need not go out again; others under the same ids are a replacement, and do.
 */
import { hash } from 'node:crypto';
import type { Records } from './ports.ts';
import { CLOCK_DRIFT } from './time.ts';

const KIND = 'sent-parcels';

/** A parcel that was sent on. */
export interface SentParcel {
  readonly digest: string;
  readonly fingerprint: string;
  /** The parcel's, in milliseconds. */
  readonly expiry: number;
}

export class SentMemory {
  private readonly records: Records;

  constructor({ records }: { records: Records }) {
    this.records = records;
  }

  /**
   * Whether just these octets were sent on.
   *
   * @param digest tells the parcel from every other (`ParcelAtRest`)
   * @param fingerprint of the octets
   */
  async includes(digest: string, fingerprint: string): Promise<boolean> {
    return (await this.fingerprint(digest)) === fingerprint;
  }

  /** The fingerprint of the octets that were sent on last; undefined where none were. @throws StoreError */
  async fingerprint(digest: string): Promise<string | undefined> {
    return (await this.records.get(KIND, digest))?.fields['octets'] as string | undefined;
  }

  /** As `fingerprint` with each, in their order. @throws StoreError */
  async fingerprints(digests: readonly string[]): Promise<(string | undefined)[]> {
    const { records } = this;
    const found = await (records.getAll?.(KIND, digests) ??
      Promise.all(digests.map((digest) => records.get(KIND, digest))));
    return found.map((record) => record?.fields['octets'] as string | undefined);
  }

  /** As `add` with each. @throws StoreError when any of them may not be durable */
  async addAll(sent: readonly SentParcel[]): Promise<void> {
    const { records } = this;
    // The same parcel may be among them twice: the last counts.
    const written = new Map(
      sent.map(({ digest, fingerprint, expiry }) => [
        digest,
        { key: digest, fields: { octets: fingerprint }, expiry: expiry + CLOCK_DRIFT },
      ]),
    );
    const all = [...written.values()];
    await (records.putAll?.(KIND, all) ??
      Promise.all(all.map(({ key, fields, expiry }) => records.put(KIND, key, fields, expiry))));
  }

  /** To be called when they were sent on, and never before; durable when it resolves. @param expiry the parcel's */
  async add(digest: string, fingerprint: string, expiry: number): Promise<void> {
    // For as long as it may come again.
    await this.records.put(KIND, digest, { octets: fingerprint }, expiry + CLOCK_DRIFT);
  }
}

/** SHA-256 of a parcel's octets. */
export function fingerprintOf(octets: Buffer): string {
  return hash('sha256', octets, 'base64url');
}
