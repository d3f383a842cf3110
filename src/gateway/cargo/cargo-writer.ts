/**
 * Writes cargo (RS-000, protocol section 6): messages for one private gateway, encrypted for its newest session key and
 * signed under the authorization (CDA) that it gave.
 */
import { cargoMessageSetPieces } from '../../awala/cargo/cargo-message-set.ts';
import type { Certificate } from '../../awala/pki/certificate.ts';
import { MAX_TTL, RamfType } from '../../awala/ramf/ramf-message.ts';
import { ramfMessagePieces } from '../../awala/ramf/write-ramf.ts';
import type { OutgoingMessages } from '../channel-sessions.ts';
import type { OwnKey } from '../identity-keys.ts';
import type { Clock, Random } from '../ports.ts';
import { BACKDATING, SECOND } from '../time.ts';
import { newUuid } from '../uuid.ts';
import type { PackedCargo } from './cargo-packing.ts';

/** What a cargo takes besides its messages and certificates, in octets: some 1,300 with a key of 2048 bits. */
const ENVELOPE_OCTETS = 2048;

/** Who gets the cargo, and what lets us send it. */
export interface CargoAddress {
  /** The certificate of the private gateway that asks for it. */
  readonly recipient: Certificate;
  /** The certificate (CDA) that it issued to us. */
  readonly authorization: Certificate;
  /** The key of ours that the CDA is for. */
  readonly key: OwnKey;
}

/** How many octets a cargo has beyond those of the messages in it, at most. */
export function cargoOverhead({ recipient, authorization }: CargoAddress): number {
  return ENVELOPE_OCTETS + recipient.raw.length + authorization.raw.length;
}

export class CargoWriter {
  private readonly random: Random;
  private readonly clock: Clock;

  constructor(parts: { random: Random; clock: Clock }) {
    this.random = parts.random;
    this.clock = parts.clock;
  }

  /**
   * @param session with the recipient
   * @returns the cargo, DER with primitive strings, in pieces of memory of its own
   * @throws GatewayError SESSION_KEY_UNKNOWN; StoreError; Error when the key's keeper does not sign
   */
  async write({ items, expiry }: PackedCargo, address: CargoAddress, session: OutgoingMessages): Promise<Uint8Array[]> {
    const { recipient, authorization, key } = address;
    const plaintext = cargoMessageSetPieces(items.map(({ bytes }) => bytes));
    const now = this.clock.now();
    // Clients allow for no drift. A CDA never starts in the future by the clock of the one who issued it and reads this.
    const creation = Math.floor(Math.max(now - BACKDATING, authorization.notBefore) / SECOND) * SECOND;
    const payload = await session.encrypt(plaintext);
    const fields = {
      recipient: { id: recipient.subjectId },
      messageId: newUuid(this.random),
      creation,
      ttl: Math.min(MAX_TTL, Math.max(0, Math.ceil((expiry - creation) / SECOND))),
      payload,
    };
    const signer = { key: key.signing, certificate: authorization };
    // Without the recipient's certificate Android's courier drops cargo, though it acknowledges it.
    return ramfMessagePieces(RamfType.CARGO, fields, signer, [recipient]);
  }
}
