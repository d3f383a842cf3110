/**
 * Channel sessions with private gateways (RS-003): each message is encrypted for the peer's newest key and brings a new
 * one of the sender's.
 */
import { readEnvelopedData } from '../awala/cms/enveloped-data.ts';
import { encryptMessage, type SessionAlgorithms } from '../awala/cms/write-enveloped-data.ts';
import { GatewayError } from './errors.ts';
import type { PeerSessionKeys } from './peer-session-keys.ts';
import type { Random } from './ports.ts';
import type { SessionKeys } from './session-keys.ts';

export class ChannelSessions {
  private readonly sessionKeys: SessionKeys;
  private readonly peerKeys: PeerSessionKeys;
  private readonly random: Random;
  private readonly algorithms: SessionAlgorithms | undefined;

  /** @param parts.algorithms what is sent; those that every deployed client reads by default */
  constructor(parts: {
    sessionKeys: SessionKeys;
    peerKeys: PeerSessionKeys;
    random: Random;
    algorithms?: SessionAlgorithms;
  }) {
    this.sessionKeys = parts.sessionKeys;
    this.peerKeys = parts.peerKeys;
    this.random = parts.random;
    this.algorithms = parts.algorithms;
  }

  /**
   * Decrypts a message and takes in the sender's new key.
   *
   * @param message the payload of cargo or of a CCA
   * @param peer node id of the private gateway that signed it
   * @param creation of the signed message, in milliseconds
   * @returns the plaintext
   * @throws AwalaError as `readEnvelopedData`, DECRYPTION_FAILED; GatewayError SESSION_KEY_UNKNOWN; StoreError
   */
  async decrypt(message: Buffer, peer: string, creation: number): Promise<Buffer> {
    const envelope = readEnvelopedData(message);
    const key = await this.sessionKeys.open(envelope.recipientKeyId, peer);
    if (!key) {
      const id = envelope.recipientKeyId.toString('hex');
      throw new GatewayError('SESSION_KEY_UNKNOWN', `Session key ${id} is not known, or not for ${peer}`);
    }
    const plaintext = envelope.decrypt(key.privateKey);
    // It is on the curve of ours, or it would not have decrypted.
    const { originatorKeyId: keyId, originatorKey } = envelope;
    await this.peerKeys.offer(peer, { keyId, publicKey: originatorKey.spki }, creation);
    await this.sessionKeys.noteUse(key, peer);
    return plaintext;
  }

  /**
   * Encrypts a message for `peer` with a new key of ours, whose private half is durable when it resolves.
   *
   * @param plaintext in pieces
   * @returns the message, in pieces
   * @throws GatewayError SESSION_KEY_UNKNOWN when the peer has sent nothing yet; StoreError
   */
  async encrypt(plaintext: readonly Buffer[], peer: string): Promise<Buffer[]> {
    const recipient = await this.peerKeys.newest(peer);
    if (!recipient) {
      throw new GatewayError('SESSION_KEY_UNKNOWN', `No session key of ${peer} is known`);
    }
    const sender = await this.sessionKeys.createForMessage(peer);
    const { random, algorithms } = this;
    return encryptMessage({ plaintext, recipient, sender, random, ...(algorithms && { algorithms }) });
  }
}
