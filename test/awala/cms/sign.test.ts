/**
 * What signs: its SignedData is DER, has the structure that clients read, and verifies here and in OpenSSL.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { webcrypto } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { readBer } from '../../../src/awala/asn1/reader.ts';
import { sequence } from '../../../src/awala/asn1/writer.ts';
import { signData, signPlainly, writeSignedData } from '../../../src/awala/cms/sign.ts';
import { readSignedData, verifySignedData } from '../../../src/awala/cms/signed-data.ts';
import { CertificateCache } from '../../../src/awala/pki/certificate-cache.ts';
import type { SigningKey } from '../../../src/awala/signing-key.ts';
import { needsTool } from '../../support/needs-tool.ts';
import { arrayBuffer } from '../../support/octets.ts';
import { selfIssued, type TestChain, testChain, testIdentity } from '../../support/pki.ts';
import { assertRefused, assertRejected } from '../../support/refusals.ts';
import { assertDer } from '../../support/strict-der.ts';

const CONTENT = Buffer.from('what is signed');

let chain: TestChain;
before(async () => {
  chain = await testChain();
});

function read(bytes: Buffer) {
  return readSignedData(bytes, new CertificateCache());
}

describe('SignedData that we write', () => {
  it('verifies, with its content inside or apart', async () => {
    const attached = read(await writeSignedData(CONTENT, chain.sender));
    assert.deepEqual(attached.content, [CONTENT]);
    assert.equal(verifySignedData(attached).subjectId, chain.sender.id);

    const detached = read(await writeSignedData(CONTENT, chain.sender, { isDetached: true }));
    assert.equal(detached.content, undefined);
    assert.equal(verifySignedData(detached, [CONTENT]).subjectId, chain.sender.id);
    assertRefused('SIGNATURE_INVALID', () => verifySignedData(detached, [Buffer.from('another')]));
  });

  it('is DER, content inside or apart, whatever the length of the content', async () => {
    for (const length of [0, 1, 127, 128, 255, 256, 65_535, 65_536, 1_000_000]) {
      assertDer(await writeSignedData(Buffer.alloc(length, 1), chain.sender));
    }
    assertDer(await writeSignedData(CONTENT, chain.sender, { isDetached: true }));
  });

  it('has the structure of RFC 5652 that both client stacks read', async () => {
    const bytes = await writeSignedData(CONTENT, chain.sender);
    const contentInfo = readBer(bytes).sequence();
    assert.equal(contentInfo.next().objectIdentifier(), '1.2.840.113549.1.7.2');
    const signedData = contentInfo.next(0xa0).only().sequence();
    assert.equal(signedData.next().raw.toString('hex'), '020101', 'version 1');
    assert.equal(signedData.next().raw.toString('hex'), '310d300b0609608648016503040201', 'SHA-256');
    const encapsulated = signedData.next().sequence();
    assert.equal(encapsulated.next().objectIdentifier(), '1.2.840.113549.1.7.1', 'id-data');
    assert.deepEqual(encapsulated.next(0xa0).only(0x04).content, CONTENT, 'primitive OCTET STRING');
    assert.deepEqual(signedData.next(0xa0).only().raw, chain.sender.certificate.raw);

    const signerInfo = signedData.last(0x31).only().sequence();
    assert.equal(signerInfo.next().raw.toString('hex'), '020101', 'version 1, so by issuer and serial number');
    const { issuerName, serialNumberField } = chain.sender.certificate;
    assert.deepEqual(signerInfo.next().raw, sequence(issuerName, serialNumberField));
    assert.equal(signerInfo.next().raw.toString('hex'), '300b0609608648016503040201', 'SHA-256');
    const attributes = signerInfo.next(0xa0).children();
    assert.equal(
      attributes.next().raw.toString('hex'),
      '301806092a864886f70d010903310b06092a864886f70d010701',
      'contentType is id-data',
    );
    assert.match(attributes.next().raw.toString('hex'), /^302f06092a864886f70d01090431220420/, 'messageDigest');
    attributes.finish();
    assert.equal(signerInfo.next().sequence().next().objectIdentifier(), '1.2.840.113549.1.1.10', 'RSA-PSS');
    assert.equal(signerInfo.next(0x04).content.length, 256);
    signerInfo.finish();
  });

  it('carries each certificate once and unchanged', async () => {
    const { sender, endpoint, privateGateway } = chain;
    const others = [endpoint, privateGateway, endpoint, sender].map(({ certificate }) => certificate);
    const { certificates } = read(await writeSignedData(CONTENT, sender, { certificates: others }));
    const expected = [sender, endpoint, privateGateway].map(({ certificate }) => certificate.raw);
    assert.deepEqual(certificates.map(({ raw }) => raw).toSorted(Buffer.compare), expected.toSorted(Buffer.compare));
  });

  it('is given in pieces that hold the content itself, not a copy', async () => {
    const pieces = [Buffer.from('what is '), Buffer.alloc(1_000_000, 'signed')];
    const signed = await signData(pieces, chain.sender);
    assert.ok(pieces.every((piece) => signed.includes(piece)));
    assert.deepEqual(read(Buffer.concat(signed)).content, [Buffer.concat(pieces)]);
  });

  it('verifies for any content, however it is cut into pieces', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }), async (pieces) => {
        const signed = read(Buffer.concat(await signData(pieces, chain.sender)));
        assert.deepEqual(Buffer.concat(signed.content ?? []), Buffer.concat(pieces));
        verifySignedData(signed);
      }),
      { numRuns: 50 },
    );
  });

  it('is made with keys of every allowed size', async () => {
    for (const name of ['rsa-3072', 'rsa-4096'] as const) {
      const signer = await selfIssued(await testIdentity(name));
      assert.equal(verifySignedData(read(await writeSignedData(CONTENT, signer))).subjectId, signer.id);
    }
  });

  it('verifies in OpenSSL', needsTool('openssl', 'apt-get install openssl'), async () => {
    const directory = mkdtempSync(path.join(tmpdir(), 'relay-gateway-'));
    try {
      const file = path.join(directory, 'signed.der');
      writeFileSync(file, await writeSignedData(CONTENT, chain.gateway));
      const answer = execFileSync(
        'openssl',
        ['cms', '-verify', '-noverify', '-binary', '-inform', 'der', '-in', file],
        {
          stdio: ['ignore', 'pipe', 'ignore'],
        },
      );
      assert.deepEqual(answer, CONTENT);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe('Signing', () => {
  it('asks only the WebCrypto that the key belongs to', async () => {
    const { key, certificate } = chain.sender;
    const calls: unknown[] = [];
    const subtle = {
      sign: (algorithm: webcrypto.RsaPssParams, privateKey: CryptoKey, data: Uint8Array<ArrayBuffer>) => {
        calls.push([algorithm, privateKey]);
        return webcrypto.subtle.sign(algorithm, privateKey, data);
      },
    };
    const keeper = { ...key, crypto: { subtle } as unknown as Crypto };
    verifySignedData(read(await writeSignedData(CONTENT, { key: keeper, certificate })));
    assert.deepEqual(calls, [[{ name: 'RSA-PSS', saltLength: 32 }, key.privateKey]]);
  });

  it('refuses a key for another algorithm or hash', async () => {
    const { privateKey } = chain.sender;
    for (const algorithm of [
      { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
      { name: 'RSA-PSS', hash: 'SHA-1' },
    ]) {
      const key: SigningKey = {
        ...chain.sender.key,
        privateKey: await webcrypto.subtle.importKey('pkcs8', arrayBuffer(privateKey), algorithm, false, ['sign']),
      };
      await assertRejected('ALGORITHM_UNSUPPORTED', signPlainly(CONTENT, key));
    }
  });

  it('makes plain signatures that the public key verifies', async () => {
    const signature = await signPlainly(CONTENT, chain.sender.key);
    assert.ok(chain.sender.publicKey.verify('sha256', CONTENT, signature));
    assert.ok(!chain.sender.publicKey.verify('sha256', Buffer.from('another'), signature));
    assert.ok(!chain.endpoint.publicKey.verify('sha256', CONTENT, signature));
  });
});
