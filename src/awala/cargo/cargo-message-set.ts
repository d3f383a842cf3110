/**
 * CargoMessageSet (RS-000, protocol section 6): the plaintext of cargo, `SEQUENCE OF OCTET STRING`, each a whole message
 * between two gateways.
 */
import { type BerCursor, type BerElement, readBer } from '../asn1/reader.ts';
import { CONSTRUCTED, Tag } from '../asn1/tags.ts';
import { header, headerOctets } from '../asn1/writer.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { ControlType, messageType } from '../message-prefix.ts';
import { RamfType } from '../ramf/ramf-message.ts';

/** The longest plaintext, in octets. */
export const MAX_CARGO_MESSAGE_SET_OCTETS = 8_322_048;

/** The longest message in it, in octets. */
export const MAX_CARGO_ITEM_OCTETS = 8_322_037;

/** The most messages in one that we send: the JavaScript stack reads at most 10,000 ASN.1 elements. */
export const MAX_CARGO_ITEMS = 4_000;

export type CargoItemKind =
  | 'parcel'
  | 'parcel-collection-ack'
  | 'certificate-rotation'
  /** Of a private gateway's certificate, by itself. */
  | 'certificate-revocation'
  | 'parcel-delivery-deauthorization'
  /** Anything else: to be skipped. */
  | 'unknown';

const EMPTY = Buffer.alloc(0);

/** One message in cargo, told by its first octets only: it may still be malformed. */
export interface CargoItem {
  readonly kind: CargoItemKind;
  /** The message; a view of the plaintext, unless it came in segments. */
  readonly bytes: Buffer;
}

const KINDS: ReadonlyMap<number, CargoItemKind> = new Map([
  [RamfType.PARCEL, 'parcel'],
  [ControlType.PARCEL_COLLECTION_ACK, 'parcel-collection-ack'],
  [ControlType.CERTIFICATE_ROTATION, 'certificate-rotation'],
  [RamfType.REVOCATION, 'certificate-revocation'],
]);

/**
 * Reads the messages one by one.
 *
 * What is no message is given as `unknown`, so that it can be told in a log, and the rest goes on; where the encoding
 * itself is broken, or holds more than 65,536 elements, one last `unknown` of no octets stands for all that follows.
 *
 * @throws AwalaError CARGO_MESSAGE_SET_MALFORMED (when called, not while iterating), MESSAGE_TOO_LARGE
 */
export function readCargoMessageSet(plaintext: Buffer): Iterable<CargoItem> {
  if (plaintext.length > MAX_CARGO_MESSAGE_SET_OCTETS) {
    throw new AwalaError('MESSAGE_TOO_LARGE', `Cargo holds ${plaintext.length} octets`);
  }
  return refusingAs('CARGO_MESSAGE_SET_MALFORMED', 'Cargo message set', () =>
    cargoItems(readBer(plaintext, Tag.SEQUENCE).children()),
  );
}

function* cargoItems(cursor: BerCursor): Generator<CargoItem, void, undefined> {
  while (!cursor.atEnd) {
    const element = unlessRefused(() => cursor.next());
    if (!element) {
      yield { kind: 'unknown', bytes: Buffer.alloc(0) };
      return;
    }
    yield cargoItem(element);
  }
}

function cargoItem(element: BerElement): CargoItem {
  const isString = (element.tag & ~CONSTRUCTED) === Tag.OCTET_STRING;
  const bytes = isString ? unlessRefused(() => element.octets()) : undefined;
  return bytes ? { kind: cargoItemKind(bytes), bytes } : { kind: 'unknown', bytes: element.raw };
}

/** What a message in cargo is, by its first octets. */
export function cargoItemKind(message: Buffer): CargoItemKind {
  // A deauthorization has no prefix: RS-000 gives it no type octet.
  if (message[0] === Tag.SEQUENCE) {
    return 'parcel-delivery-deauthorization';
  }
  const type = messageType(message);
  return (type !== undefined && KINDS.get(type)) || 'unknown';
}

/** How many octets a message of `length` octets takes in the set. */
export function cargoItemOctets(length: number): number {
  return headerOctets(length) + length;
}

/**
 * Serializes the set, DER with primitive strings.
 *
 * @param items whole messages, at most 4,000
 * @throws AwalaError MESSAGE_TOO_LARGE
 */
export function writeCargoMessageSet(items: readonly Buffer[]): Buffer {
  return Buffer.concat(cargoMessageSetPieces(items));
}

/** As `writeCargoMessageSet`, in pieces, among them the messages themselves. */
export function cargoMessageSetPieces(items: readonly Buffer[]): Buffer[] {
  // The first is the header of all, known in the end.
  const pieces: Buffer[] = [EMPTY];
  let length = 0;
  for (const item of items) {
    pieces.push(header(Tag.OCTET_STRING, item.length), item);
    length += cargoItemOctets(item.length);
  }
  const start = header(Tag.SEQUENCE, length);
  if (items.length > MAX_CARGO_ITEMS || start.length + length > MAX_CARGO_MESSAGE_SET_OCTETS) {
    throw new AwalaError('MESSAGE_TOO_LARGE', `${items.length} messages of ${length} octets are too much for a cargo`);
  }
  pieces[0] = start;
  return pieces;
}

/** What `read` gives, or undefined when its input is refused. */
function unlessRefused<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof AwalaError) {
      return undefined;
    }
    throw error;
  }
}
