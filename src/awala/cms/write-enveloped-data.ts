/**
 * Writes messages of a channel session (RS-003, protocol section 5): CMS EnvelopedData (RFC 5652) for one recipient, by
 * key agreement (RFC 5753), DER with primitive strings.
 */
import { createPrivateKey } from 'node:crypto';
import { context, contextConstructed, Tag } from '../asn1/tags.ts';
import { constructed, header, integer, octetString, oid, sequence } from '../asn1/writer.ts';
import { AwalaError } from '../errors.ts';
import { Oid } from '../oids.ts';
import {
  type PublicSessionKey,
  readSessionPublicKey,
  type SessionKeyPair,
  type SessionPublicKey,
} from '../session-key.ts';
import {
  CONTENT_CIPHERS,
  type ContentCipher,
  ciphertextOctets,
  encryptContent,
  newContentEncryption,
  writeContentEncryption,
} from './content-cipher.ts';
import { agree, deriveKeyEncryptionKey, KEY_DERIVATIONS, type KeyDerivation } from './key-agreement.ts';
import { KEY_WRAPS, type KeyWrap, wrapKey } from './key-wrap.ts';
import { writeOriginatorKey } from './originator-key.ts';

/** RFC 5652, section 6.1: for key agreement and unprotected attributes. */
const ENVELOPED_DATA_VERSION = 2;
/** RFC 5652, section 6.2.2. */
const KEY_AGREEMENT_VERSION = 3;

/** What to encrypt with. */
export interface SessionAlgorithms {
  readonly content: ContentCipher;
  readonly keyDerivation: KeyDerivation;
  readonly keyWrap: KeyWrap;
  /** Octets of user keying material; 0 for none, which the JavaScript stack cannot read. */
  readonly ukmOctets: number;
}

/** What both deployed stacks read, at the least cost: RS-018's required algorithms but for CBC (protocol section 1). */
export const DEFAULT_SESSION_ALGORITHMS: SessionAlgorithms = {
  content: 'aes-128-cbc',
  keyDerivation: 'sha256',
  keyWrap: 'aes128-wrap',
  ukmOctets: 64,
};

export interface EnvelopedDataParts {
  /** The octets to encrypt, or pieces of them. */
  readonly plaintext: Buffer | readonly Buffer[];
  /** The peer's newest session key; read already where several messages go to it. */
  readonly recipient: PublicSessionKey | SessionRecipient;
  /** A key made for this message, on the recipient's curve; the peer answers with it. */
  readonly sender: SessionKeyPair;
  /** Gives unpredictable octets: the content's key, its initialization vector, the user keying material. */
  readonly random: (octets: number) => Buffer;
  readonly algorithms?: SessionAlgorithms;
}

/** A peer's session key that was read, for several messages. */
export interface SessionRecipient extends PublicSessionKey {
  readonly read: SessionPublicKey;
}

/** @throws AwalaError KEY_UNSUPPORTED */
export function readSessionRecipient({ keyId, publicKey }: PublicSessionKey): SessionRecipient {
  return { keyId, publicKey, read: readSessionPublicKey(publicKey) };
}

/**
 * Encrypts a message.
 *
 * @returns ContentInfo
 * @throws AwalaError KEY_UNSUPPORTED when the keys are not on one of RS-018's curves, or on different ones
 */
export function writeEnvelopedData(parts: EnvelopedDataParts): Buffer {
  return Buffer.concat(encryptMessage(parts));
}

/** As `writeEnvelopedData`, in pieces: to be joined by whoever sends it. */
export function encryptMessage(parts: EnvelopedDataParts): Buffer[] {
  const { recipient, sender, random, algorithms = DEFAULT_SESSION_ALGORITHMS } = parts;
  const plaintext = Buffer.isBuffer(parts.plaintext) ? [parts.plaintext] : parts.plaintext;
  const plaintextOctets = plaintext.reduce((sum, piece) => sum + piece.length, 0);
  const encryption = newContentEncryption(algorithms.content, random);
  const contentKey = random(CONTENT_CIPHERS[algorithms.content].keyOctets);
  const ukm = algorithms.ukmOctets > 0 ? random(algorithms.ukmOctets) : undefined;
  const keyEncryptionKey = deriveKeyEncryptionKey(sharedOctets(sender, recipient), { ...algorithms, ukm });
  const wrappedKey = wrapKey(algorithms.keyWrap, keyEncryptionKey, contentKey);

  const keyAgreement = constructed(
    contextConstructed(1),
    integer(KEY_AGREEMENT_VERSION),
    constructed(contextConstructed(0), writeOriginatorKey(sender.publicKey, contextConstructed(1))),
    ...(ukm ? [constructed(contextConstructed(1), octetString(ukm))] : []),
    sequence(oid(KEY_DERIVATIONS[algorithms.keyDerivation].oid), sequence(oid(KEY_WRAPS[algorithms.keyWrap].oid))),
    sequence(sequence(constructed(contextConstructed(0), octetString(recipient.keyId)), octetString(wrappedKey))),
  );
  const originatorKeyId = sequence(oid(Oid.ORIGINATOR_SESSION_KEY_ID), constructed(Tag.SET, octetString(sender.keyId)));
  const end = constructed(contextConstructed(1), originatorKeyId);
  const octets = ciphertextOctets(encryption, plaintextOctets);

  // What stands before the ciphertext, from the inside out, as that has to tell the lengths.
  let start = Buffer.concat([oid(Oid.DATA), writeContentEncryption(encryption), header(context(0), octets)]);
  start = Buffer.concat([
    integer(ENVELOPED_DATA_VERSION),
    constructed(Tag.SET, keyAgreement),
    header(Tag.SEQUENCE, start.length + octets),
    start,
  ]);
  const following = octets + end.length;
  start = Buffer.concat([header(Tag.SEQUENCE, start.length + following), start]);
  start = Buffer.concat([oid(Oid.ENVELOPED_DATA), header(contextConstructed(0), start.length + following), start]);
  start = Buffer.concat([header(Tag.SEQUENCE, start.length + following), start]);

  return [start, ...encryptContent(encryption, contentKey, plaintext), end];
}

function sharedOctets(sender: SessionKeyPair, recipient: PublicSessionKey | SessionRecipient): Buffer {
  const { keyObject, curve } = 'read' in recipient ? recipient.read : readSessionPublicKey(recipient.publicKey);
  try {
    return agree(createPrivateKey({ key: sender.privateKey, format: 'der', type: 'pkcs8' }), keyObject);
  } catch (error) {
    throw new AwalaError('KEY_UNSUPPORTED', `Sender's session key is not on the recipient's curve, ${curve}`, {
      cause: error,
    });
  }
}
