/**
 * Parcel collection acknowledgements, ours and the official library's.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ParcelCollectionAck as OfficialAck } from '@relaycorp/relaynet-core';
import fc from 'fast-check';
import { sequence, visibleString } from '../../../src/awala/asn1/writer.ts';
import {
  type ParcelCollectionAck,
  readParcelCollectionAck,
  writeParcelCollectionAck,
} from '../../../src/awala/cargo/parcel-collection-ack.ts';
import { messagePrefix } from '../../../src/awala/message-prefix.ts';
import { arrayBuffer } from '../../support/octets.ts';
import { assertRefused, isAccepted } from '../../support/refusals.ts';
import { assertDer } from '../../support/strict-der.ts';

const ACK: ParcelCollectionAck = {
  senderEndpointId: '0abc',
  recipientEndpointId: `0${'f'.repeat(64)}`,
  parcelId: '5f3c4b8e-0d2f-4a0c-9f2a-6f0e3c1b7a11',
};

const CODE = 'COLLECTION_ACK_MALFORMED';

describe('A parcel collection acknowledgement', () => {
  test('is read back as it was written, in DER after its prefix', () => {
    const text = fc.string({
      unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
      maxLength: 64,
    });
    fc.assert(
      fc.property(text, text, text, (senderEndpointId, recipientEndpointId, parcelId) => {
        const ack = { senderEndpointId, recipientEndpointId, parcelId };
        const bytes = writeParcelCollectionAck(ack);
        assert.equal(bytes.subarray(0, 7).toString('latin1'), 'AwalaQ\0');
        assertDer(bytes.subarray(7));
        assert.deepEqual(readParcelCollectionAck(bytes), ack);
      }),
    );
  });

  test('is understood both ways between us and the official library', () => {
    const official = new OfficialAck(ACK.senderEndpointId, ACK.recipientEndpointId, ACK.parcelId);
    assert.deepEqual(readParcelCollectionAck(Buffer.from(official.serialize())), ACK);
    const read = OfficialAck.deserialize(arrayBuffer(writeParcelCollectionAck(ACK)));
    assert.deepEqual({ ...read }, ACK);
  });

  test('is refused with another prefix, cut short, with a field missing or one too long', () => {
    const valid = writeParcelCollectionAck(ACK);
    for (let length = 0; length < valid.length; length++) {
      assertRefused(CODE, () => readParcelCollectionAck(valid.subarray(0, length)));
    }
    assertRefused(CODE, () => readParcelCollectionAck(Buffer.concat([messagePrefix(0x50), valid.subarray(7)])));
    const twoFields = sequence(visibleString('0a', 0x80), visibleString('0b', 0x81));
    assertRefused(CODE, () => readParcelCollectionAck(Buffer.concat([messagePrefix(0x51), twoFields])));
    for (const wrong of [{ parcelId: 'x'.repeat(65) }, { senderEndpointId: 'x'.repeat(1025) }, { parcelId: '\n' }]) {
      assertRefused(CODE, () => readParcelCollectionAck(writeParcelCollectionAck({ ...ACK, ...wrong })));
    }
  });

  test('never makes the reader throw anything but an AwalaError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (octets) => {
        isAccepted(() => readParcelCollectionAck(Buffer.concat([messagePrefix(0x51), octets])));
      }),
    );
  });
});
