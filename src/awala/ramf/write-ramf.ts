/**
 * Writes RAMF messages (RS-001, protocol section 3), signed.
 */
import { context, contextConstructed, Tag } from '../asn1/tags.ts';
import { constructed, dateTime, header, integer, visibleString } from '../asn1/writer.ts';
import { type Signer, signData } from '../cms/sign.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { isInternetAddress } from '../internet-address.ts';
import { messagePrefix } from '../message-prefix.ts';
import type { Certificate } from '../pki/certificate.ts';
import { MAX_PAYLOAD_LENGTH, MAX_TTL, RamfType, type Recipient } from './ramf-message.ts';

/** What a message says. */
export interface RamfFields {
  readonly recipient: Recipient;
  /** Up to 64 characters, which with sender and recipient tell the message from every other. */
  readonly messageId: string;
  /** Milliseconds since the epoch; written in whole seconds, rounded down. */
  readonly creation: number;
  /** Seconds from creation to expiry, up to 180 days of them. */
  readonly ttl: number;
  /** Up to 8 MiB, in pieces or as one. */
  readonly payload: Uint8Array | readonly Uint8Array[];
}

/**
 * Serializes a message, DER.
 *
 * @param type one of `RamfType`
 * @param sender what signs; its certificate goes along
 * @param authorities the rest of the sender's chain, to go along too
 * @throws AwalaError RAMF_MALFORMED, MESSAGE_TOO_LARGE, MESSAGE_TTL_TOO_LONG when the fields are not what a reader may
 *   accept; ALGORITHM_UNSUPPORTED
 */
export async function writeRamfMessage(
  type: number,
  fields: RamfFields,
  sender: Signer,
  authorities: readonly Certificate[] = [],
): Promise<Buffer> {
  return Buffer.concat(await ramfMessagePieces(type, fields, sender, authorities));
}

/** As `writeRamfMessage`, in pieces, among them those of the payload: to be joined by whoever sends it. */
export async function ramfMessagePieces(
  type: number,
  fields: RamfFields,
  sender: Signer,
  authorities: readonly Certificate[] = [],
): Promise<Uint8Array[]> {
  checkFields(fields);
  const content = refusingAs('RAMF_MALFORMED', 'RAMF message', () => serialize(fields));
  return [messagePrefix(type), ...(await signData(content, sender, { certificates: authorities }))];
}

/** Serializes a parcel; see `writeRamfMessage`. The sender's certificate is its delivery authorization (PDA). */
export function writeParcel(
  fields: RamfFields,
  sender: Signer,
  authorities: readonly Certificate[] = [],
): Promise<Buffer> {
  return writeRamfMessage(RamfType.PARCEL, fields, sender, authorities);
}

function checkFields({ recipient, messageId, ttl, payload }: RamfFields): void {
  if (!/^0[a-f0-9]{1,1023}$/.test(recipient.id)) {
    throw new AwalaError('RAMF_MALFORMED', "RAMF message: recipient's id is not a node id");
  }
  if (recipient.internetAddress !== undefined && !isInternetAddress(recipient.internetAddress)) {
    throw new AwalaError('RAMF_MALFORMED', "RAMF message: recipient's Internet address is not a domain name");
  }
  if (!/^[ -~]{0,64}$/.test(messageId)) {
    throw new AwalaError('RAMF_MALFORMED', 'RAMF message: id is longer than 64 characters, or not ASCII');
  }
  if (!Number.isSafeInteger(ttl) || ttl < 0 || ttl > MAX_TTL) {
    throw new AwalaError('MESSAGE_TTL_TOO_LONG', `Message would live for ${ttl} seconds; ${MAX_TTL} are allowed`);
  }
  if (totalLength(pieces(payload)) > MAX_PAYLOAD_LENGTH) {
    throw new AwalaError('MESSAGE_TOO_LARGE', `Payload has more than ${MAX_PAYLOAD_LENGTH} octets`);
  }
}

/** The signed content, in pieces, of which the last are those of the payload. */
function serialize({ recipient, messageId, creation, ttl, payload }: RamfFields): Uint8Array[] {
  const { id, internetAddress } = recipient;
  const payloadPieces = pieces(payload);
  const payloadLength = totalLength(payloadPieces);
  const head = Buffer.concat([
    constructed(
      contextConstructed(0),
      visibleString(id, context(0)),
      ...(internetAddress === undefined ? [] : [visibleString(internetAddress, context(1))]),
    ),
    visibleString(messageId, context(1)),
    dateTime(new Date(creation), context(2)),
    integer(ttl, context(3)),
    header(context(4), payloadLength),
  ]);
  return [header(Tag.SEQUENCE, head.length + payloadLength), head, ...payloadPieces];
}

function pieces(payload: RamfFields['payload']): readonly Uint8Array[] {
  return payload instanceof Uint8Array ? [payload] : payload;
}

function totalLength(octets: readonly Uint8Array[]): number {
  return octets.reduce((sum, piece) => sum + piece.length, 0);
}
