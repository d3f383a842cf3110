/**
 * Who collects under a cargo collection authorization (CCA): at most one call at a time, and at most one to the end.
 *
 * A claim is a lease with a fencing token, in a record that each new call takes over by compare-and-set. The newest call
 * always wins, so that one that hangs costs nobody a collection; the older one hears of it by a signal, or at its next
 * check of the record. Spending is a compare-and-set on the token, so that no two calls ever both end well.
 *
 * What couriers acknowledged is noted per call, and a later call under the same CCA goes on after it.
 */
import { createHash } from 'node:crypto';
import { GatewayError } from '../errors.ts';
import type { Records, Signals, StoredRecord, Subscription } from '../ports.ts';
import { CLOCK_DRIFT } from '../time.ts';

/** How often a claim is tried that others change under its hands: each time one of them has come further. */
const MAX_ATTEMPTS = 100;

/** Octets of what stands for an item in the notes: with 10,000 items the chance of a mistake is 1 in 10^11. */
export const ITEM_DIGEST_OCTETS = 8;

/** Octets of digests in one record, which holds 64 KiB. */
const NOTE_OCTETS = 4_000 * ITEM_DIGEST_OCTETS;

/** Digits of numbers in keys, so that they sort. */
const NUMBER_DIGITS = 6;

/** What names a CCA. */
export interface CcaName {
  /** Node id of the private gateway that signed it. */
  readonly sender: string;
  readonly messageId: string;
  /** ms since 1970 */
  readonly expiry: number;
}

export class CcaClaims {
  private readonly records: Records;
  private readonly signals: Signals;

  constructor(parts: { records: Records; signals: Signals }) {
    this.records = parts.records;
    this.signals = parts.signals;
  }

  /**
   * Claims a CCA, and ends the claim of whoever had it.
   *
   * @throws GatewayError CCA_SPENT; StoreError
   */
  async claim(cca: CcaName): Promise<CcaClaim> {
    const key = claimKey(cca);
    // It is accepted for so long after its end, too.
    const claim = new CcaClaim(this.records, key, cca.expiry + CLOCK_DRIFT);
    try {
      // First, so that no newer claim is missed.
      await claim.listen(this.signals);
      await claim.take();
    } catch (error) {
      claim.release();
      throw error;
    }
    this.signals.publish(channel(key), Buffer.from(`${claim.token}`));
    return claim;
  }

  /** Whether a collection under this CCA has ended well. @throws StoreError */
  async isSpent(cca: Pick<CcaName, 'sender' | 'messageId'>): Promise<boolean> {
    return (await this.records.get('cca-claims', claimKey(cca)))?.fields['isSpent'] === true;
  }
}

function claimKey({ sender, messageId }: Pick<CcaName, 'sender' | 'messageId'>): string {
  return createHash('sha256').update(`${sender}\0${messageId}`).digest('hex');
}

/** One call's claim. */
export class CcaClaim {
  private readonly records: Records;
  private readonly key: string;
  private readonly expiry: number;
  private readonly superseded = new AbortController();
  private subscription: Subscription | undefined;
  private newestHeardOf = 0;
  /** The record as this claim wrote it. */
  private version = '';
  private noteCount = 0;
  /** Tells this claim from earlier and later ones of the CCA: counts from 1. */
  token = 0;
  /** How many calls before this one ended without anything having been acknowledged to them. */
  fruitlessCalls = 0;
  /** Digests, in binary strings, of the items that couriers have acknowledged to earlier calls. */
  readonly acknowledged = new Set<string>();

  /** To be had from `CcaClaims.claim`. */
  constructor(records: Records, key: string, expiry: number) {
    this.records = records;
    this.key = key;
    this.expiry = expiry;
  }

  /** Aborts, with GatewayError CCA_SUPERSEDED, when a newer call is heard of. */
  get signal(): AbortSignal {
    return this.superseded.signal;
  }

  /** Makes sure that no newer call has the CCA. @throws GatewayError CCA_SUPERSEDED; StoreError */
  async check(): Promise<void> {
    this.signal.throwIfAborted();
    const record = await this.records.get('cca-claims', this.key);
    if (record?.version !== this.version) {
      throw this.supersede();
    }
  }

  /** The collection has ended well: nobody collects under this CCA again. @throws GatewayError CCA_SUPERSEDED; StoreError */
  async spend(): Promise<void> {
    this.signal.throwIfAborted();
    const fields = { token: this.token, fruitlessCalls: this.fruitlessCalls, isSpent: true };
    if (!(await this.records.replace('cca-claims', this.key, this.version, fields, this.expiry))) {
      throw this.supersede();
    }
    await this.removeNotes();
  }

  /**
   * Notes that a courier acknowledged these items; should it be lost, they are sent once more.
   *
   * @param digests of items, 8 octets each, one after another
   * @throws StoreError
   */
  async note(digests: Buffer): Promise<void> {
    for (let at = 0; at < digests.length; at += NOTE_OCTETS) {
      const key = `${this.key}/${numbered(this.token)}/${numbered(++this.noteCount)}`;
      const some = digests.subarray(at, at + NOTE_OCTETS);
      await this.records.create('cca-progress', key, { digests: some }, this.expiry);
    }
  }

  /** No longer listens for newer calls. */
  release(): void {
    this.subscription?.close();
  }

  async listen(signals: Signals): Promise<void> {
    const hear = (payload: Buffer) => {
      this.newestHeardOf = Math.max(this.newestHeardOf, Number(payload.toString('latin1')) || 0);
      if (this.token > 0 && this.newestHeardOf > this.token) {
        this.supersede();
      }
    };
    // What a gap has swallowed the next check finds.
    this.subscription = await signals.subscribe(channel(this.key), hear, () => undefined);
  }

  async take(): Promise<void> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const current = await this.records.get('cca-claims', this.key);
      if (current?.fields['isSpent']) {
        throw new GatewayError('CCA_SPENT', 'A collection under this CCA has ended well before');
      }
      const token = numberIn(current, 'token') + 1;
      const notes = await this.readNotes();
      // Calls that ended before anything was acknowledged tell of a link that is slower than was thought.
      const isFruitless = current !== undefined && !notes.has(token - 1);
      const fruitlessCalls = numberIn(current, 'fruitlessCalls') + (isFruitless ? 1 : 0);
      const fields = { token, fruitlessCalls, isSpent: false };
      const isTaken = current
        ? await this.records.replace('cca-claims', this.key, current.version, fields, this.expiry)
        : await this.records.create('cca-claims', this.key, fields, this.expiry);
      if (!isTaken) {
        continue;
      }
      this.token = token;
      this.fruitlessCalls = fruitlessCalls;
      const written = await this.records.get('cca-claims', this.key);
      if (!written || numberIn(written, 'token') !== token || this.newestHeardOf > token) {
        throw this.supersede();
      }
      this.version = written.version;
      return;
    }
    throw new GatewayError('CCA_SUPERSEDED', 'Too many calls under this CCA at once');
  }

  private supersede(): GatewayError {
    const error = new GatewayError('CCA_SUPERSEDED', 'A newer call collects under this CCA');
    this.superseded.abort(error);
    return error;
  }

  /** Takes in what was acknowledged; gives the tokens of the calls that it was acknowledged to. */
  private async readNotes(): Promise<Set<number>> {
    const tokens = new Set<number>();
    for await (const { key, fields } of this.records.list('cca-progress', `${this.key}/`)) {
      tokens.add(Number(key.split('/')[1]));
      const digests = Buffer.from(fields['digests'] as Uint8Array);
      for (let at = 0; at < digests.length; at += ITEM_DIGEST_OCTETS) {
        this.acknowledged.add(digests.toString('latin1', at, at + ITEM_DIGEST_OCTETS));
      }
    }
    return tokens;
  }

  /** What is left of them is gone when the CCA has expired. */
  private async removeNotes(): Promise<void> {
    if (this.acknowledged.size === 0 && this.noteCount === 0) {
      return;
    }
    const notes = await Array.fromAsync(this.records.list('cca-progress', `${this.key}/`));
    await Promise.all(notes.map(({ key }) => this.records.delete('cca-progress', key)));
  }
}

function numberIn(record: StoredRecord | undefined, field: string): number {
  return (record?.fields[field] as number | undefined) ?? 0;
}

function numbered(value: number): string {
  return String(value).padStart(NUMBER_DIGITS, '0');
}

function channel(key: string): string {
  return `cca-claim/${key}`;
}
