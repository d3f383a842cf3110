/**
 * Reads and decrypts messages of a channel session (RS-003, protocol section 5): CMS EnvelopedData (RFC 5652) and
 * AuthEnvelopedData (RFC 5083) for one recipient, by key agreement (RFC 5753).
 */
import { createPrivateKey, KeyObject } from 'node:crypto';
import { type BerCursor, type BerElement, readBer } from '../asn1/reader.ts';
import { CONSTRUCTED, context, contextConstructed, Tag } from '../asn1/tags.ts';
import { header } from '../asn1/writer.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { Oid } from '../oids.ts';
import { MAX_KEY_ID_OCTETS, type SessionPublicKey } from '../session-key.ts';
import { findAlgorithm } from './algorithm-table.ts';
import {
  CONTENT_CIPHERS,
  type ContentCipher,
  type ContentEncryption,
  decryptContent,
  isPossibleLength,
  readContentEncryption,
} from './content-cipher.ts';
import { agree, deriveKeyEncryptionKey, KEY_DERIVATIONS, type KeyAgreementParams } from './key-agreement.ts';
import { KEY_WRAPS, unwrapKey, WRAP_OVERHEAD } from './key-wrap.ts';
import { readOriginatorKey } from './originator-key.ts';

/** The longest user keying material; deployed clients send 64 octets. */
const MAX_UKM_OCTETS = 1024;

/** `[1] KeyAgreeRecipientInfo` among the choices of RecipientInfo. */
const KEY_AGREEMENT = contextConstructed(1);

/** What a KeyAgreeRecipientInfo for one recipient says. */
interface Recipient {
  readonly originatorKey: SessionPublicKey;
  readonly agreement: KeyAgreementParams;
  readonly recipientKeyId: Buffer;
  readonly wrappedKey: Buffer;
}

/** What is encrypted, and how. */
interface Content {
  readonly encryption: ContentEncryption;
  readonly ciphertext: Buffer;
  readonly tag: Buffer;
  readonly associated: Buffer | undefined;
}

/** A message of a channel session, before and after it is decrypted. */
export class EnvelopedData {
  /** Names the session key of ours that decrypts it, 1 to 64 octets. */
  readonly recipientKeyId: Buffer;
  /** Names the sender's new session key, 1 to 64 octets: the key of messages to the sender from now on. */
  readonly originatorKeyId: Buffer;
  /** That key. To be trusted only after `decrypt` succeeded. */
  readonly originatorKey: SessionPublicKey;
  /** The cipher of the content. */
  readonly cipher: ContentCipher;
  private readonly recipient: Recipient;
  private readonly content: Content;

  constructor(originatorKeyId: Buffer, recipient: Recipient, content: Content) {
    this.recipientKeyId = recipient.recipientKeyId;
    this.originatorKeyId = originatorKeyId;
    this.originatorKey = recipient.originatorKey;
    this.cipher = content.encryption.cipher;
    this.recipient = recipient;
    this.content = content;
  }

  /**
   * Decrypts the content.
   *
   * @param privateKey the key that `recipientKeyId` names: PKCS#8, DER, or already imported
   * @returns the plaintext, in memory of its own
   * @throws AwalaError DECRYPTION_FAILED, with one message whatever the cause, so that who sends changed messages learns
   *   nothing from the refusals
   */
  decrypt(privateKey: Buffer | KeyObject): Buffer {
    let plaintext: Buffer | undefined;
    try {
      plaintext = this.tryDecrypting(privateKey);
    } catch {
      // Told below, as all else.
    }
    if (!plaintext) {
      throw new AwalaError('DECRYPTION_FAILED', 'Message cannot be decrypted: the key is another or it was changed');
    }
    return plaintext;
  }

  private tryDecrypting(privateKey: Buffer | KeyObject): Buffer | undefined {
    const key =
      privateKey instanceof KeyObject
        ? privateKey
        : createPrivateKey({ key: privateKey, format: 'der', type: 'pkcs8' });
    const { agreement, wrappedKey, originatorKey } = this.recipient;
    const shared = agree(key, originatorKey.keyObject);
    const contentKey =
      unwrapKey(agreement.keyWrap, deriveKeyEncryptionKey(shared, agreement), wrappedKey) ??
      unwrapKey(agreement.keyWrap, deriveKeyEncryptionKey(shared, agreement, true), wrappedKey);
    if (!contentKey) {
      return undefined;
    }
    const { encryption, ciphertext, tag, associated } = this.content;
    return decryptContent(encryption, contentKey, ciphertext, tag, associated);
  }
}

/**
 * Reads a message of a channel session, BER.
 *
 * The caller bounds its size. What the message keeps are views of `bytes`, but for content that came in segments.
 *
 * @param bytes ContentInfo
 * @throws AwalaError ENVELOPED_DATA_MALFORMED, ALGORITHM_UNSUPPORTED, KEY_UNSUPPORTED, ASN1_TOO_COMPLEX
 */
export function readEnvelopedData(bytes: Buffer): EnvelopedData {
  return refusingAs('ENVELOPED_DATA_MALFORMED', 'Encrypted message', () => {
    const contentInfo = readBer(bytes, Tag.SEQUENCE).children();
    const type = contentInfo.next(Tag.OID).objectIdentifier();
    const fields = contentInfo.last(contextConstructed(0)).only(Tag.SEQUENCE).children();
    if (type !== Oid.ENVELOPED_DATA && type !== Oid.AUTH_ENVELOPED_DATA) {
      throw malformed(`content type ${type} is neither EnvelopedData nor AuthEnvelopedData`);
    }
    fields.next(Tag.INTEGER);
    fields.optional(contextConstructed(0));
    const recipient = readRecipient(fields.next(Tag.SET));
    const { encryption, octets } = readEncryptedContent(fields.next(Tag.SEQUENCE));
    if (type === Oid.ENVELOPED_DATA) {
      // GCM's tag ends the content, as in the messages of both Java's ciphers and WebCrypto's.
      const end = octets.length - encryption.tagOctets;
      const content = {
        encryption,
        ciphertext: octets.subarray(0, end),
        tag: octets.subarray(end),
        associated: undefined,
      };
      const unprotected = fields.optional(contextConstructed(1));
      return envelopedData(fields, recipient, content, [unprotected]);
    }
    const authenticated = fields.optional(contextConstructed(1));
    const tag = fields.string(Tag.OCTET_STRING).octets();
    const unauthenticated = fields.optional(contextConstructed(2));
    const content = { encryption, ciphertext: octets, tag, associated: authenticated && associatedData(authenticated) };
    return envelopedData(fields, recipient, content, [authenticated, unauthenticated]);
  });
}

/** Checks what the parts say together. */
function envelopedData(
  fields: BerCursor,
  recipient: Recipient,
  content: Content,
  attributes: readonly (BerElement | undefined)[],
): EnvelopedData {
  fields.finish();
  const { encryption, ciphertext, tag } = content;
  if (!isPossibleLength(encryption, ciphertext.length) || tag.length !== encryption.tagOctets) {
    throw malformed(`content of ${encryption.cipher} has ${ciphertext.length} octets and a tag of ${tag.length}`);
  }
  if (recipient.wrappedKey.length !== CONTENT_CIPHERS[encryption.cipher].keyOctets + WRAP_OVERHEAD) {
    throw malformed(`wrapped key for ${encryption.cipher} has ${recipient.wrappedKey.length} octets`);
  }
  return new EnvelopedData(readOriginatorKeyId(attributes), recipient, content);
}

/** RecipientInfos with its one KeyAgreeRecipientInfo. */
function readRecipient(recipientInfos: BerElement): Recipient {
  const fields = recipientInfos.only(KEY_AGREEMENT).children();
  fields.next(Tag.INTEGER);
  const originatorKey = readOriginatorKey(fields.next(contextConstructed(0)).only(contextConstructed(1)));
  const ukm = fields.optional(contextConstructed(1))?.children().string(Tag.OCTET_STRING).octets();
  if (ukm && ukm.length > MAX_UKM_OCTETS) {
    throw malformed(`user keying material has ${ukm.length} octets`);
  }
  const scheme = fields.next(Tag.SEQUENCE).children();
  const keyDerivation = findAlgorithm(KEY_DERIVATIONS, 'Key agreement', scheme.next(Tag.OID).objectIdentifier());
  const wrapAlgorithm = scheme.last(Tag.SEQUENCE).children();
  const keyWrap = findAlgorithm(KEY_WRAPS, 'Key wrap', wrapAlgorithm.next(Tag.OID).objectIdentifier());
  const encryptedKey = fields.last(Tag.SEQUENCE).only(Tag.SEQUENCE).children();
  const recipientKeyId = keyId(encryptedKey.next(contextConstructed(0)).children().string(Tag.OCTET_STRING));
  const wrappedKey = encryptedKey.string(Tag.OCTET_STRING).octets();
  return { originatorKey, agreement: { keyDerivation, keyWrap, ukm }, recipientKeyId, wrappedKey };
}

/** EncryptedContentInfo. */
function readEncryptedContent(element: BerElement): { encryption: ContentEncryption; octets: Buffer } {
  const fields = element.children();
  fields.next(Tag.OID);
  const encryption = readContentEncryption(fields.next(Tag.SEQUENCE));
  // Segments are joined before they are decrypted: a call into OpenSSL for each would take longer than the copy.
  const octets = fields.string(context(0)).octets();
  fields.finish();
  return { encryption, octets };
}

/** The id of the sender's new session key among the attributes: exactly one attribute with exactly one value. */
function readOriginatorKeyId(sets: readonly (BerElement | undefined)[]): Buffer {
  let found: Buffer | undefined;
  for (const set of sets) {
    const attributes = set?.children();
    while (attributes && !attributes.atEnd) {
      const attribute = attributes.next(Tag.SEQUENCE).children();
      if (attribute.next(Tag.OID).objectIdentifier() !== Oid.ORIGINATOR_SESSION_KEY_ID) {
        continue;
      }
      if (found) {
        throw malformed("the id of the sender's session key is there twice");
      }
      found = keyId(attribute.last(Tag.SET).only(Tag.OCTET_STRING));
    }
  }
  if (!found) {
    throw malformed("the id of the sender's session key is missing");
  }
  return found;
}

function keyId(element: BerElement): Buffer {
  const id = element.octets();
  if (id.length === 0 || id.length > MAX_KEY_ID_OCTETS) {
    throw malformed(`id of a session key has ${id.length} octets`);
  }
  return id;
}

/** What GCM authenticates besides the content: the attributes as a SET with a definite length (RFC 5083, section 2.2). */
function associatedData(attributes: BerElement): Buffer {
  return Buffer.concat([header(Tag.SET | CONSTRUCTED, attributes.contentLength), attributes.content]);
}

function malformed(reason: string): AwalaError {
  return new AwalaError('ENVELOPED_DATA_MALFORMED', `Encrypted message: ${reason}`);
}
