import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { context, contextConstructed, Tag } from '../../../src/awala/asn1/tags.ts';
import { integer, oid, primitive, sequence } from '../../../src/awala/asn1/writer.ts';
import { AwalaError } from '../../../src/awala/errors.ts';
import { Oid } from '../../../src/awala/oids.ts';
import { readCertificate } from '../../../src/awala/pki/certificate.ts';
import { readRsaPublicKey } from '../../../src/awala/pki/rsa-public-key.ts';
import {
  BOOLEAN,
  basicConstraints,
  commonName,
  extension,
  generalizedTime,
  handmadeCertificate,
  handmadeKey,
  NULL,
  pss,
  signWith,
  subjectKeyId,
} from '../../support/handmade.ts';
import { DAY, HandmadeChain, NOW } from '../../support/handmade-chain.ts';
import { officialAuthorization, officialChain } from '../../support/official-chain.ts';

const chain = await HandmadeChain.make();
const { sender, endpoint, stranger } = chain.keys;

describe('Certificate', () => {
  it('reads those of the official library, each signed by the next', async () => {
    const official = await officialChain();
    const made = [official.pda, official.endpoint, official.privateGateway, official.gateway];
    const read = made.map((certificate) => readCertificate(Buffer.from(certificate.serialize())));
    for (const [i, certificate] of read.entries()) {
      const source = made[i] as (typeof made)[number];
      assert.equal(certificate.subjectId, await source.calculateSubjectId());
      assert.equal(certificate.issuerId, source.getIssuerId());
      assert.equal(certificate.serialNumber, source.getSerialNumberHex());
      assert.equal(certificate.notBefore, source.startDate.getTime());
      assert.equal(certificate.notAfter, source.expiryDate.getTime());
      assert.ok(certificate.isSignedBy((read[i + 1] ?? certificate).publicKey));
    }
    assert.deepEqual(
      read.map(({ isCa, pathLength }) => [isCa, pathLength]),
      [
        [false, 0],
        [true, 0],
        [true, 1],
        [true, 2],
      ],
    );
    assert.ok(read[3]?.isSelfIssued);
    const another = readCertificate(
      Buffer.from((await officialAuthorization(official, official.keys.sender)).serialize()),
    );
    assert.notEqual(another.serialNumber, read[0]?.serialNumber);
  });

  it('keeps the bytes that came in, and views of them', () => {
    const bytes = chain.pda({ serialNumber: integer(77) });
    const certificate = readCertificate(bytes);
    assert.equal(certificate.raw, bytes);
    assert.equal(certificate.serialNumber, '4d');
    assert.deepEqual(certificate.serialNumberField, integer(77));
    assert.deepEqual(certificate.issuerName, commonName(endpoint.id));
  });

  for (const [name, tag] of Object.entries({
    BMPString: Tag.BMP_STRING,
    UTF8String: Tag.UTF8_STRING,
    PrintableString: Tag.PRINTABLE_STRING,
    TeletexString: Tag.TELETEX_STRING,
    UniversalString: Tag.UNIVERSAL_STRING,
  })) {
    it(`reads names that are a ${name}`, () => {
      const names = { subjectName: commonName(sender.id, tag), issuerName: commonName(endpoint.id, tag) };
      const certificate = readCertificate(chain.pda(names));
      assert.equal(certificate.subjectId, sender.id);
      assert.equal(certificate.issuerId, endpoint.id);
    });
  }

  const constraints: [string, Buffer[], boolean, number | undefined][] = [
    ['nothing', [], false, undefined],
    ['a path length only', [integer(0)], false, 0],
    ['an explicit FALSE', [BOOLEAN.false, integer(0)], false, 0],
    ['TRUE and no path length', [BOOLEAN.true], true, undefined],
    ['TRUE and a path length', [BOOLEAN.true, integer(2)], true, 2],
    ['a TRUE that is not DER', [Buffer.from('010101', 'hex'), integer(1)], true, 1],
  ];
  for (const [name, fields, isCa, pathLength] of constraints) {
    it(`reads Basic Constraints of ${name}`, () => {
      const certificate = readCertificate(chain.pda({ constraints: basicConstraints(...fields) }));
      assert.equal(certificate.isCa, isCa);
      assert.equal(certificate.pathLength, pathLength);
    });
  }

  it('reads GeneralizedTime', () => {
    const notBefore = Date.UTC(2026, 0, 1, 1, 2, 3);
    const notAfter = Date.UTC(2050, 11, 31, 23, 59, 59);
    const validity = sequence(generalizedTime(notBefore), generalizedTime(notAfter));
    const certificate = readCertificate(chain.pda({ validity }));
    assert.equal(certificate.notBefore, notBefore);
    assert.equal(certificate.notAfter, notAfter);
  });

  it('reads the PDA rate limit, its fields tagged or not', () => {
    const forms = [
      [integer(5), integer(60)],
      [integer(5, context(0)), integer(60, context(1))],
    ];
    for (const fields of forms) {
      const certificate = readCertificate(chain.pda({ more: [extension(Oid.PDA_RATE_LIMIT, sequence(...fields))] }));
      assert.deepEqual(certificate.pdaRateLimit, { limit: 5, periodMs: 60_000 });
    }
    assert.equal(readCertificate(chain.pda()).pdaRateLimit, undefined);
  });

  it('skips unknown extensions that are not critical', () => {
    assert.equal(readCertificate(chain.pda({ more: [extension('1.2.3.4', NULL)] })).subjectId, sender.id);
  });

  it('needs no Authority Key Identifier when self-issued (RS-002)', () => {
    const extensions = [basicConstraints(BOOLEAN.true, integer(0)), subjectKeyId(sender.publicKey.digest)];
    assert.ok(readCertificate(chain.certificate('sender', 'sender', { extensions })).isSelfIssued);
  });

  for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
    it(`verifies ${hash} signatures`, () => {
      const certificate = readCertificate(chain.pda({ hash }));
      assert.ok(certificate.isSignedBy(endpoint.publicKey));
    });
  }

  it('reads RSA-PSS parameters with an explicit trailer field, or hashes without NULL', () => {
    const bare = sequence(oid(Oid.SHA256));
    const explicit = (number: number, content: Buffer) => primitive(contextConstructed(number), content);
    const withoutNull = sequence(
      oid(Oid.RSASSA_PSS),
      sequence(explicit(0, bare), explicit(1, sequence(oid(Oid.MGF1), bare)), explicit(2, integer(32))),
    );
    for (const algorithm of [pss('sha256', { trailer: 1 }), withoutNull]) {
      assert.ok(readCertificate(chain.pda({ algorithm })).isSignedBy(endpoint.publicKey));
    }
  });

  for (const name of ['rsa-3072', 'rsa-4096'] as const) {
    it(`reads and verifies with ${name} keys`, async () => {
      const key = await handmadeKey(name);
      const dates = { notBefore: NOW, notAfter: NOW + DAY };
      const certificate = readCertificate(handmadeCertificate({ subject: key, issuer: key, ...dates }));
      assert.equal(certificate.publicKey.bits, Number(name.slice(4)));
      assert.ok(certificate.isSignedBy(key.publicKey));
    });
  }

  it('is not signed by whoever it does not name, nor by a key that did not sign it', () => {
    assert.ok(!readCertificate(chain.pda()).isSignedBy(stranger.publicKey));
    const forged = chain.pda({ signature: signWith(stranger, Buffer.from('forged')) });
    assert.ok(!readCertificate(forged).isSignedBy(endpoint.publicKey));
  });

  it('is valid at its first and its last instant, and as far outside as clocks may drift', () => {
    const certificate = readCertificate(chain.pda({ notBefore: NOW, notAfter: NOW + DAY }));
    const code = (expected: string) => (error: unknown) => error instanceof AwalaError && error.code === expected;
    certificate.checkDates(NOW, 0);
    certificate.checkDates(NOW + DAY, 0);
    certificate.checkDates(NOW - 500, 500);
    certificate.checkDates(NOW + DAY + 500, 500);
    assert.throws(() => certificate.checkDates(NOW - 501, 500), code('CERTIFICATE_NOT_YET_VALID'));
    assert.throws(() => certificate.checkDates(NOW + DAY + 501, 500), code('CERTIFICATE_EXPIRED'));
  });
});

describe('RSA public key', () => {
  it('has the node id that RS-002 gives it', async () => {
    const official = await officialChain();
    const { spki } = endpoint.publicKey;
    assert.equal(readRsaPublicKey(spki).nodeId, await official.endpoint.calculateSubjectId());
  });

  it('verifies what its private half signed, and nothing else', () => {
    const data = Buffer.from('data');
    const signature = signWith(sender, data);
    assert.ok(sender.publicKey.verify('sha256', data, signature));
    assert.ok(!sender.publicKey.verify('sha256', Buffer.from('date'), signature));
    assert.ok(!sender.publicKey.verify('sha384', data, signature));
    assert.ok(!stranger.publicKey.verify('sha256', data, signature));
    assert.ok(!sender.publicKey.verify('sha256', data, Buffer.alloc(5000)));
  });

  it('never throws when it verifies, whatever numbers a stranger calls a key and whatever he calls a signature', () => {
    const odd = (length: number) =>
      fc.uint8Array({ minLength: length, maxLength: length }).map((octets) => {
        octets[0] = (octets[0] as number) | 0x80;
        octets[length - 1] = (octets[length - 1] as number) | 1;
        return Buffer.from(octets);
      });
    const modulus = fc.constantFrom(256, 384, 512).chain(odd);
    const exponent = fc.oneof(fc.constant(Buffer.from([3])), odd(1), odd(3), odd(4));
    const signature = fc.oneof(
      fc.uint8Array({ maxLength: 600 }),
      fc.constantFrom(256, 384, 512).map((length) => Buffer.alloc(length, 0xff)),
    );
    fc.assert(
      fc.property(modulus, exponent, signature, (n, e, octets) => {
        const numbers = sequence(...[n, e].map((number) => unsignedInteger(number)));
        const bits = primitive(Tag.BIT_STRING, Buffer.concat([Buffer.alloc(1), numbers]));
        const key = readRsaPublicKey(sequence(sequence(oid(Oid.RSA_ENCRYPTION), NULL), bits));
        assert.equal(key.verify('sha256', Buffer.from('data'), Buffer.from(octets)), false);
      }),
      { numRuns: 300 },
    );
  });

  it('refuses a key whose lengths are not DER', () => {
    const { spki } = sender.publicKey;
    const padded = Buffer.concat([Buffer.from('3083', 'hex'), Buffer.alloc(1), spki.subarray(2)]);
    assert.throws(
      () => readRsaPublicKey(padded),
      (error) => error instanceof AwalaError && error.code === 'KEY_UNSUPPORTED',
    );
  });
});

function unsignedInteger(magnitude: Buffer): Buffer {
  const needsZero = (magnitude[0] as number) >= 0x80;
  return primitive(Tag.INTEGER, needsZero ? Buffer.concat([Buffer.alloc(1), magnitude]) : magnitude);
}
