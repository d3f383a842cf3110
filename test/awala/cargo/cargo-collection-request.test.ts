/**
 * Cargo collection requests, ours and the official library's.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  Certificate as OfficialCertificate,
  CargoCollectionRequest as OfficialRequest,
} from '@relaycorp/relaynet-core';
import fc from 'fast-check';
import { primitive, sequence } from '../../../src/awala/asn1/writer.ts';
import {
  readCargoCollectionRequest,
  writeCargoCollectionRequest,
} from '../../../src/awala/cargo/cargo-collection-request.ts';
import { arrayBuffer } from '../../support/octets.ts';
import { testChain } from '../../support/pki.ts';
import { assertRefused, isAccepted } from '../../support/refusals.ts';
import { assertDer } from '../../support/strict-der.ts';

describe('A cargo collection request', () => {
  test('is understood both ways between us and the official library', async () => {
    const { certificate } = (await testChain()).privateGateway;
    const bytes = writeCargoCollectionRequest({ cargoDeliveryAuthorization: certificate });
    assertDer(bytes);
    assert.deepEqual(readCargoCollectionRequest(bytes).cargoDeliveryAuthorization.raw, certificate.raw);
    const theirs = OfficialRequest.deserialize(arrayBuffer(bytes));
    assert.deepEqual(Buffer.from(theirs.cargoDeliveryAuthorization.serialize()), certificate.raw);
    const official = new OfficialRequest(OfficialCertificate.deserialize(arrayBuffer(certificate.raw)));
    const read = readCargoCollectionRequest(Buffer.from(official.serialize()));
    assert.equal(read.cargoDeliveryAuthorization.subjectId, certificate.subjectId);
  });

  test('is refused without a certificate, and with what is none', () => {
    for (const bytes of [Buffer.alloc(0), sequence(), sequence(primitive(0x81, Buffer.alloc(3)))]) {
      assertRefused('COLLECTION_REQUEST_MALFORMED', () => readCargoCollectionRequest(bytes));
    }
    assertRefused('CERTIFICATE_MALFORMED', () =>
      readCargoCollectionRequest(sequence(primitive(0x80, Buffer.alloc(3)))),
    );
  });

  test('never makes the reader throw anything but an AwalaError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (octets) => {
        isAccepted(() => readCargoCollectionRequest(sequence(primitive(0x80, octets))));
        isAccepted(() => readCargoCollectionRequest(Buffer.from(octets)));
      }),
    );
  });
});
