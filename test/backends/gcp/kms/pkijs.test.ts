/** PKI.js, and our own writers, with a key in Cloud KMS: wherever they ask a key for its public half, they get it. */
import assert from 'node:assert/strict';
import { createHash, webcrypto } from 'node:crypto';
import { after, before, suite, test } from 'node:test';
import { Integer, OctetString, Utf8String } from 'asn1js';
import {
  AttributeTypeAndValue,
  Certificate,
  CertificationRequest,
  ContentInfo,
  CryptoEngine,
  EncapsulatedContentInfo,
  EnvelopedData,
  type ICryptoEngine,
  IssuerAndSerialNumber,
  PublicKeyInfo,
  SignedData,
  SignerInfo,
} from 'pkijs';
import { writeSignedData } from '../../../../src/awala/cms/sign.ts';
import { readSignedData, verifySignedData } from '../../../../src/awala/cms/signed-data.ts';
import { CertificateCache } from '../../../../src/awala/pki/certificate-cache.ts';
import { readRsaPublicKey } from '../../../../src/awala/pki/rsa-public-key.ts';
import { readParcel } from '../../../../src/awala/ramf/parcel.ts';
import { verifyRamfMessage } from '../../../../src/awala/ramf/ramf-message.ts';
import { writeParcel } from '../../../../src/awala/ramf/write-ramf.ts';
import type { IdentityKey } from '../../../../src/gateway/ports.ts';
import { IDENTITY_KEY, type KmsRoom, openKmsRoom } from '../../../support/kms.ts';
import { issued, selfIssued, type TestNode, testIdentity } from '../../../support/pki.ts';

const COMMON_NAME = '2.5.4.3';
const DATA = '1.2.840.113549.1.7.1';
const ENVELOPED_DATA = '1.2.840.113549.1.7.3';

suite('A key in Cloud KMS', () => {
  let room: KmsRoom;
  let key: IdentityKey;
  let engine: ICryptoEngine;
  /** The gateway whose key it is, under a certificate by our own writer. */
  let gateway: TestNode;

  before(async () => {
    room = await openKmsRoom();
    key = await room.keys.identityKeys.create();
    engine = new CryptoEngine({ crypto: key.crypto }) as unknown as ICryptoEngine;
    const publicKey = readRsaPublicKey(key.spki);
    gateway = await selfIssued({ id: publicKey.nodeId, key, publicKey, privateKey: Buffer.alloc(0) });
  });

  after(() => room[Symbol.asyncDispose]());

  /** Issued by PKI.js, from the private half alone: it is asked for the public one. */
  async function certificateByPkijs(): Promise<Certificate> {
    const name = new AttributeTypeAndValue({ type: COMMON_NAME, value: new Utf8String({ value: gateway.id }) });
    const certificate = new Certificate({ version: 2, serialNumber: new Integer({ value: 7 }) });
    certificate.subject.typesAndValues.push(name);
    certificate.issuer.typesAndValues.push(name);
    certificate.notBefore.value = new Date(Date.now() - 60_000);
    certificate.notAfter.value = new Date(Date.now() + 60_000);
    await certificate.subjectPublicKeyInfo.importKey(key.privateKey, engine);
    await certificate.sign(key.privateKey, 'SHA-256', engine);
    return Certificate.fromBER(certificate.toSchema(true).toBER());
  }

  test('gives PKI.js its public half from the private one, with the node id that the key has anywhere', async () => {
    for (const half of [key.privateKey, key.publicKey]) {
      const info = new PublicKeyInfo();
      await info.importKey(half, engine);
      const spki = Buffer.from(info.toSchema().toBER());
      assert.deepEqual(spki, key.spki);
      assert.deepEqual(Buffer.from(await engine.exportKey('spki', half)), key.spki);
      assert.equal((await engine.exportKey('jwk', half)).kty, 'RSA');
      assert.equal(gateway.id, `0${createHash('sha256').update(spki).digest('hex')}`);
    }
  });

  test('issues by PKI.js: a certificate by itself, and a certification request', async () => {
    const certificate = await certificateByPkijs();
    assert.ok(await certificate.verify(certificate, engine));
    assert.ok(await certificate.verify(certificate, new CryptoEngine({ crypto: webcrypto as Crypto }) as never));
    const request = new CertificationRequest();
    await request.subjectPublicKeyInfo.importKey(key.privateKey, engine);
    await request.sign(key.privateKey, 'SHA-256', engine);
    assert.ok(await CertificationRequest.fromBER(request.toSchema(true).toBER()).verify(engine));
  });

  test('signs SignedData by PKI.js', async () => {
    const certificate = await certificateByPkijs();
    const content = Buffer.from('content');
    const signedData = new SignedData({
      version: 1,
      encapContentInfo: new EncapsulatedContentInfo({
        eContentType: DATA,
        eContent: new OctetString({ valueHex: content }),
      }),
      signerInfos: [
        new SignerInfo({
          version: 1,
          sid: new IssuerAndSerialNumber({ issuer: certificate.issuer, serialNumber: certificate.serialNumber }),
        }),
      ],
      certificates: [certificate],
    });
    await signedData.sign(key.privateKey, 0, 'SHA-256', undefined, engine);
    const read = new SignedData({ schema: signedData.toSchema(true) });
    assert.ok(await read.verify({ signer: 0 }, engine));
  });

  test('is encrypted for by PKI.js, which makes its ciphers and keys by the same engine', async () => {
    const certificate = await certificateByPkijs();
    const plaintext = Uint8Array.from(Buffer.from('for the holder')).buffer;
    const enveloped = new EnvelopedData();
    enveloped.addRecipientByCertificate(certificate, { oaepHashAlgorithm: 'SHA-256' }, undefined, engine);
    await enveloped.encrypt({ name: 'AES-CBC', length: 128 } as never, plaintext, engine);
    const content = new ContentInfo({ contentType: ENVELOPED_DATA, content: enveloped.toSchema() });
    const read = new EnvelopedData({ schema: ContentInfo.fromBER(content.toSchema().toBER()).content });
    // The key of the emulator, in hand only here: in KMS it decrypts nothing.
    const held = room.emulator.store.version(`${IDENTITY_KEY}/cryptoKeyVersions/1`).privateKey;
    const pkcs8 = held?.export({ format: 'der', type: 'pkcs8' }) as Buffer;
    const recipientPrivateKey = Uint8Array.from(pkcs8).buffer;
    const decrypted = await read.decrypt(0, { recipientCertificate: certificate, recipientPrivateKey }, engine);
    assert.deepEqual(Buffer.from(decrypted), Buffer.from(plaintext));
  });

  test('issues, signs data and writes RAMF messages by our own writers, a call of KMS each', async () => {
    room.emulator.resetCounts();
    const node = await issued(await testIdentity('private-gateway'), gateway);
    assert.ok(node.certificate.isSignedBy(gateway.publicKey));
    assert.deepEqual(room.emulator.operations, { AsymmetricSign: 1 });

    const signed = readSignedData(await writeSignedData(Buffer.from('content'), gateway), new CertificateCache());
    assert.equal(verifySignedData(signed).subjectId, gateway.id);
    assert.deepEqual(room.emulator.operations, { AsymmetricSign: 2 });

    const fields = {
      recipient: { id: node.id },
      messageId: 'message',
      creation: Date.now() - 1000,
      ttl: 60,
      payload: Buffer.from('payload'),
    };
    const parcel = readParcel(await writeParcel(fields, gateway), new CertificateCache());
    verifyRamfMessage(parcel, Date.now(), 0);
    assert.equal(parcel.sender.subjectId, gateway.id);
    assert.deepEqual(room.emulator.operations, { AsymmetricSign: 3 });
  });
});
