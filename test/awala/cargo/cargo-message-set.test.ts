/**
 * The plaintext of cargo: what goes in comes out, and what is malformed takes nothing else with it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CargoMessageSet } from '@relaycorp/relaynet-core';
import fc from 'fast-check';
import { constructed, octetString, sequence } from '../../../src/awala/asn1/writer.ts';
import {
  type CargoItemKind,
  cargoItemOctets,
  MAX_CARGO_ITEM_OCTETS,
  MAX_CARGO_ITEMS,
  MAX_CARGO_MESSAGE_SET_OCTETS,
  readCargoMessageSet,
  writeCargoMessageSet,
} from '../../../src/awala/cargo/cargo-message-set.ts';
import { messagePrefix } from '../../../src/awala/message-prefix.ts';
import { arrayBuffer } from '../../support/octets.ts';
import { assertRefused, isAccepted } from '../../support/refusals.ts';
import { assertDer } from '../../support/strict-der.ts';

/** A message of a type, malformed beyond its prefix. */
const messageOf = (type: number) => Buffer.concat([messagePrefix(type), Buffer.from('rest')]);

const PARCEL = messageOf(0x50);

/** `2480 … 0000` around segments: an OCTET STRING of indefinite length. */
function inSegments(...segments: Buffer[]): Buffer {
  return Buffer.concat([Buffer.from([0x24, 0x80]), ...segments.map(octetString), Buffer.alloc(2)]);
}

function kinds(plaintext: Buffer): CargoItemKind[] {
  return [...readCargoMessageSet(plaintext)].map(({ kind }) => kind);
}

describe('The messages in cargo', () => {
  test('come out as they went in, in their order, in DER', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), (messages) => {
        const items = messages.map((message) => Buffer.from(message));
        const plaintext = writeCargoMessageSet(items);
        assertDer(plaintext);
        assert.deepEqual(
          [...readCargoMessageSet(plaintext)].map(({ bytes }) => bytes),
          items,
        );
      }),
    );
  });

  test('are told apart by their first octets', () => {
    const messages: Record<string, Buffer> = {
      parcel: PARCEL,
      'parcel-collection-ack': messageOf(0x51),
      'certificate-rotation': messageOf(0x10),
      'certificate-revocation': messageOf(0x11),
      'parcel-delivery-deauthorization': sequence(),
    };
    assert.deepEqual(kinds(writeCargoMessageSet(Object.values(messages))), Object.keys(messages));
  });

  test('are of no known kind when they are cargo or CCAs, or of another version or length', () => {
    const cargo = messageOf(0x43);
    const cca = messageOf(0x44);
    const nextVersion = Buffer.from('Awala\x50\x01rest', 'latin1');
    const relaynet = Buffer.from('Relaynet\x50\x00', 'latin1');
    const short = PARCEL.subarray(0, 6);
    const messages = [cargo, cca, nextVersion, relaynet, short, Buffer.alloc(0)];
    assert.deepEqual(new Set(kinds(writeCargoMessageSet(messages))), new Set(['unknown']));
  });

  test('may come in segments and with indefinite lengths', () => {
    const items = [inSegments(PARCEL.subarray(0, 3), PARCEL.subarray(3)), octetString(messageOf(0x51))];
    const indefinite = Buffer.concat([Buffer.from([0x30, 0x80]), ...items, Buffer.alloc(2)]);
    for (const plaintext of [sequence(...items), indefinite]) {
      const [parcel, ack, ...others] = readCargoMessageSet(plaintext);
      assert.deepEqual(parcel, { kind: 'parcel', bytes: PARCEL });
      assert.equal(ack?.kind, 'parcel-collection-ack');
      assert.deepEqual(others, []);
    }
  });

  test('are views of the plaintext, without a copy', () => {
    const plaintext = writeCargoMessageSet([PARCEL]);
    for (const { bytes } of readCargoMessageSet(plaintext)) {
      assert.equal(bytes.buffer, plaintext.buffer);
    }
  });
});

describe('A malformed message in cargo', () => {
  test('is skipped, and those after it are read', () => {
    const notAString = Buffer.from('0c0161', 'hex');
    const badSegments = constructed(0x24, notAString);
    const plaintext = sequence(octetString(PARCEL), notAString, badSegments, octetString(PARCEL));
    const items = [...readCargoMessageSet(plaintext)];
    assert.deepEqual(
      items.map(({ kind }) => kind),
      ['parcel', 'unknown', 'unknown', 'parcel'],
    );
    assert.deepEqual(items[1]?.bytes, notAString);
  });

  test('whose length is broken ends the cargo, and those before it are read', () => {
    const plaintext = sequence(octetString(PARCEL), Buffer.from('047f00', 'hex'), octetString(PARCEL));
    assert.deepEqual(kinds(plaintext), ['parcel', 'unknown']);
  });

  test('does not make many out of few octets', () => {
    const plaintext = sequence(Buffer.concat(Array.from({ length: 100_000 }, () => octetString(Buffer.alloc(0)))));
    assert.ok(kinds(plaintext).length <= 65_536);
  });

  test('never makes the reader throw while iterating', () => {
    const valid = writeCargoMessageSet([PARCEL, messageOf(0x51), Buffer.alloc(200), messageOf(0x10)]);
    fc.assert(
      fc.property(fc.nat(valid.length - 1), fc.uint8Array({ minLength: 1, maxLength: 4 }), (at, octets) => {
        const changed = Buffer.concat([valid.subarray(0, at), octets, valid.subarray(at + octets.length)]);
        isAccepted(() => [...readCargoMessageSet(changed)]);
      }),
      { numRuns: 1_000 },
    );
  });

  test('is no reason to refuse a cargo; what is no SEQUENCE is refused', () => {
    for (const plaintext of [
      Buffer.alloc(0),
      octetString(PARCEL),
      Buffer.from('30', 'hex'),
      Buffer.from('300504', 'hex'),
    ]) {
      assertRefused('CARGO_MESSAGE_SET_MALFORMED', () => readCargoMessageSet(plaintext));
    }
  });
});

describe('The limits of cargo', () => {
  test('leave room for the largest parcel, and not for an octet more', () => {
    const largest = Buffer.alloc(MAX_CARGO_ITEM_OCTETS);
    const plaintext = writeCargoMessageSet([largest]);
    assert.ok(plaintext.length <= MAX_CARGO_MESSAGE_SET_OCTETS);
    assert.equal([...readCargoMessageSet(plaintext)][0]?.bytes.length, MAX_CARGO_ITEM_OCTETS);
    assertRefused('MESSAGE_TOO_LARGE', () => writeCargoMessageSet([Buffer.alloc(MAX_CARGO_ITEM_OCTETS + 2)]));
    assertRefused('MESSAGE_TOO_LARGE', () => readCargoMessageSet(Buffer.alloc(MAX_CARGO_MESSAGE_SET_OCTETS + 1)));
  });

  test('allow 4,000 messages, and not one more', () => {
    const items = Array.from({ length: MAX_CARGO_ITEMS }, () => PARCEL);
    assert.equal(kinds(writeCargoMessageSet(items)).length, 4_000);
    assertRefused('MESSAGE_TOO_LARGE', () => writeCargoMessageSet([...items, PARCEL]));
  });

  test('can be told before anything is written', () => {
    for (const octets of [0, 1, 127, 128, 255, 256, 65_535, 65_536]) {
      const alone = writeCargoMessageSet([Buffer.alloc(octets)]);
      assert.ok([2, 3, 4, 5].includes(alone.length - cargoItemOctets(octets)));
      const two = writeCargoMessageSet([Buffer.alloc(octets), Buffer.alloc(0)]);
      assert.equal(two.length - cargoItemOctets(0) - cargoItemOctets(octets) >= 2, true);
    }
  });
});

describe('The official JavaScript library', () => {
  const messages = [PARCEL, messageOf(0x51), Buffer.alloc(3_000, 7)];

  test('reads the set that we write', () => {
    const set = CargoMessageSet.deserialize(arrayBuffer(writeCargoMessageSet(messages)));
    assert.deepEqual(
      [...set.messages].map((message) => Buffer.from(message)),
      messages,
    );
  });

  test('writes a set that we read', () => {
    const plaintext = Buffer.from(new CargoMessageSet(messages.map(arrayBuffer)).serialize());
    assert.deepEqual(
      [...readCargoMessageSet(plaintext)].map(({ bytes }) => bytes),
      messages,
    );
  });
});
