/**
 * The connection parameters (RS-000): what a private gateway needs to know of this one before it registers.
 */
import { writeConnectionParams } from '../awala/connection-params.ts';
import type { PublicSessionKey } from '../awala/session-key.ts';
import type { Identity } from './identity.ts';
import type { Clock, Records } from './ports.ts';
import type { SessionKeys } from './session-keys.ts';
import { DAY } from './time.ts';

/** The unbound session key is renewed at this age and decrypts until twice it (protocol section 5). */
const RENEWAL_AGE = 30 * DAY;

const RECORD = 'unbound-session-key';

interface UnboundKey extends PublicSessionKey {
  readonly created: number;
}

export class ConnectionParams {
  private readonly identity: Identity;
  private readonly sessionKeys: SessionKeys;
  private readonly records: Records;
  private readonly clock: Clock;
  private cached: { key: UnboundKey; issuer: string; bytes: Buffer } | undefined;

  constructor(parts: { identity: Identity; sessionKeys: SessionKeys; records: Records; clock: Clock }) {
    this.identity = parts.identity;
    this.sessionKeys = parts.sessionKeys;
    this.records = parts.records;
    this.clock = parts.clock;
  }

  /** The serialized parameters, with an unbound session key that is young enough. */
  async current(): Promise<Buffer> {
    const identityKey = this.identity.issuingKey();
    if (this.cached && this.isYoung(this.cached.key) && this.cached.issuer === identityKey.publicKey.nodeId) {
      return this.cached.bytes;
    }
    const key = await this.unboundKey();
    const bytes = writeConnectionParams({
      internetAddress: this.identity.internetAddress,
      identityKey: identityKey.publicKey.spki,
      sessionKey: key,
    });
    this.cached = { key, issuer: identityKey.publicKey.nodeId, bytes };
    return bytes;
  }

  /** The stored key, or a new one where it is missing or old; the record decides between replicas that both make one. */
  private async unboundKey(): Promise<UnboundKey> {
    for (;;) {
      const stored = await this.records.get('configuration', RECORD);
      if (stored) {
        const { keyId, publicKey, created } = stored.fields;
        const key: UnboundKey = {
          keyId: Buffer.from(keyId as Uint8Array),
          publicKey: Buffer.from(publicKey as Uint8Array),
          created: created as number,
        };
        if (this.isYoung(key)) {
          return key;
        }
      }
      const created = this.clock.now();
      const key = { ...(await this.sessionKeys.create(undefined, created + 2 * RENEWAL_AGE)), created };
      const won = stored
        ? await this.records.replace('configuration', RECORD, stored.version, { ...key })
        : await this.records.create('configuration', RECORD, { ...key });
      if (won) {
        return key;
      }
    }
  }

  private isYoung(key: UnboundKey): boolean {
    return this.clock.now() < key.created + RENEWAL_AGE;
  }
}
