/**
 * This gateway's own session keys (RS-003): made, stored wrapped, and bound to the peer that each was given to.
 *
 * A record's name begins with the peer that the key is bound to, so that a message of another peer does not even find it.
 */
import type { PublicSessionKey, SessionKeyPair } from '../awala/session-key.ts';
import type { Clock, KeyWrapping, NewKeyPair, Random, Records, StoredRecord } from './ports.ts';
import { DAY } from './time.ts';

/** Octets of a session key's id (RS-003). */
const KEY_ID_OCTETS = 8;

/**
 * How long a key lasts that went out with a message, in milliseconds, unless a newer one is used before: longer than a
 * private gateway's certificate, so that its next registration brings another key in time.
 */
const MESSAGE_KEY_LIFETIME = 210 * DAY;

/** How long a key stays once a newer one has been used: for what is in transit (protocol section 5). */
const GRACE = 30 * DAY;

const UNBOUND = 'unbound';

/** A private key that was found, with what it takes to say that it was used. */
export interface OpenedSessionKey {
  /** PKCS#8, DER. */
  readonly privateKey: Buffer;
  readonly record: StoredRecord;
}

export class SessionKeys {
  private readonly records: Records;
  private readonly wrapping: KeyWrapping;
  private readonly newKeyPair: NewKeyPair;
  private readonly random: Random;
  private readonly clock: Clock;

  constructor(parts: {
    records: Records;
    wrapping: KeyWrapping;
    newKeyPair: NewKeyPair;
    random: Random;
    clock: Clock;
  }) {
    this.records = parts.records;
    this.wrapping = parts.wrapping;
    this.newKeyPair = parts.newKeyPair;
    this.random = parts.random;
    this.clock = parts.clock;
  }

  /**
   * Makes a key and stores its private half, wrapped; durable when it resolves. It stays until its expiry, whatever
   * newer keys are used: clients that got it with their registration know of no other.
   *
   * @param peer node id of the only private gateway whose messages it decrypts, or undefined for anybody's
   * @param expiry when the key may go, in milliseconds
   */
  async create(peer: string | undefined, expiry: number): Promise<PublicSessionKey> {
    const { keyId, publicKey } = await this.store(peer, expiry, true);
    return { keyId, publicKey };
  }

  /** Makes the key of one message to `peer`: for its answers, until a newer one is used. Durable when it resolves. */
  createForMessage(peer: string): Promise<SessionKeyPair> {
    return this.store(peer, this.clock.now() + MESSAGE_KEY_LIFETIME, false);
  }

  /** Takes back a key that `createForMessage` made, and no message went out with. @throws StoreError */
  async discard({ keyId }: PublicSessionKey, peer: string): Promise<void> {
    await this.records.delete('session-keys', nameOf(keyId, peer));
  }

  /** Whether there is a key of this id, bound to `peer`, or to nobody where it is undefined. @throws StoreError */
  async has(keyId: Buffer, peer: string | undefined): Promise<boolean> {
    return (await this.records.get('session-keys', `${peer ?? UNBOUND}/${keyId.toString('hex')}`)) !== undefined;
  }

  /**
   * Takes over a key that another implementation made; durable when it resolves. It stays until its expiry.
   *
   * @param times when it was made, and when it may go, in milliseconds
   * @returns false when there is one of this id
   * @throws StoreError
   */
  async adopt(
    peer: string | undefined,
    { keyId, privateKey }: Pick<SessionKeyPair, 'keyId' | 'privateKey'>,
    { created, expiry }: { readonly created: number; readonly expiry: number },
  ): Promise<boolean> {
    const name = `${peer ?? UNBOUND}/${keyId.toString('hex')}`;
    const fields = { privateKey: await this.wrapping.wrap(privateKey, wrappingContext(name)), created, expiry };
    return this.records.create('session-keys', name, { ...fields, isLasting: true, isUsed: false }, expiry);
  }

  /**
   * Finds the private half of a key by its id, for a message of `peer`.
   *
   * @returns undefined when there is none, or it is bound to another peer
   * @throws StoreError; Error when the key at rest was tampered with
   */
  async open(keyId: Buffer, peer: string): Promise<OpenedSessionKey | undefined> {
    for (const owner of [peer, UNBOUND]) {
      const name = nameOf(keyId, owner);
      const record = await this.records.get('session-keys', name);
      if (record) {
        const wrapped = record.fields['privateKey'] as Uint8Array;
        return { privateKey: await this.wrapping.unwrap(wrapped, wrappingContext(name)), record };
      }
    }
    return undefined;
  }

  /**
   * Notes that a message was decrypted with this key: older ones of its peer go in 30 days, but for those given at
   * registrations. What it stores may be lost or done twice without harm.
   *
   * @throws StoreError
   */
  async noteUse({ record }: OpenedSessionKey, peer: string): Promise<void> {
    const { isUsed, created } = record.fields;
    if (isUsed || record.key.startsWith(`${UNBOUND}/`)) {
      return;
    }
    const end = this.clock.now() + GRACE;
    for await (const { key, version, fields } of this.records.list('session-keys', `${peer}/`)) {
      const isOlder = (fields['created'] as number) < (created as number);
      if (isOlder && !fields['isLasting'] && (fields['expiry'] as number) > end) {
        await this.records.replace('session-keys', key, version, { ...fields, expiry: end }, end);
      }
    }
    // Last, so that a crash in between has the next use do it again.
    const { key, version, fields } = record;
    await this.records.replace('session-keys', key, version, { ...fields, isUsed: true }, fields['expiry'] as number);
  }

  private async store(peer: string | undefined, expiry: number, isLasting: boolean): Promise<SessionKeyPair> {
    const keyId = this.random(KEY_ID_OCTETS);
    const { privateKey, publicKey } = await this.newKeyPair();
    const name = nameOf(keyId, peer ?? UNBOUND);
    const wrapped = await this.wrapping.wrap(privateKey, wrappingContext(name));
    await this.records.put(
      'session-keys',
      name,
      { privateKey: wrapped, created: this.clock.now(), expiry, isLasting, isUsed: false },
      expiry,
    );
    return { keyId, privateKey, publicKey };
  }
}

/** @param owner the peer that the key is bound to, or `UNBOUND` */
function nameOf(keyId: Buffer, owner: string): string {
  return `${owner}/${keyId.toString('hex')}`;
}

/** What a wrapped key is tied to: swapping two peers' stored keys makes both unreadable. */
function wrappingContext(name: string): string {
  return `session-key/${name}`;
}
