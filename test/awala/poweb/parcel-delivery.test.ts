/**
 * The message that carries a parcel in a collection, to the official library and back.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ParcelDelivery } from '@relaycorp/relaynet-core';
import fc from 'fast-check';
import { octetString, primitive, sequence, visibleString } from '../../../src/awala/asn1/writer.ts';
import {
  MAX_DELIVERY_ID_LENGTH,
  MAX_PARCEL_DELIVERY_OCTETS,
  readParcelDelivery,
  writeParcelDelivery,
  writeParcelDeliveryHeader,
} from '../../../src/awala/poweb/parcel-delivery.ts';
import { MAX_PARCEL_LENGTH } from '../../../src/awala/ramf/parcel.ts';
import { arrayBuffer } from '../../support/octets.ts';
import { assertRefused } from '../../support/refusals.ts';
import { assertDer } from '../../support/strict-der.ts';

const PARCEL = Buffer.from('a parcel');

describe('A parcel delivery', () => {
  it('is two primitive fields', () => {
    const bytes = writeParcelDelivery({ deliveryId: '1', parcel: Buffer.from('abcd', 'hex') });
    assert.equal(bytes.toString('hex'), '30078001318102abcd');
  });

  it('is a header with the parcel after it, so that a long parcel is sent without a copy', () => {
    for (const length of [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000, MAX_PARCEL_LENGTH]) {
      const parcel = Buffer.alloc(length, 'x');
      const header = writeParcelDeliveryHeader('23', length);
      assert.ok(header.length < 20);
      const joined = Buffer.concat([header, parcel]);
      assertDer(joined);
      assert.ok(joined.equals(writeParcelDelivery({ deliveryId: '23', parcel })));
      const read = readParcelDelivery(joined);
      assert.equal(read.deliveryId, '23');
      assert.ok(read.parcel.equals(parcel));
      assert.equal(read.parcel.buffer, joined.buffer, 'a view, not a copy');
    }
  });

  it('goes to the official library and back, the largest parcel too', () => {
    for (const parcel of [PARCEL, Buffer.alloc(MAX_PARCEL_LENGTH, 'x')]) {
      const theirs = ParcelDelivery.deserialize(arrayBuffer(writeParcelDelivery({ deliveryId: 'id', parcel })));
      assert.equal(theirs.deliveryId, 'id');
      assert.ok(Buffer.from(theirs.parcelSerialized).equals(parcel));
      const read = readParcelDelivery(Buffer.from(theirs.serialize()));
      assert.equal(read.deliveryId, 'id');
      assert.ok(read.parcel.equals(parcel));
    }
  });

  it('reads back as it was written', () => {
    const deliveryId = fc.stringMatching(/^[ -~]{0,64}$/);
    fc.assert(
      fc.property(deliveryId, fc.uint8Array({ maxLength: 1000 }), (id, octets) => {
        const delivery = { deliveryId: id, parcel: Buffer.from(octets) };
        assert.deepEqual(readParcelDelivery(writeParcelDelivery(delivery)), delivery);
      }),
    );
  });

  it('is refused when it is not what RS-000 says', () => {
    const id = visibleString('1', 0x80);
    for (const malformed of [
      Buffer.alloc(0),
      PARCEL,
      sequence(),
      sequence(id),
      sequence(id, octetString(PARCEL)),
      sequence(primitive(0x80, Buffer.from('\u00e9')), primitive(0x81, PARCEL)),
      writeParcelDelivery({ deliveryId: 'x'.repeat(MAX_DELIVERY_ID_LENGTH + 1), parcel: PARCEL }),
    ]) {
      assertRefused('DELIVERY_MALFORMED', () => readParcelDelivery(malformed));
    }
  });

  it('is refused when it is larger than any parcel can make it', () => {
    const parcel = Buffer.alloc(MAX_PARCEL_DELIVERY_OCTETS);
    assertRefused('MESSAGE_TOO_LARGE', () => readParcelDelivery(writeParcelDelivery({ deliveryId: '1', parcel })));
  });
});
