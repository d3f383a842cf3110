/**
 * As much of Protocol Buffers as `proto/` needs: fields that are strings, octets or small numbers, in flat messages.
 *
 * By hand: nothing is loaded or compiled at the start for three flat messages, and what is read are views of the message
 * that came in (docs/decisions/0016-cogrpc-server.md).
 */

const VARINT = 0;
const FIXED_64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED_32 = 5;

const FIXED_OCTETS: Readonly<Record<number, number>> = { [FIXED_64]: 8, [FIXED_32]: 4 };

/** Of a 64-bit number, 7 bits an octet. */
const MAX_VARINT_OCTETS = 10;

/** The value of one field: a view of the message, or a number (exact up to 2^53). */
export type FieldValue = Buffer | number;

/**
 * Reads the fields of a message; where one stands twice, the last counts.
 *
 * @returns by field number
 * @throws Error when the message is not Protocol Buffers
 */
export function readFields(message: Buffer): Map<number, FieldValue> {
  const fields = new Map<number, FieldValue>();
  let offset = 0;
  const varint = (): number => {
    let value = 0;
    for (let place = 0; place < MAX_VARINT_OCTETS; place++) {
      const octet = message[offset++];
      if (octet === undefined) {
        break;
      }
      value += (octet & 0x7f) * 2 ** (7 * place);
      if (octet < 0x80) {
        return value;
      }
    }
    throw new Error('Message is cut short');
  };
  while (offset < message.length) {
    const tag = varint();
    const wireType = tag % 8;
    const number = Math.floor(tag / 8);
    if (wireType === VARINT) {
      fields.set(number, varint());
      continue;
    }
    const length = wireType === LENGTH_DELIMITED ? varint() : FIXED_OCTETS[wireType];
    if (length === undefined || length > message.length - offset) {
      throw new Error('Message is cut short, or has a field of an unknown type');
    }
    fields.set(number, message.subarray(offset, offset + length));
    offset += length;
  }
  return fields;
}

/** A field of octets as it is written; an empty one is left out. */
export function octetsField(number: number, octets: Uint8Array): readonly Uint8Array[] {
  return piecesField(number, [octets]);
}

/** As `octetsField`, of octets in pieces. */
export function piecesField(number: number, pieces: readonly Uint8Array[]): readonly Uint8Array[] {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  return length === 0 ? [] : [varintOctets(number * 8 + LENGTH_DELIMITED, length), ...pieces];
}

/** A number as it is written; zero is left out. */
export function numberField(number: number, value: number): readonly Uint8Array[] {
  return value === 0 ? [] : [varintOctets(number * 8 + VARINT, value)];
}

/** Numbers one after another, 7 bits an octet. */
function varintOctets(...values: number[]): Uint8Array {
  const octets: number[] = [];
  for (let value of values) {
    while (value >= 0x80) {
      octets.push((value % 0x80) + 0x80);
      value = Math.floor(value / 0x80);
    }
    octets.push(value);
  }
  return Uint8Array.from(octets);
}
