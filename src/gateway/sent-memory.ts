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

/** Versions of one parcel that are remembered; of more, the latest. */
const VERSIONS = 8;

/** A parcel that was sent on. */
export interface SentParcel {
  readonly digest: string;
  /** Of all its versions, made by `alsoSent`. */
  readonly fingerprints: string;
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
    return wasSent(await this.fingerprints([digest]).then(([sent]) => sent), fingerprint);
  }

  /**
   * Of each parcel, in their order, the fingerprints of all its versions that were sent on, for `wasSent` and `alsoSent`;
   * undefined where none were.
   *
   * @throws StoreError
   */
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
      sent.map(({ digest, fingerprints, expiry }) => [
        digest,
        { key: digest, fields: { octets: fingerprints }, expiry: expiry + CLOCK_DRIFT },
      ]),
    );
    const all = [...written.values()];
    await (records.putAll?.(KIND, all) ??
      Promise.all(all.map(({ key, fields, expiry }) => records.put(KIND, key, fields, expiry))));
  }

  /**
   * To be called when they were sent on, and never before; durable when it resolves.
   *
   * @param fingerprints as in `SentParcel`
   * @param expiry the parcel's
   */
  async add(digest: string, fingerprints: string, expiry: number): Promise<void> {
    // For as long as it may come again.
    await this.records.put(KIND, digest, { octets: fingerprints }, expiry + CLOCK_DRIFT);
  }
}

/** Whether these octets are among what was sent. @param sent as `SentMemory.fingerprints` gives it */
export function wasSent(sent: string | undefined, fingerprint: string): boolean {
  return sent?.includes(fingerprint) ?? false;
}

/** What is to be remembered once these octets were sent, too. @param sent as `SentMemory.fingerprints` gives it */
export function alsoSent(sent: string | undefined, fingerprint: string): string {
  return sent === undefined ? fingerprint : [...sent.split(' ').slice(1 - VERSIONS), fingerprint].join(' ');
}

/** SHA-256 of a parcel's octets. */
export function fingerprintOf(octets: Buffer): string {
  return hash('sha256', octets, 'base64url');
}
