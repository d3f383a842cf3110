/**
 * This gateway's own session keys (RS-003): made, stored wrapped, and bound to the peer that each was given to.
 */
import type { SessionKeyPair } from '../awala/session-key.ts';
import type { Clock, KeyWrapping, NewKeyPair, Random, Records } from './ports.ts';

/** Octets of a session key's id (RS-003). */
const KEY_ID_OCTETS = 8;

/** What a peer is given: the public half and its id. */
export type PublicSessionKey = Omit<SessionKeyPair, 'privateKey'>;

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
   * Makes a key and stores its private half, wrapped; durable when it resolves.
   *
   * @param peer node id of the only private gateway whose messages it decrypts, or undefined for anybody's
   * @param expiry when the key may go, in milliseconds
   */
  async create(peer: string | undefined, expiry: number): Promise<PublicSessionKey> {
    const keyId = this.random(KEY_ID_OCTETS);
    const { privateKey, publicKey } = await this.newKeyPair();
    const name = keyId.toString('hex');
    const wrapped = await this.wrapping.wrap(privateKey, wrappingContext(name, peer));
    await this.records.put(
      'session-keys',
      name,
      { peer: peer ?? null, privateKey: wrapped, created: this.clock.now() },
      expiry,
    );
    return { keyId, publicKey };
  }
}

/** What a wrapped key is tied to: swapping two peers' stored keys makes both unreadable. */
function wrappingContext(keyId: string, peer: string | undefined): string {
  return `session-key/${keyId}/${peer ?? ''}`;
}
