/**
 * RAMF messages (RS-001): what parcels, cargo, cargo collection authorizations and revocations have in common.
 */
import { type BerCursor, type BerElement, readBer, readBerHead } from '../asn1/reader.ts';
import { context, contextConstructed } from '../asn1/tags.ts';
import { readDateTime } from '../asn1/time.ts';
import { readVisibleString } from '../asn1/values.ts';
import { readSignedData, type SignedData, verifySignedData } from '../cms/signed-data.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { isInternetAddress } from '../internet-address.ts';
import { MESSAGE_PREFIX_OCTETS, messageType } from '../message-prefix.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { CertificateCache } from '../pki/certificate-cache.ts';

/** The longest message, in octets, as deployed clients enforce it. */
export const MAX_MESSAGE_LENGTH = 9_437_184;

/** The longest payload, in octets. */
export const MAX_PAYLOAD_LENGTH = 8 * 1024 * 1024;

/** The longest time to live, in seconds: 180 days. */
export const MAX_TTL = 15_552_000;

/** The most characters in a message id, and in a recipient's id and Internet address. */
export const MAX_MESSAGE_ID_LENGTH = 64;
export const MAX_ADDRESS_LENGTH = 1024;

/** Octets that hold all fields but the payload, with room to spare. */
const HEAD_LENGTH = 4096;

const MS_PER_SECOND = 1000;

/** Concrete message types: the octet that follows `Awala`. */
export const RamfType = {
  REVOCATION: 0x11,
  CARGO: 0x43,
  CARGO_COLLECTION_AUTHORIZATION: 0x44,
  PARCEL: 0x50,
} as const;

export interface Recipient {
  /** Node id: `0` and lower-case hexadecimal digits. */
  readonly id: string;
  /** Where the recipient is reached on the Internet; absent for a node behind the same gateway. */
  readonly internetAddress?: string;
}

/** A message that was read; its signature and dates are not verified yet. */
export class RamfMessage<Type extends number = number> {
  readonly type: Type;
  /** The exact bytes that were read. */
  readonly raw: Buffer;
  readonly recipient: Recipient;
  readonly messageId: string;
  /** ms since 1970 */
  readonly creation: number;
  /** Seconds from creation to expiry. */
  readonly ttl: number;
  /** The envelope, with all certificates. */
  readonly signedData: SignedData;
  private readonly payloadSegments: readonly Buffer[];

  constructor(type: Type, raw: Buffer, fields: RamfFields, signedData: SignedData) {
    this.type = type;
    this.raw = raw;
    this.recipient = fields.recipient;
    this.messageId = fields.messageId;
    this.creation = fields.creation;
    this.ttl = fields.ttl;
    this.payloadSegments = fields.payload;
    this.signedData = signedData;
  }

  /** The certificate whose key signed the message. */
  get sender(): Certificate {
    return this.signedData.signer;
  }

  /** ms since 1970 */
  get expiry(): number {
    return this.creation + this.ttl * MS_PER_SECOND;
  }

  /** What the message carries: a view of `raw`, or a copy when it came in segments. */
  get payload(): Buffer {
    return joined(this.payloadSegments);
  }
}

/** What the sender signed. */
interface RamfFields {
  readonly recipient: Recipient;
  readonly messageId: string;
  readonly creation: number;
  readonly ttl: number;
  readonly payload: readonly Buffer[];
}

/**
 * Reads a message of one type.
 *
 * @param type one of `RamfType`
 * @param bytes kept, not copied
 * @param maxLength in octets, where the type allows less than others
 * @throws AwalaError MESSAGE_TOO_LARGE, RAMF_FORMAT_UNKNOWN, RAMF_MALFORMED, SIGNED_DATA_MALFORMED,
 *   ALGORITHM_UNSUPPORTED, MESSAGE_TTL_TOO_LONG, ASN1_TOO_COMPLEX; or why the sender's certificate could not be read
 */
export function readRamfMessage<Type extends number>(
  type: Type,
  bytes: Buffer,
  cache: CertificateCache,
  maxLength: number = MAX_MESSAGE_LENGTH,
): RamfMessage<Type> {
  if (bytes.length > maxLength) {
    throw new AwalaError('MESSAGE_TOO_LARGE', `Message has ${bytes.length} octets; ${maxLength} are allowed`);
  }
  checkPrefix(type, bytes);
  const signedData = readSignedData(bytes.subarray(MESSAGE_PREFIX_OCTETS), cache);
  const { content } = signedData;
  if (!content) {
    throw malformed('content is not inside its signature');
  }
  const fields = refusingAs('RAMF_MALFORMED', 'RAMF message', () => readContent(content));
  return new RamfMessage(type, bytes, fields, signedData);
}

/**
 * Verifies a message by itself: its dates, those of its sender's certificate, and its signature. Whether the sender
 * may send it is another question, and the type's.
 *
 * @param now ms since 1970
 * @param drift how far the clocks may differ, in ms
 * @throws AwalaError MESSAGE_FROM_FUTURE, MESSAGE_EXPIRED, CERTIFICATE_NOT_YET_VALID, CERTIFICATE_EXPIRED,
 *   SIGNATURE_INVALID
 */
export function verifyRamfMessage(message: RamfMessage, now: number, drift: number): void {
  checkMessageDates(message, now, drift);
  verifySignedData(message.signedData);
}

/** The cheap half of `verifyRamfMessage`. */
export function checkMessageDates(message: RamfMessage, now: number, drift: number): void {
  const { creation, expiry, sender } = message;
  if (creation > now + drift) {
    throw new AwalaError(
      'MESSAGE_FROM_FUTURE',
      `Message was created in the future: ${new Date(creation).toISOString()}`,
    );
  }
  if (expiry < now - drift) {
    throw new AwalaError('MESSAGE_EXPIRED', `Message expired on ${new Date(expiry).toISOString()}`);
  }
  sender.checkDates(now, drift);
  sender.checkDates(creation, drift);
}

function checkPrefix(type: number, bytes: Buffer): void {
  const actual = messageType(bytes);
  if (actual === undefined) {
    throw new AwalaError('RAMF_FORMAT_UNKNOWN', 'Message does not start with "Awala", a type and version 0');
  }
  if (actual !== type) {
    throw new AwalaError('RAMF_FORMAT_UNKNOWN', `Message is of type ${hex(actual)} instead of ${hex(type)}`);
  }
}

/** Reads what was signed, from the segments that it came in. */
function readContent(content: readonly Buffer[]): RamfFields {
  const [first] = content;
  if (first && content.length === 1) {
    return readFields(readBer(first), (payload) => payload.segments());
  }
  return readSegmentedContent(content) ?? readContent([Buffer.concat(content)]);
}

/**
 * Reads segmented content without joining it: all but the payload is in its head. Joining takes as long as hashing.
 *
 * @returns undefined when the content is not that simple
 */
function readSegmentedContent(content: readonly Buffer[]): RamfFields | undefined {
  const head = Buffer.concat(slice(content, 0, HEAD_LENGTH));
  try {
    return readFields(readBerHead(head, totalLength(content)), (payload) =>
      payload.isConstructed
        ? payload.segments()
        : slice(content, payload.contentStart, payload.contentStart + payload.contentLength),
    );
  } catch (error) {
    if (error instanceof AwalaError && error.code === 'ASN1_MALFORMED') {
      return undefined;
    }
    throw error;
  }
}

/** The fields of `RAMFMessage` (RS-001), as protocol section 3 has them. */
function readFields(message: BerElement, payloadSegments: (payload: BerElement) => Buffer[]): RamfFields {
  const fields = message.sequence();
  const recipient = readRecipient(fields.next(contextConstructed(0)).children());
  const messageId = readVisibleString(fields.string(context(1)), MAX_MESSAGE_ID_LENGTH);
  const creation = readDateTime(fields.string(context(2)));
  const ttl = fields.next(context(3)).unsigned();
  if (ttl > MAX_TTL) {
    throw new AwalaError('MESSAGE_TTL_TOO_LONG', `Message lives for ${ttl} seconds; ${MAX_TTL} are allowed`);
  }
  const payload = payloadSegments(fields.string(context(4)));
  fields.finish();
  if (totalLength(payload) > MAX_PAYLOAD_LENGTH) {
    throw new AwalaError('MESSAGE_TOO_LARGE', `Payload has more than ${MAX_PAYLOAD_LENGTH} octets`);
  }
  return { recipient, messageId, creation, ttl, payload };
}

/** `SEQUENCE { [0] id VisibleString, [1] internetAddress VisibleString OPTIONAL }` */
function readRecipient(fields: BerCursor): Recipient {
  const id = readVisibleString(fields.string(context(0)), MAX_ADDRESS_LENGTH);
  if (!/^0[a-f0-9]+$/.test(id)) {
    throw malformed("recipient's id is not a node id");
  }
  if (fields.atEnd) {
    return { id };
  }
  const internetAddress = readVisibleString(fields.string(context(1)), MAX_ADDRESS_LENGTH);
  fields.finish();
  if (!isInternetAddress(internetAddress)) {
    throw malformed("recipient's Internet address is not a domain name");
  }
  return { id, internetAddress };
}

function joined(segments: readonly Buffer[]): Buffer {
  const [first] = segments;
  return first && segments.length === 1 ? first : Buffer.concat(segments);
}

/** Views of the octets from `start` to `end` of segments in a row. */
function slice(segments: readonly Buffer[], start: number, end: number): Buffer[] {
  const views: Buffer[] = [];
  let offset = 0;
  for (const segment of segments) {
    const view = segment.subarray(Math.max(0, start - offset), Math.max(0, end - offset));
    if (view.length > 0) {
      views.push(view);
    }
    offset += segment.length;
  }
  return views;
}

function totalLength(segments: readonly Buffer[]): number {
  return segments.reduce((sum, segment) => sum + segment.length, 0);
}

function hex(octet: number): string {
  return `0x${octet.toString(16).padStart(2, '0')}`;
}

function malformed(reason: string): AwalaError {
  return new AwalaError('RAMF_MALFORMED', `RAMF message: ${reason}`);
}
