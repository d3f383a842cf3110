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
