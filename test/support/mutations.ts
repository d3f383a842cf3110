/**
 * Mutations of valid messages, for property tests of readers.
 */
import fc from 'fast-check';

/** Octets that mean something in BER: lengths short, long and indefinite, common tags, end-of-contents. */
const TELLING = [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x1e, 0x24, 0x30, 0x31, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xa0];

/** `message` with one to four changes: octets changed, removed, put in, repeated or cut off. */
export function mutated(message: Buffer): fc.Arbitrary<Buffer> {
  return fc
    .array(change(message.length), { minLength: 1, maxLength: 4 })
    .map((changes) => changes.reduce((octets, apply) => apply(octets), message));
}

/** Any octets; half of them begin as a SEQUENCE does. */
export function anyOctets(maxLength = 400): fc.Arbitrary<Buffer> {
  const octets = fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
  const telling = fc.array(fc.constantFrom(...TELLING), { maxLength }).map((array) => Buffer.from(array));
  return fc.oneof(
    octets,
    telling.map((content) => Buffer.concat([Buffer.of(0x30, 0x80), content])),
  );
}

type Change = (octets: Buffer) => Buffer;

function change(length: number): fc.Arbitrary<Change> {
  const position = fc.nat(Math.max(0, length - 1));
  const span = fc.integer({ min: 1, max: 40 });
  const octet = fc.oneof(fc.constantFrom(...TELLING), fc.nat(255));
  return fc.oneof(
    fc.tuple(position, octet).map(([at, value]) => splice(at, 1, Buffer.of(value))),
    fc.tuple(position, fc.nat(7)).map(([at, bit]) => flip(at, bit)),
    fc.tuple(position, span).map(([at, count]) => splice(at, count, Buffer.alloc(0))),
    fc.tuple(position, octet, span).map(([at, value, count]) => splice(at, 0, Buffer.alloc(count, value))),
    fc.tuple(position, position, span).map(([at, from, count]): Change => {
      return (octets) => splice(at, 0, octets.subarray(from, from + count))(octets);
    }),
    position.map(
      (at): Change =>
        (octets) =>
          octets.subarray(0, at),
    ),
  );
}

function splice(at: number, count: number, replacement: Buffer): Change {
  return (octets) => Buffer.concat([octets.subarray(0, at), replacement, octets.subarray(at + count)]);
}

function flip(at: number, bit: number): Change {
  return (octets) => {
    const changed = Buffer.from(octets);
    if (at < changed.length) {
      changed[at] = (changed[at] as number) ^ (1 << bit);
    }
    return changed;
  };
}
