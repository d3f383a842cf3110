/** What the doctor makes of registrations that clients cannot use. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { Tag } from '../../src/awala/asn1/tags.ts';
import { integer } from '../../src/awala/asn1/writer.ts';
import type { ConnectionParams } from '../../src/awala/connection-params.ts';
import { readCertificate } from '../../src/awala/pki/certificate.ts';
import type { Registration } from '../../src/awala/poweb/registration.ts';
import { checkRegistration } from '../../src/doctor/registration-check.ts';
import {
  BOOLEAN,
  basicConstraints,
  type CertificateParts,
  commonName,
  handmadeCertificate,
  handmadeKey,
} from '../support/handmade.ts';
import { issued, newSessionKey, selfIssued, type TestIdentity, type TestNode, testIdentity } from '../support/pki.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

describe('A registration', () => {
  const now = Date.now();
  let own: TestIdentity;
  let gateway: TestNode;
  let node: TestNode;
  let params: ConnectionParams;
  let sound: Registration;

  before(async () => {
    own = await testIdentity('private-gateway');
    gateway = await selfIssued(await testIdentity('internet-gateway'));
    node = await issued(own, gateway);
    params = { internetAddress: 'gateway.test', identityKey: gateway.publicKey, sessionKey: newSessionKey() };
    sound = {
      nodeCertificate: node.certificate,
      gatewayCertificate: gateway.certificate,
      internetAddress: 'gateway.test',
      sessionKey: newSessionKey(),
    };
  });

  function check(changes: Partial<Registration>, options: { without?: 'sessionKey' } = {}): void {
    const registration = { ...sound, ...changes };
    if (options.without) {
      delete registration[options.without];
    }
    checkRegistration(registration, own.publicKey, params, now);
  }

  /** A certificate like that of the private gateway, otherwise where told. */
  async function oddCertificate(parts: Partial<CertificateParts>) {
    const { notBefore, notAfter } = gateway.certificate;
    const [subject, issuer] = [await handmadeKey('private-gateway'), await handmadeKey('internet-gateway')];
    const constraints = basicConstraints(BOOLEAN.true, integer(1));
    return readCertificate(handmadeCertificate({ subject, issuer, notBefore, notAfter, constraints, ...parts }));
  }

  test('that is right passes', async () => {
    check({});
    // What the certificates of the other tests differ from.
    check({ nodeCertificate: await oddCertificate({}) });
  });

  test('for another key is found', async () => {
    const other = await issued(await testIdentity('other-private-gateway'), gateway);
    assert.throws(() => check({ nodeCertificate: other.certificate }), {
      code: 'CERTIFICATE_WRONG',
      message: /another key/,
    });
  });

  test("whose certificate does not chain to the gateway's is found", async () => {
    const stranger = await selfIssued(await testIdentity('other-internet-gateway'));
    const foreign = await issued(own, stranger);
    assert.throws(() => check({ nodeCertificate: foreign.certificate }), {
      code: 'CERTIFICATE_WRONG',
      message: /chain/,
    });
  });

  test('whose certificate has a wrong signature is found', async () => {
    const raw = Buffer.from(node.certificate.raw);
    raw.writeUInt8(raw.readUInt8(raw.length - 1) ^ 1, raw.length - 1);
    assert.throws(() => check({ nodeCertificate: readCertificate(raw) }), {
      code: 'CERTIFICATE_WRONG',
      message: /chain/,
    });
  });

  test("of a gateway whose own certificate is another's is found", async () => {
    const authority = await selfIssued(await testIdentity('other-internet-gateway'));
    const intermediate = await issued(gateway, authority, { pathLength: 2 });
    const beneath = await issued(own, intermediate);
    assert.throws(() => check({ nodeCertificate: beneath.certificate, gatewayCertificate: intermediate.certificate }), {
      code: 'CERTIFICATE_WRONG',
      message: /self-issued/,
    });
  });

  test('whose certificate may not issue others, or has another path length, is found', async () => {
    const leaf = await issued(own, gateway, { isCa: false, pathLength: 0 });
    assert.throws(() => check({ nodeCertificate: leaf.certificate }), { message: /may not issue/ });
    const long = await issued(own, gateway, { pathLength: 2 });
    assert.throws(() => check({ nodeCertificate: long.certificate }), { message: /path length 2 instead of 1/ });
  });

  test('whose certificate is not valid now is found', async () => {
    const future = await issued(own, gateway, { notBefore: now + HOUR });
    assert.throws(() => check({ nodeCertificate: future.certificate }), { code: 'CERTIFICATE_NOT_YET_VALID' });
    const past = await issued(own, gateway, { notAfter: now - HOUR });
    assert.throws(() => check({ nodeCertificate: past.certificate }), { code: 'CERTIFICATE_EXPIRED' });
  });

  test('with which clients would register again at once is found, and the mend named', async () => {
    const short = await issued(own, gateway, { notAfter: now + 90 * DAY - HOUR });
    assert.throws(() => check({ nodeCertificate: short.certificate }), {
      code: 'CERTIFICATE_WRONG',
      message: /ends in 89 days/,
      mend: /relay-gateway identity/,
    });
  });

  test("whose certificate outlives the gateway's is found", async () => {
    const notAfter = gateway.certificate.notAfter + DAY;
    await assert.rejects(async () => check({ nodeCertificate: await oddCertificate({ notAfter }) }), {
      code: 'CERTIFICATE_WRONG',
      message: /within the dates/,
    });
  });

  test('whose certificate has a name that is not a BMPString is found', async () => {
    for (const parts of [
      { subjectName: commonName(own.id, Tag.UTF8_STRING) },
      { issuerName: commonName(gateway.id, Tag.PRINTABLE_STRING) },
    ]) {
      const nodeCertificate = await oddCertificate(parts);
      assert.throws(() => check({ nodeCertificate }), { code: 'CERTIFICATE_WRONG', message: /BMPString/ });
    }
  });

  test('by another gateway than that of the connection parameters is found, and the mend named', async () => {
    const other = await selfIssued(await testIdentity('other-internet-gateway'));
    const there = await issued(own, other);
    assert.throws(() => check({ nodeCertificate: there.certificate, gatewayCertificate: other.certificate }), {
      code: 'ANSWER_WRONG',
      message: /two different gateways/,
      mend: /same stores and keys/,
    });
  });

  test('with another Internet address than the connection parameters is found, and the mend named', () => {
    assert.throws(() => check({ internetAddress: 'elsewhere.test' }), {
      code: 'ANSWER_WRONG',
      mend: /INTERNET_ADDRESS/,
    });
  });

  test('without a session key, or with one that JavaScript clients cannot read, is found', () => {
    assert.throws(() => check({}, { without: 'sessionKey' }), { code: 'ANSWER_WRONG', message: /no session key/ });
    assert.throws(() => check({ sessionKey: newSessionKey('secp384r1') }), { code: 'ANSWER_WRONG', message: /P-256/ });
  });
});
