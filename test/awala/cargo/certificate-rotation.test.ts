/**
 * Certificate rotation in both forms, since each deployed stack reads but one.
 */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import {
  CertificationPath,
  Certificate as OfficialCertificate,
  CertificateRotation as OfficialRotation,
} from '@relaycorp/relaynet-core';
import fc from 'fast-check';
import { readBer } from '../../../src/awala/asn1/reader.ts';
import { Tag } from '../../../src/awala/asn1/tags.ts';
import {
  type CertificateRotation,
  readCertificateRotation,
  writeCertificateRotation,
} from '../../../src/awala/cargo/certificate-rotation.ts';
import { messagePrefix } from '../../../src/awala/message-prefix.ts';
import { arrayBuffer } from '../../support/octets.ts';
import { testChain } from '../../support/pki.ts';
import { assertRefused, isAccepted } from '../../support/refusals.ts';
import { assertDer } from '../../support/strict-der.ts';

const CODE = 'CERTIFICATE_ROTATION_MALFORMED';
const FORMS = ['octet-strings', 'certificates'] as const;

describe('A certificate rotation', () => {
  let rotation: CertificateRotation;

  before(async () => {
    const { privateGateway, gateway, endpoint } = await testChain();
    rotation = { leaf: privateGateway.certificate, authorities: [gateway.certificate, endpoint.certificate] };
  });

  /** The certificates' bytes, leaf first. */
  const raws = ({ leaf, authorities }: CertificateRotation) => [leaf, ...authorities].map(({ raw }) => raw);

  test('is read back in either form, in DER after its prefix', () => {
    for (const form of FORMS) {
      const bytes = writeCertificateRotation(rotation, form);
      assert.equal(bytes.subarray(0, 7).toString('latin1'), 'Awala\x10\0');
      assertDer(bytes.subarray(7));
      assert.deepEqual(raws(readCertificateRotation(bytes)), raws(rotation));
    }
  });

  test('is understood both ways between us and the official JavaScript library, as octet strings', () => {
    const ours = OfficialRotation.deserialize(arrayBuffer(writeCertificateRotation(rotation, 'octet-strings')));
    const { leafCertificate, certificateAuthorities } = ours.certificationPath;
    assert.deepEqual(
      [leafCertificate, ...certificateAuthorities].map((certificate) => Buffer.from(certificate.serialize())),
      raws(rotation),
    );
    const [leaf, ...authorities] = raws(rotation).map((raw) => OfficialCertificate.deserialize(arrayBuffer(raw)));
    assert.ok(leaf);
    const theirs = new OfficialRotation(new CertificationPath(leaf, authorities)).serialize();
    assert.deepEqual(raws(readCertificateRotation(Buffer.from(theirs))), raws(rotation));
  });

  test('holds the certificates themselves in the form for the Kotlin stack, the leaf under an implicit tag', () => {
    const bytes = writeCertificateRotation(rotation, 'certificates');
    const fields = readBer(bytes.subarray(7), Tag.SEQUENCE).children();
    const leaf = fields.next(0xa0);
    assert.deepEqual(leaf.content, readBer(rotation.leaf.raw).content);
    const authorities = fields.last(0xa1);
    assert.deepEqual(authorities.content, Buffer.concat(rotation.authorities.map(({ raw }) => raw)));
  });

  test('is skipped, not mistaken, by the official JavaScript library in the other form', () => {
    const bytes = arrayBuffer(writeCertificateRotation(rotation, 'certificates'));
    assert.throws(() => OfficialRotation.deserialize(bytes));
  });

  test('may have no CAs, and has 16 at most', () => {
    const alone = { leaf: rotation.leaf, authorities: [] };
    const many = { leaf: rotation.leaf, authorities: Array.from({ length: 17 }, () => rotation.leaf) };
    for (const form of FORMS) {
      assert.equal(readCertificateRotation(writeCertificateRotation(alone, form)).authorities.length, 0);
      assertRefused(CODE, () => readCertificateRotation(writeCertificateRotation(many, form)));
    }
  });

  test('is refused with another prefix or when it is cut short', () => {
    for (const form of FORMS) {
      const valid = writeCertificateRotation(rotation, form);
      assertRefused(CODE, () => readCertificateRotation(Buffer.concat([messagePrefix(0x50), valid.subarray(7)])));
      for (let length = 0; length < valid.length; length += 7) {
        assertRefused(CODE, () => readCertificateRotation(valid.subarray(0, length)));
      }
    }
  });

  test('never makes the reader throw anything but an AwalaError', () => {
    const valid = FORMS.map((form) => writeCertificateRotation(rotation, form));
    fc.assert(
      fc.property(
        fc.constantFrom(...valid),
        fc.nat(),
        fc.uint8Array({ minLength: 1, maxLength: 4 }),
        (bytes, at, octets) => {
          const start = at % bytes.length;
          const changed = Buffer.concat([bytes.subarray(0, start), octets, bytes.subarray(start + octets.length)]);
          isAccepted(() => readCertificateRotation(changed));
        },
      ),
      { numRuns: 500 },
    );
  });
});
