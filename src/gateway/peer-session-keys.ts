/**
 * The newest session key of each peer (RS-003): what messages to it are encrypted with.
 */
import type { PublicSessionKey } from '../awala/session-key.ts';
import type { Records, StoredRecord } from './ports.ts';
import { DAY } from './time.ts';

/** How long a key is kept after the message that brought it: a peer that is silent for longer registers again. */
const LIFETIME = 400 * DAY;

const KIND = 'peer-session-keys';

export class PeerSessionKeys {
  private readonly records: Records;

  constructor({ records }: { records: Records }) {
    this.records = records;
  }

  /** @returns undefined when no message of the peer has been decrypted yet. @throws StoreError */
  async newest(peer: string): Promise<PublicSessionKey | undefined> {
    const record = await this.records.get(KIND, peer);
    return (
      record && {
        keyId: Buffer.from(record.fields['keyId'] as Uint8Array),
        publicKey: Buffer.from(record.fields['publicKey'] as Uint8Array),
      }
    );
  }

  /**
   * Takes a key that a message brought, unless a message created later has brought one: two workers never move it back.
   * Of messages with one creation date, any will do (protocol section 5).
   *
   * @param creation the message's, in milliseconds
   * @throws StoreError
   */
  async offer(peer: string, key: PublicSessionKey, creation: number): Promise<void> {
    for (;;) {
      const stored = await this.records.get(KIND, peer);
      if (stored && !isNewer(stored, key, creation)) {
        return;
      }
      const fields = { keyId: key.keyId, publicKey: key.publicKey, creation };
      const expiry = creation + LIFETIME;
      const isWritten = stored
        ? await this.records.replace(KIND, peer, stored.version, fields, expiry)
        : await this.records.create(KIND, peer, fields, expiry);
      if (isWritten) {
        return;
      }
    }
  }
}

function isNewer({ fields }: StoredRecord, { keyId }: PublicSessionKey, creation: number): boolean {
  const stored = fields['creation'] as number;
  // The same message again writes nothing.
  return creation > stored || (creation === stored && !keyId.equals(fields['keyId'] as Uint8Array));
}
