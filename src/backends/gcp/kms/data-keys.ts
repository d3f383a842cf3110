/**
 * The data keys of envelope encryption: a new one each day for the whole fleet, wrapped by KMS, and in memory for minutes
 * after its last use at most.
 *
 * KMS is asked once for each data key in so many minutes, however much is wrapped and unwrapped meanwhile: a fleet has
 * no more of them than the days for which session keys last.
 */
import { createSecretKey, type KeyObject } from 'node:crypto';
import type { Clock, Random, Records } from '../../../gateway/ports.ts';
import type { KmsClient } from './kms-client.ts';

const KEY_OCTETS = 32;

/** How long a data key stays in memory, in milliseconds. */
const LIFETIME = 5 * 60_000;

/** Data keys in memory; more than the days for which the longest-lived session key lasts. */
const MAX_KEYS = 512;

const DAY = 86_400_000;

/** How long the record of a day's key is kept, in milliseconds: what was wrapped carries its own copy. */
const RECORD_LIFETIME = 2 * DAY;

/** A data key in use. */
export interface DataKey {
  readonly key: KeyObject;
  /** As KMS encrypted it. */
  readonly wrapped: Buffer;
}

interface Remembered {
  readonly key: Promise<KeyObject>;
  /** In milliseconds. */
  readonly until: number;
}

export class DataKeys {
  private readonly parts: DataKeysParts;
  private readonly context: Buffer;
  /** By the wrapped key, in base64; oldest first. */
  private readonly remembered = new Map<string, Remembered>();
  private today: { readonly day: string; readonly wrapped: Promise<Buffer> } | undefined;

  constructor(parts: DataKeysParts) {
    this.parts = parts;
    this.context = Buffer.from(`relay-gateway/data-key/${parts.owner}`);
  }

  /** The key to wrap with today. @throws KmsError, StoreError */
  async current(): Promise<DataKey> {
    const day = new Date(this.parts.clock.now()).toISOString().slice(0, 10);
    if (this.today?.day !== day) {
      const wrapped = this.find(day);
      const today = { day, wrapped };
      this.today = today;
      wrapped.catch(() => {
        if (this.today === today) {
          this.today = undefined;
        }
      });
    }
    const wrapped = await this.today.wrapped;
    return { wrapped, key: await this.unwrap(wrapped) };
  }

  /** @throws KmsError KMS_REQUEST_REFUSED when it was changed, or wrapped for another owner; StoreError */
  unwrap(wrapped: Buffer): Promise<KeyObject> {
    this.forgetOld();
    const name = wrapped.toString('base64');
    const known = this.remembered.get(name);
    if (known) {
      return known.key;
    }
    const key = this.parts.kms.decrypt(this.parts.key, wrapped, this.context).then((octets) => {
      if (octets.length !== KEY_OCTETS) {
        throw new Error('Not a data key');
      }
      return secretKey(octets);
    });
    this.remember(name, key);
    return key;
  }

  /** Drops from memory what has been there for its time. */
  forgetOld(): void {
    const now = this.parts.clock.now();
    for (const [name, { until }] of this.remembered) {
      // All stay equally long, so the rest is younger; the clock may have been set back, though.
      if (until > now && until <= now + LIFETIME) {
        break;
      }
      this.remembered.delete(name);
    }
  }

  /** The day's key, made where there is none; the record decides between replicas that make one at the same time. */
  private async find(day: string): Promise<Buffer> {
    const { kms, key, clock, random } = this.parts;
    const records = await this.parts.records;
    const name = `data-key/${day}`;
    const stored = await records.get('configuration', name);
    if (stored) {
      return Buffer.from(stored.fields['wrapped'] as Uint8Array);
    }
    const octets = random(KEY_OCTETS);
    const wrapped = await kms.encrypt(key, octets, this.context);
    const made = secretKey(octets);
    if (await records.create('configuration', name, { wrapped }, clock.now() + RECORD_LIFETIME)) {
      this.remember(wrapped.toString('base64'), Promise.resolve(made));
      return wrapped;
    }
    return this.find(day);
  }

  private remember(name: string, key: Promise<KeyObject>): void {
    const entry = { key, until: this.parts.clock.now() + LIFETIME };
    this.remembered.set(name, entry);
    key.catch(() => {
      if (this.remembered.get(name) === entry) {
        this.remembered.delete(name);
      }
    });
    if (this.remembered.size > MAX_KEYS) {
      this.remembered.delete(this.remembered.keys().next().value as string);
    }
  }
}

export interface DataKeysParts {
  readonly kms: KmsClient;
  /** Name of the key that wraps: `projects/…/cryptoKeys/…`. */
  readonly key: string;
  /** Whose data keys they are: only this gateway can have them unwrapped. */
  readonly owner: string;
  readonly records: Records | Promise<Records>;
  readonly clock: Clock;
  readonly random: Random;
}

/** Takes the octets away from where they were. */
function secretKey(octets: Buffer): KeyObject {
  const key = createSecretKey(octets);
  octets.fill(0);
  return key;
}
