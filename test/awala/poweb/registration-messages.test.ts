/**
 * The three messages of registration (PNRA, PNRR, PNR), to the official library and back.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  derDeserializeECDHPublicKey,
  derSerializePublicKey,
  Certificate as OfficialCertificate,
  PrivateNodeRegistration,
  PrivateNodeRegistrationAuthorization,
  PrivateNodeRegistrationRequest,
} from '@relaycorp/relaynet-core';
import { readBer } from '../../../src/awala/asn1/reader.ts';
import { constructed, primitive, sequence, visibleString } from '../../../src/awala/asn1/writer.ts';
import { MAX_REGISTRATION_OCTETS, readRegistration, writeRegistration } from '../../../src/awala/poweb/registration.ts';
import {
  MAX_REGISTRATION_AUTHORIZATION_OCTETS,
  readRegistrationAuthorization,
  writeRegistrationAuthorization,
} from '../../../src/awala/poweb/registration-authorization.ts';
import {
  MAX_REGISTRATION_REQUEST_OCTETS,
  readRegistrationRequest,
  writeRegistrationRequest,
} from '../../../src/awala/poweb/registration-request.ts';
import { arrayBuffer, withChangedOctet } from '../../support/octets.ts';
import { type OfficialKeyPair, officialKeyPair } from '../../support/official-chain.ts';
import { newSessionKey, type TestChain, testChain, testIdentity } from '../../support/pki.ts';
import { assertRefused } from '../../support/refusals.ts';
import { assertDer } from '../../support/strict-der.ts';

const SECOND = 1000;
const NOW = Math.floor(Date.now() / SECOND) * SECOND;
const GATEWAY_DATA = Buffer.from('whose, and a nonce');

let chain: TestChain;
let gatewayKeys: OfficialKeyPair;
let privateGatewayKeys: OfficialKeyPair;
let authorization: Buffer;
let request: Buffer;
before(async () => {
  chain = await testChain();
  gatewayKeys = await officialKeyPair('internet-gateway');
  privateGatewayKeys = await officialKeyPair('private-gateway');
  authorization = await writeRegistrationAuthorization(
    { expiry: NOW + 9 * SECOND, gatewayData: GATEWAY_DATA },
    chain.gateway.key,
  );
  request = await writeRegistrationRequest(
    { publicKey: chain.privateGateway.publicKey, authorization },
    chain.privateGateway.key,
  );
});

function readAuthorization(bytes: Buffer, now = NOW, keys = [chain.gateway.publicKey]) {
  return readRegistrationAuthorization(bytes, keys, now);
}

/** The fields of a message, under `[0]`, `[1]` and so on, with one of them put in the place of what stood there. */
function withField(message: Buffer, index: number, field: Buffer): Buffer {
  const fields: Buffer[] = [];
  for (const cursor = readBer(message).children(); !cursor.atEnd; ) {
    fields.push(cursor.next().raw);
  }
  return sequence(...fields.with(index, field));
}

describe('A registration authorization', () => {
  it('reads back, its expiry in whole seconds', async () => {
    const bytes = await writeRegistrationAuthorization(
      { expiry: NOW + 8999, gatewayData: GATEWAY_DATA },
      chain.gateway.key,
    );
    assert.deepEqual(readAuthorization(bytes), { expiry: NOW + 8000, gatewayData: GATEWAY_DATA });
  });

  it('is DER of three primitive fields', () => {
    assertDer(authorization);
    const fields = readBer(authorization).sequence();
    assert.match(fields.next(0x80).content.toString('latin1'), /^\d{14}$/);
    assert.deepEqual(fields.next(0x81).content, GATEWAY_DATA);
    assert.equal(fields.next(0x82).content.length, 256);
    fields.finish();
  });

  it('is read by the official library', async () => {
    const read = await PrivateNodeRegistrationAuthorization.deserialize(
      arrayBuffer(authorization),
      gatewayKeys.publicKey,
    );
    assert.equal(read.expiryDate.getTime(), NOW + 9 * SECOND);
    assert.deepEqual(Buffer.from(read.gatewayData), GATEWAY_DATA);
  });

  it('is read from the official library', async () => {
    const theirs = new PrivateNodeRegistrationAuthorization(new Date(NOW + 5 * SECOND), arrayBuffer(GATEWAY_DATA));
    const bytes = Buffer.from(await theirs.serialize(gatewayKeys.privateKey));
    assert.deepEqual(readAuthorization(bytes), { expiry: NOW + 5 * SECOND, gatewayData: GATEWAY_DATA });
  });

  it('is accepted until it expires, and not at that instant', () => {
    assert.equal(readAuthorization(authorization, NOW + 9 * SECOND - 1).expiry, NOW + 9 * SECOND);
    assertRefused('REGISTRATION_EXPIRED', () => readAuthorization(authorization, NOW + 9 * SECOND));
  });

  it('is accepted from any of our keys and no other', async () => {
    const old = await testIdentity('other-internet-gateway');
    readAuthorization(authorization, NOW, [old.publicKey, chain.gateway.publicKey]);
    assertRefused('REGISTRATION_UNAUTHORIZED', () => readAuthorization(authorization, NOW, [old.publicKey]));
    assertRefused('REGISTRATION_UNAUTHORIZED', () => readAuthorization(authorization, NOW, []));
  });

  it('is refused when any field was changed', () => {
    const later = primitive(0x80, Buffer.from('20991231235959'));
    for (const changed of [
      withField(authorization, 0, later),
      withField(authorization, 1, primitive(0x81, Buffer.from('another'))),
      withField(authorization, 2, primitive(0x82, Buffer.alloc(256))),
    ]) {
      assertRefused('REGISTRATION_UNAUTHORIZED', () => readAuthorization(changed));
    }
  });

  it('does not pass for one when the same fields were signed without its OID', async () => {
    const fields = sequence(primitive(0x81, Buffer.from('20991231235959')), primitive(0x82, GATEWAY_DATA));
    const { subtle } = chain.gateway.key.crypto;
    const signature = await subtle.sign(
      { name: 'RSA-PSS', saltLength: 32 },
      chain.gateway.key.privateKey,
      arrayBuffer(fields),
    );
    const forged = sequence(
      primitive(0x80, Buffer.from('20991231235959')),
      primitive(0x81, GATEWAY_DATA),
      primitive(0x82, Buffer.from(signature)),
    );
    assertRefused('REGISTRATION_UNAUTHORIZED', () => readAuthorization(forged));
  });

  it('is refused when it is not what RS-000 says', () => {
    for (const malformed of [
      Buffer.alloc(0),
      Buffer.from('not ASN.1'),
      authorization.subarray(0, -1),
      Buffer.concat([authorization, Buffer.of(0)]),
      sequence(),
      withField(authorization, 0, primitive(0x80, Buffer.from('20990230000000'))),
      withField(authorization, 0, primitive(0x80, Buffer.from('2099-1-1T00:00'))),
      withField(authorization, 1, primitive(0x84, GATEWAY_DATA)),
      withField(authorization, 1, primitive(0x81, Buffer.alloc(MAX_REGISTRATION_AUTHORIZATION_OCTETS))),
    ]) {
      assertRefused('REGISTRATION_MALFORMED', () => readAuthorization(malformed));
    }
  });
});

describe('A registration request', () => {
  it('reads back', () => {
    const read = readRegistrationRequest(request);
    assert.equal(read.publicKey.nodeId, chain.privateGateway.id);
    assert.deepEqual(read.authorization, authorization);
  });

  it('is DER of three primitive fields', () => {
    assertDer(request);
    const fields = readBer(request).sequence();
    assert.deepEqual(fields.next(0x80).content, chain.privateGateway.publicKey.spki);
    assert.deepEqual(fields.next(0x81).content, authorization);
    assert.equal(fields.next(0x82).content.length, 256);
    fields.finish();
  });

  it('is read by the official library', async () => {
    const read = await PrivateNodeRegistrationRequest.deserialize(arrayBuffer(request));
    assert.deepEqual(await derSerializePublicKey(read.privateNodePublicKey), chain.privateGateway.publicKey.spki);
    assert.deepEqual(Buffer.from(read.pnraSerialized), authorization);
  });

  it('is read from the official library', async () => {
    const theirs = new PrivateNodeRegistrationRequest(privateGatewayKeys.publicKey, arrayBuffer(authorization));
    const read = readRegistrationRequest(Buffer.from(await theirs.serialize(privateGatewayKeys.privateKey)));
    assert.equal(read.publicKey.nodeId, chain.privateGateway.id);
    assert.deepEqual(readAuthorization(read.authorization).gatewayData, GATEWAY_DATA);
  });

  it('is accepted with keys of every allowed size', async () => {
    for (const name of ['rsa-3072', 'rsa-4096'] as const) {
      const { publicKey, key, id } = await testIdentity(name);
      const bytes = await writeRegistrationRequest({ publicKey, authorization }, key);
      assert.equal(readRegistrationRequest(bytes).publicKey.nodeId, id);
    }
  });

  it('is refused when another key signed it, or anything was changed', async () => {
    const { publicKey } = chain.privateGateway;
    for (const changed of [
      await writeRegistrationRequest({ publicKey, authorization }, chain.sender.key),
      withField(request, 0, primitive(0x80, chain.sender.publicKey.spki)),
      withField(request, 1, primitive(0x81, withChangedOctet(authorization, 10))),
      withField(request, 2, primitive(0x82, Buffer.alloc(256))),
    ]) {
      assertRefused('REGISTRATION_MALFORMED', () => readRegistrationRequest(changed));
    }
  });

  it('is refused when it is not what RS-000 says', () => {
    for (const malformed of [
      Buffer.alloc(0),
      authorization.subarray(0, -1),
      sequence(),
      withField(request, 1, visibleString('authorization')),
      Buffer.alloc(MAX_REGISTRATION_REQUEST_OCTETS + 1, 0x30),
    ]) {
      assertRefused('REGISTRATION_MALFORMED', () => readRegistrationRequest(malformed));
    }
  });

  it('is refused when its key is none that RS-018 allows', () => {
    for (const spki of [newSessionKey().publicKey, Buffer.alloc(0), Buffer.from('a key')]) {
      const changed = withField(request, 0, primitive(0x80, spki));
      assertRefused('KEY_UNSUPPORTED', () => readRegistrationRequest(changed));
    }
  });
});

describe('A registration', () => {
  const sessionKey = newSessionKey();
  let registration: Buffer;
  before(() => {
    registration = writeRegistration({
      nodeCertificate: chain.privateGateway.certificate,
      gatewayCertificate: chain.gateway.certificate,
      internetAddress: 'gateway.example.com',
      sessionKey,
    });
  });

  it('reads back', () => {
    const read = readRegistration(registration);
    assert.deepEqual(read.nodeCertificate.raw, chain.privateGateway.certificate.raw);
    assert.deepEqual(read.gatewayCertificate.raw, chain.gateway.certificate.raw);
    assert.equal(read.internetAddress, 'gateway.example.com');
    assert.deepEqual(read.sessionKey, { keyId: sessionKey.keyId, publicKey: sessionKey.publicKey });
  });

  it('reads back without a session key, as private gateways send it to endpoints', () => {
    const { sessionKey: _, ...parts } = readRegistration(registration);
    assert.equal(readRegistration(writeRegistration(parts)).sessionKey, undefined);
  });

  it('is DER, its certificates and keys in primitive fields', () => {
    assertDer(registration);
    const fields = readBer(registration).sequence();
    assert.deepEqual(fields.next(0x80).content, chain.privateGateway.certificate.raw);
    assert.deepEqual(fields.next(0x81).content, chain.gateway.certificate.raw);
    assert.equal(fields.next(0x82).content.toString(), 'gateway.example.com');
    const keyFields = fields.next(0xa3).children();
    assert.deepEqual(keyFields.next(0x80).content, sessionKey.keyId);
    assert.deepEqual(keyFields.next(0x81).content, sessionKey.publicKey);
    keyFields.finish();
    fields.finish();
  });

  it('holds nothing of the private half of the session key', () => {
    const registered = writeRegistration({ ...readRegistration(registration), sessionKey });
    assert.deepEqual(registered, registration);
  });

  it('is read by the official library', async () => {
    const read = await PrivateNodeRegistration.deserialize(arrayBuffer(registration));
    assert.equal(await read.privateNodeCertificate.calculateSubjectId(), chain.privateGateway.id);
    assert.equal(await read.gatewayCertificate.calculateSubjectId(), chain.gateway.id);
    assert.equal(read.internetGatewayInternetAddress, 'gateway.example.com');
    assert.deepEqual(read.sessionKey?.keyId, sessionKey.keyId);
    assert.ok(read.sessionKey);
    assert.deepEqual(await derSerializePublicKey(read.sessionKey.publicKey), sessionKey.publicKey);
    const path = await read.privateNodeCertificate.getCertificationPath([], [read.gatewayCertificate]);
    assert.equal(path.length, 2);
  });

  it('is read from the official library', async () => {
    const official = (bytes: Buffer) => OfficialCertificate.deserialize(arrayBuffer(bytes));
    const theirs = new PrivateNodeRegistration(
      official(chain.privateGateway.certificate.raw),
      official(chain.gateway.certificate.raw),
      'gateway.example.com',
      { keyId: sessionKey.keyId, publicKey: await derDeserializeECDHPublicKey(sessionKey.publicKey) },
    );
    const read = readRegistration(Buffer.from(await theirs.serialize()));
    assert.deepEqual(read.nodeCertificate.raw, chain.privateGateway.certificate.raw);
    assert.deepEqual(read.sessionKey, { keyId: sessionKey.keyId, publicKey: sessionKey.publicKey });
  });

  it('is refused when it is not what RS-000 says', () => {
    const keyWith = (keyId: Buffer) => constructed(0xa3, primitive(0x80, keyId), primitive(0x81, sessionKey.publicKey));
    for (const malformed of [
      Buffer.alloc(0),
      registration.subarray(0, -1),
      withField(registration, 2, visibleString('localhost', 0x82)),
      withField(registration, 2, visibleString('gateway.example.com:443', 0x82)),
      withField(registration, 2, visibleString('127.0.0.1', 0x82)),
      withField(registration, 3, keyWith(Buffer.alloc(0))),
      withField(registration, 3, keyWith(Buffer.alloc(65))),
      Buffer.alloc(MAX_REGISTRATION_OCTETS + 1, 0x30),
    ]) {
      assertRefused('REGISTRATION_MALFORMED', () => readRegistration(malformed));
    }
    const unreadable = withField(registration, 0, primitive(0x80, Buffer.from('a certificate')));
    assertRefused('CERTIFICATE_MALFORMED', () => readRegistration(unreadable));
    const { publicKey } = chain.sender;
    const rsa = constructed(0xa3, primitive(0x80, sessionKey.keyId), primitive(0x81, publicKey.spki));
    assertRefused('KEY_UNSUPPORTED', () => readRegistration(withField(registration, 3, rsa)));
  });
});
