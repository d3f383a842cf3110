/**
 * The list of identity keys in the records: numbered, the newest last. Each older one is served until it has ended.
 */
import { type RsaPublicKey, readRsaPublicKey } from '../awala/pki/rsa-public-key.ts';
import type { Clock, IdentityKey, IdentityKeys, Records, StoredRecord } from './ports.ts';
import { DAY } from './time.ts';

/**
 * How long a key is served after the next one was made, in milliseconds, and for as long as it has a certificate: the last
 * one that it signed lasts 180 days, and until then private gateways may issue authorizations (CDA) for it, of 180 days at
 * most.
 */
const SERVICE_AFTER_ROTATION = 360 * DAY;

/** Records list in key order, so numbers have leading zeros. */
const NUMBER_DIGITS = 4;

/** One of our keys, with its public half read. */
export interface OwnKey {
  readonly signing: IdentityKey;
  readonly publicKey: RsaPublicKey;
  /** Counts from 1. */
  readonly number: number;
  /** When it was made, in milliseconds. */
  readonly created: number;
  /** From when on it issues, in milliseconds; before that it only verifies. */
  readonly issuesFrom: number;
  /** Until when it is served at least, in milliseconds; undefined for the newest. */
  readonly end: number | undefined;
}

export class IdentityKeyList {
  private readonly records: Records;
  private readonly identityKeys: IdentityKeys;
  private readonly clock: Clock;

  constructor(parts: { records: Records; identityKeys: IdentityKeys; clock: Clock }) {
    this.records = parts.records;
    this.identityKeys = parts.identityKeys;
    this.clock = parts.clock;
  }

  /**
   * The keys that are served, oldest first. One that has ended is not opened: its keeper may have destroyed it.
   *
   * @param known keys that were opened before
   * @param isCertified whether a key has a certificate that has not expired
   * @throws StoreError; Error when a key cannot be opened
   */
  async load(known: readonly OwnKey[], isCertified: (nodeId: string) => boolean): Promise<OwnKey[]> {
    const records = await Array.fromAsync(this.records.list('identity-keys'));
    const keys: OwnKey[] = [];
    for (const [index, record] of records.entries()) {
      const { reference, created, issuesFrom, nodeId } = record.fields;
      const end = endOf(records[index + 1]);
      if (end !== undefined && end < this.clock.now() && nodeId && !isCertified(nodeId as string)) {
        continue;
      }
      const opened = known.find((key) => key.signing.reference === reference);
      const signing = opened?.signing ?? (await this.identityKeys.open(reference as string));
      keys.push({
        signing,
        publicKey: opened?.publicKey ?? readRsaPublicKey(signing.spki),
        number: Number(record.key),
        created: created as number,
        issuesFrom: (issuesFrom as number | undefined) ?? (created as number),
        end,
      });
    }
    return keys;
  }

  /**
   * Adds a key, durable when it resolves.
   *
   * @param takeover for how long it only verifies, in milliseconds
   * @returns false when there is one of this number
   * @throws StoreError
   */
  add(number: number, { reference, spki }: IdentityKey, takeover: number): Promise<boolean> {
    const created = this.clock.now();
    return this.create(number, { reference, spki }, { created, issuesFrom: created + takeover });
  }

  /**
   * Adds a key that another implementation made, then, in milliseconds; it issues at once.
   *
   * @returns false when there is one of this number
   * @throws StoreError
   */
  adopt(number: number, key: IdentityKey, created: number): Promise<boolean> {
    return this.create(number, key, { created, issuesFrom: created });
  }

  /** How their keeper names all keys, also those that have ended; oldest first. @throws StoreError */
  async references(): Promise<string[]> {
    const records = await Array.fromAsync(this.records.list('identity-keys'));
    return records.map(({ fields }) => fields['reference'] as string);
  }

  private create(
    number: number,
    { reference, spki }: Pick<IdentityKey, 'reference' | 'spki'>,
    times: { readonly created: number; readonly issuesFrom: number },
  ): Promise<boolean> {
    const { nodeId } = readRsaPublicKey(spki);
    const name = String(number).padStart(NUMBER_DIGITS, '0');
    return this.records.create('identity-keys', name, { reference, nodeId, ...times });
  }
}

function endOf(successor: StoredRecord | undefined): number | undefined {
  return successor && (successor.fields['created'] as number) + SERVICE_AFTER_ROTATION;
}
