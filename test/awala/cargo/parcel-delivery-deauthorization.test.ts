/**
 * Parcel delivery deauthorizations, of which no other implementation exists.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { cargoItemKind } from '../../../src/awala/cargo/cargo-message-set.ts';
import {
  MAX_DEAUTHORIZED_SERIAL_NUMBERS,
  readParcelDeliveryDeauthorization,
  writeParcelDeliveryDeauthorization,
} from '../../../src/awala/cargo/parcel-delivery-deauthorization.ts';
import { testChain } from '../../support/pki.ts';
import { assertRefused, isAccepted } from '../../support/refusals.ts';
import { assertDer } from '../../support/strict-der.ts';

const CODE = 'DEAUTHORIZATION_MALFORMED';
const EXPIRY = Date.UTC(2026, 11, 31, 23, 59, 58);

describe('A parcel delivery deauthorization', () => {
  test('is as RS-000 has it, with automatic tags', () => {
    const bytes = writeParcelDeliveryDeauthorization({
      endpointId: '0ab',
      serialNumbers: ['7f', '00ff'],
      expiry: EXPIRY,
    });
    assert.equal(
      bytes.toString('hex'),
      `301e${'8003306162'}${'a107'}${'02017f'}${'020200ff'}${'820e'}${Buffer.from('20261231235958').toString('hex')}`,
    );
    assert.equal(cargoItemKind(bytes), 'parcel-delivery-deauthorization');
  });

  test('is read back as it was written, serial numbers as a set', () => {
    const serialNumber = fc
      .uint8Array({ minLength: 1, maxLength: 20 })
      .map((octets) => Buffer.from([0x01, ...octets]).toString('hex'));
    fc.assert(
      fc.property(
        fc.uniqueArray(serialNumber, { maxLength: 10 }),
        fc.date({ min: new Date(0), max: new Date(EXPIRY), noInvalidDate: true }),
        (serialNumbers, date) => {
          const expiry = Math.floor(date.getTime() / 1000) * 1000;
          const bytes = writeParcelDeliveryDeauthorization({ endpointId: '0ab', serialNumbers, expiry });
          assertDer(bytes);
          const read = readParcelDeliveryDeauthorization(bytes);
          assert.equal(read.endpointId, '0ab');
          assert.deepEqual(new Set(read.serialNumbers), new Set(serialNumbers));
          assert.equal(read.expiry, expiry);
        },
      ),
    );
  });

  test('names serial numbers as certificates do', async () => {
    const { certificate } = (await testChain()).sender;
    const { serialNumber } = certificate;
    const bytes = writeParcelDeliveryDeauthorization({
      endpointId: '0ab',
      serialNumbers: [serialNumber],
      expiry: EXPIRY,
    });
    assert.deepEqual(readParcelDeliveryDeauthorization(bytes).serialNumbers, [serialNumber]);
  });

  test('may have no serial number, meaning all, and 1,000 at most', () => {
    const withSerialNumbers = (count: number) =>
      writeParcelDeliveryDeauthorization({
        endpointId: '0ab',
        serialNumbers: Array.from({ length: count }, (_, index) => (0x1000 + index).toString(16)),
        expiry: EXPIRY,
      });
    assert.deepEqual(readParcelDeliveryDeauthorization(withSerialNumbers(0)).serialNumbers, []);
    const most = withSerialNumbers(MAX_DEAUTHORIZED_SERIAL_NUMBERS);
    assert.equal(readParcelDeliveryDeauthorization(most).serialNumbers.length, 1_000);
    assertRefused(CODE, () => readParcelDeliveryDeauthorization(withSerialNumbers(1_001)));
  });

  test('is refused when it is cut short or when its endpoint has no id', () => {
    const valid = writeParcelDeliveryDeauthorization({ endpointId: '0ab', serialNumbers: ['7f'], expiry: EXPIRY });
    for (let length = 0; length < valid.length; length++) {
      assertRefused(CODE, () => readParcelDeliveryDeauthorization(valid.subarray(0, length)));
    }
    for (const endpointId of ['', '0', '0AB', '1ab', 'gateway.example.com']) {
      const bytes = writeParcelDeliveryDeauthorization({ endpointId, serialNumbers: [], expiry: EXPIRY });
      assertRefused(CODE, () => readParcelDeliveryDeauthorization(bytes));
    }
  });

  test('never makes the reader throw anything but an AwalaError', () => {
    const valid = writeParcelDeliveryDeauthorization({ endpointId: '0ab', serialNumbers: ['7f'], expiry: EXPIRY });
    fc.assert(
      fc.property(fc.nat(valid.length - 1), fc.uint8Array({ minLength: 1, maxLength: 3 }), (at, octets) => {
        const changed = Buffer.concat([valid.subarray(0, at), octets, valid.subarray(at + octets.length)]);
        isAccepted(() => readParcelDeliveryDeauthorization(changed));
      }),
    );
  });
});
