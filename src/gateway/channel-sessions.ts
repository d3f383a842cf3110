/**
 * Channel sessions with private gateways (RS-003): each message is encrypted for the peer's newest key and brings a new
 * one of the sender's.
 */
import { readEnvelopedData } from '../awala/cms/enveloped-data.ts';
import {
  encryptMessage,
  readSessionRecipient,
  type SessionAlgorithms,
  type SessionRecipient,
} from '../awala/cms/write-enveloped-data.ts';
import type { SessionKeyPair } from '../awala/session-key.ts';
import { GatewayError } from './errors.ts';
import type { PeerSessionKeys } from './peer-session-keys.ts';
import type { Random } from './ports.ts';
import type { SessionKeys } from './session-keys.ts';

/** Keys that are made at once for messages to come. */
const MOST_KEYS_AHEAD = 16;

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

  /** For several messages to `peer`, one after another. @returns to be disposed of */
  messagesTo(peer: string): OutgoingMessages {
    const { sessionKeys, peerKeys, random, algorithms } = this;
    return new OutgoingMessages(peer, { sessionKeys, peerKeys, random, algorithms });
  }
}

interface OutgoingMessagesParts {
  readonly sessionKeys: SessionKeys;
  readonly peerKeys: PeerSessionKeys;
  readonly random: Random;
  readonly algorithms: SessionAlgorithms | undefined;
}

/**
 * Messages to one peer, each with a new key of ours, whose private half is durable before it is used. Keys are made a few
 * ahead, so that they share a write; those that no message took are taken back.
 */
export class OutgoingMessages implements AsyncDisposable {
  private readonly peer: string;
  private readonly parts: OutgoingMessagesParts;
  /** The peer's newest key as it was read last. */
  private recipient: SessionRecipient | undefined;
  private keys: SessionKeyPair[] = [];
  /** How many keys are made the next time. */
  private ahead = 1;

  /** To be had from `ChannelSessions.messagesTo`. */
  constructor(peer: string, parts: OutgoingMessagesParts) {
    this.peer = peer;
    this.parts = parts;
  }

  /**
   * Encrypts a message; not to be called before the last one is done.
   *
   * @param plaintext in pieces
   * @returns the message, in pieces
   * @throws GatewayError SESSION_KEY_UNKNOWN when the peer has sent nothing yet; StoreError
   */
  async encrypt(plaintext: readonly Buffer[]): Promise<Buffer[]> {
    const { sessionKeys, peerKeys, random, algorithms } = this.parts;
    const newest = await peerKeys.newest(this.peer);
    if (!newest) {
      throw new GatewayError('SESSION_KEY_UNKNOWN', `No session key of ${this.peer} is known`);
    }
    if (!this.recipient?.keyId.equals(newest.keyId) || !this.recipient.publicKey.equals(newest.publicKey)) {
      this.recipient = readSessionRecipient(newest);
    }
    const { recipient } = this;
    if (this.keys.length === 0) {
      const made = Array.from({ length: this.ahead }, () => sessionKeys.createForMessage(this.peer));
      this.keys = await Promise.all(made);
      this.ahead = Math.min(2 * this.ahead, MOST_KEYS_AHEAD);
    }
    const sender = this.keys.pop() as SessionKeyPair;
    return encryptMessage({ plaintext, recipient, sender, random, ...(algorithms && { algorithms }) });
  }

  /** What is not taken back goes as old keys do. Never rejects. */
  async [Symbol.asyncDispose](): Promise<void> {
    const unused = this.keys;
    this.keys = [];
    await Promise.allSettled(unused.map((key) => this.parts.sessionKeys.discard(key, this.peer)));
  }
}
