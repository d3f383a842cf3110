/**
 * Certificates that we issue: their octets, what is refused, and that other implementations accept them.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import { Certificate as OfficialCertificate } from '@relaycorp/relaynet-core';
import { type BerElement, readBer } from '../../../src/awala/asn1/reader.ts';
import { Tag } from '../../../src/awala/asn1/tags.ts';
import { constructed, octetAligned, oid, primitive, sequence } from '../../../src/awala/asn1/writer.ts';
import { signPlainly } from '../../../src/awala/cms/sign.ts';
import { Oid } from '../../../src/awala/oids.ts';
import { type Certificate, readCertificate } from '../../../src/awala/pki/certificate.ts';
import { issueCertificate } from '../../../src/awala/pki/issue-certificate.ts';
import { needsTool } from '../../support/needs-tool.ts';
import { arrayBuffer } from '../../support/octets.ts';
import {
  issued,
  selfIssued,
  type TestChain,
  type TestIdentity,
  type TestNode,
  testChain,
  testIdentity,
} from '../../support/pki.ts';
import { assertRejected } from '../../support/refusals.ts';
import { assertDer } from '../../support/strict-der.ts';

const SECOND = 1000;
const DAY = 86_400 * SECOND;

let chain: TestChain;
let identity: TestIdentity;
before(async () => {
  chain = await testChain({ pdaRateLimit: { limit: 7, periodMs: 90 * SECOND } });
  identity = await testIdentity('stranger');
});

function nodes() {
  return [chain.gateway, chain.privateGateway, chain.endpoint, chain.sender];
}

function selfSigned(parts: Partial<Parameters<typeof issueCertificate>[0]>) {
  return issueCertificate({
    subjectPublicKey: identity.publicKey,
    issuer: { selfSignedWith: identity.key },
    notBefore: 0,
    notAfter: DAY,
    isCa: true,
    pathLength: 2,
    serialNumber: Buffer.of(1),
    ...parts,
  });
}

function official({ certificate }: { certificate: { raw: Buffer } }): OfficialCertificate {
  return OfficialCertificate.deserialize(arrayBuffer(certificate.raw));
}

/** The certificate that a self-issued one would be if its names were UTF8Strings. */
async function renamed({ key, certificate }: TestNode): Promise<Certificate> {
  const name = sequence(
    constructed(
      Tag.SET,
      sequence(oid(Oid.COMMON_NAME), primitive(Tag.UTF8_STRING, Buffer.from(certificate.subjectId))),
    ),
  );
  const [signedPart, algorithm] = elements(readBer(certificate.raw));
  assert.ok(signedPart && algorithm);
  const fields = elements(signedPart).map(({ raw }, index) => (index === 3 || index === 5 ? name : raw));
  const toBeSigned = sequence(...fields);
  const signature = primitive(Tag.BIT_STRING, octetAligned(await signPlainly(toBeSigned, key)));
  return readCertificate(sequence(toBeSigned, algorithm.raw, signature));
}

function elements(parent: BerElement): BerElement[] {
  const children: BerElement[] = [];
  for (const cursor = parent.children(); !cursor.atEnd; ) {
    children.push(cursor.next());
  }
  return children;
}

describe('An issued certificate', () => {
  it('reads back as what was asked for', () => {
    const [gateway, privateGateway, endpoint, sender] = nodes().map(({ certificate }) => certificate);
    assert.ok(gateway && privateGateway && endpoint && sender);
    assert.equal(gateway.subjectId, chain.gateway.id);
    assert.ok(gateway.isSelfIssued);
    assert.deepEqual([gateway.isCa, gateway.pathLength], [true, 2]);
    assert.deepEqual([privateGateway.isCa, privateGateway.pathLength], [true, 1]);
    assert.deepEqual([endpoint.isCa, endpoint.pathLength], [true, 0]);
    assert.deepEqual([sender.isCa, sender.pathLength], [false, 0]);
    assert.equal(privateGateway.issuerId, gateway.subjectId);
    assert.equal(endpoint.issuerId, privateGateway.subjectId);
    assert.equal(sender.issuerId, endpoint.subjectId);
    assert.deepEqual(sender.pdaRateLimit, { limit: 7, periodMs: 90 * SECOND });
    assert.equal(endpoint.pdaRateLimit, undefined);
  });

  it('is DER', () => {
    for (const { certificate } of nodes()) {
      assertDer(certificate.raw);
    }
  });

  it("holds the subject's key octet by octet, so that its digest is the node id", () => {
    for (const { certificate, publicKey, id } of nodes()) {
      assert.ok(certificate.raw.includes(publicKey.spki));
      assert.equal(certificate.subjectId, id);
    }
  });

  it('names subject and issuer by one BMPString each', () => {
    for (const { certificate } of nodes()) {
      const subject = Buffer.from(certificate.subjectId, 'utf16le').swap16();
      const issuer = Buffer.from(certificate.issuerId, 'utf16le').swap16();
      const name = Buffer.from('06035504031e8182', 'hex');
      assert.ok(certificate.raw.includes(Buffer.concat([name, subject])));
      assert.ok(certificate.raw.includes(Buffer.concat([name, issuer])));
    }
  });

  it('spells out its path length in critical Basic Constraints, also for a leaf', () => {
    const critical = Buffer.from('0603551d130101ff', 'hex');
    const expected = ['30060101ff020102', '30060101ff020101', '30060101ff020100', '3003020100'];
    for (const [index, { certificate }] of nodes().entries()) {
      const value = Buffer.from(expected[index] as string, 'hex');
      const extension = Buffer.concat([critical, Buffer.of(4, value.length), value]);
      assert.ok(certificate.raw.includes(extension), `certificate ${index}`);
    }
  });

  it('has its dates in whole seconds, as GeneralizedTime from 2050 on', async () => {
    const notBefore = Date.UTC(2049, 11, 31, 23, 59, 58, 999);
    const certificate = await selfSigned({ notBefore, notAfter: notBefore + DAY });
    assert.equal(certificate.notBefore, notBefore - 999);
    assert.equal(certificate.notAfter, notBefore - 999 + DAY);
    assert.ok(certificate.raw.includes(Buffer.from('491231235958Z')));
    assert.ok(certificate.raw.includes(Buffer.from('20500101235958Z')));
  });

  it('has a positive serial number of the shortest form', async () => {
    for (const [given, written] of [
      ['01', '020101'],
      ['7f', '02017f'],
      ['80', '02020080'],
      ['000001ff', '020201ff'],
      [`${'ff'.repeat(19)}`, `021400${'ff'.repeat(19)}`],
    ] as const) {
      const certificate = await selfSigned({ serialNumber: Buffer.from(given, 'hex') });
      assert.equal(certificate.serialNumberField.toString('hex'), written);
    }
  });

  it('has the RSA-PSS parameters of RFC 4055 in both places', () => {
    const { raw } = chain.privateGateway.certificate;
    const parameters =
      '304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120';
    const certificate = readBer(raw).children();
    const signed = certificate.next();
    assert.equal(certificate.next().raw.toString('hex'), parameters);
    assert.ok(signed.raw.includes(Buffer.from(parameters, 'hex')));
  });

  it('is issued to and by keys of every allowed size', async () => {
    for (const name of ['rsa-3072', 'rsa-4096'] as const) {
      const issuer = await selfIssued(await testIdentity(name));
      const { certificate } = await issued(identity, issuer);
      assert.ok(certificate.isSignedBy(issuer.publicKey));
      assert.equal(issuer.certificate.publicKey.bits, issuer.publicKey.bits);
    }
  });

  it('names an issuer as its own certificate does, also when others made that one', async () => {
    const issuer = { key: chain.gateway.key, certificate: await renamed(chain.gateway) };
    const { certificate } = await issued(identity, issuer);
    assert.equal(certificate.issuerId, chain.gateway.id);
    assert.ok(certificate.issuerName.equals(issuer.certificate.issuerName));
    assert.ok(!certificate.issuerName.equals(chain.gateway.certificate.issuerName));
  });
});

describe('Issuing refuses', () => {
  it('a certificate that starts before its issuer', async () => {
    const { notBefore } = chain.gateway.certificate;
    await assertRejected('CERTIFICATE_MALFORMED', issued(identity, chain.gateway, { notBefore: notBefore - 1 }));
    assert.equal((await issued(identity, chain.gateway, { notBefore })).certificate.notBefore, notBefore);
  });

  it('a certificate that ends after its issuer', async () => {
    const { notAfter } = chain.gateway.certificate;
    await assertRejected('CERTIFICATE_MALFORMED', issued(identity, chain.gateway, { notAfter: notAfter + SECOND }));
    assert.equal((await issued(identity, chain.gateway, { notAfter })).certificate.notAfter, notAfter);
  });

  it('a certificate that ends before it starts', async () => {
    await assertRejected('CERTIFICATE_MALFORMED', selfSigned({ notBefore: DAY, notAfter: 0 }));
    await assertRejected('CERTIFICATE_MALFORMED', selfSigned({ notBefore: Number.NaN }));
  });

  it('dates that X.509 has no room for', async () => {
    const notAfter = Date.UTC(1950, 0, 2);
    await assertRejected('CERTIFICATE_MALFORMED', selfSigned({ notBefore: Date.UTC(1950, 0, 1) - 1, notAfter }));
    assert.equal((await selfSigned({ notBefore: Date.UTC(1950, 0, 1), notAfter })).notAfter, notAfter);
    for (const end of [Date.UTC(10_000, 0, 1), 1e20]) {
      await assertRejected('CERTIFICATE_MALFORMED', selfSigned({ notAfter: end }));
    }
  });

  it('a serial number that is zero, missing or longer than X.509 allows', async () => {
    for (const serialNumber of [Buffer.alloc(0), Buffer.alloc(16), Buffer.alloc(20, 1)]) {
      await assertRejected('CERTIFICATE_MALFORMED', selfSigned({ serialNumber }));
    }
  });

  it("a key that is not that of the issuer's certificate", async () => {
    const impostor = { key: identity.key, certificate: chain.gateway.certificate };
    await assertRejected('CERTIFICATE_SIGNATURE_INVALID', issued(identity, impostor));
    await assertRejected(
      'CERTIFICATE_SIGNATURE_INVALID',
      selfSigned({ issuer: { selfSignedWith: chain.gateway.key } }),
    );
  });
});

describe('Other implementations accept an issued certificate:', () => {
  it('the official library, with its names, dates and key identifiers', async () => {
    for (const node of nodes()) {
      const certificate = official(node);
      certificate.validate();
      assert.equal(await certificate.calculateSubjectId(), node.id);
      assert.equal(certificate.getIssuerId(), node.certificate.issuerId);
      assert.equal(certificate.getCommonName(), node.id);
      assert.equal(certificate.getSerialNumberHex(), node.certificate.serialNumber);
      assert.equal(certificate.startDate.getTime(), node.certificate.notBefore);
      assert.equal(certificate.expiryDate.getTime(), node.certificate.notAfter);
    }
  });

  it('the official library, as part of a path', async () => {
    const path = await official(chain.sender).getCertificationPath(
      [official(chain.endpoint), official(chain.privateGateway)],
      [official(chain.gateway)],
    );
    const ids = await Promise.all(path.map((certificate) => certificate.calculateSubjectId()));
    assert.deepEqual(ids, [chain.sender.id, chain.endpoint.id, chain.privateGateway.id, chain.gateway.id]);
  });

  it('Node, which verifies each by the next', () => {
    const certificates = nodes().map(({ certificate }) => new X509Certificate(certificate.raw));
    for (const [index, certificate] of certificates.entries()) {
      const issuer = certificates[Math.max(0, index - 1)] as X509Certificate;
      assert.ok(certificate.checkIssued(issuer));
      assert.ok(certificate.verify(issuer.publicKey));
      assert.equal(certificate.ca, index < 3);
    }
  });

  it('OpenSSL, as a path', needsTool('openssl', 'apt-get install openssl'), () => {
    const directory = mkdtempSync(path.join(tmpdir(), 'relay-gateway-'));
    try {
      const pem = (node: { certificate: { raw: Buffer } }) => new X509Certificate(node.certificate.raw).toString();
      const file = (name: string, text: string) => {
        writeFileSync(path.join(directory, name), text);
        return path.join(directory, name);
      };
      const answer = execFileSync('openssl', [
        'verify',
        '-CAfile',
        file('trusted.pem', pem(chain.gateway)),
        '-untrusted',
        file('untrusted.pem', pem(chain.privateGateway) + pem(chain.endpoint)),
        file('leaf.pem', pem(chain.sender)),
      ]);
      assert.match(answer.toString(), /leaf\.pem: OK/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
