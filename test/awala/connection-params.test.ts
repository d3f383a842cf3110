/**
 * Connection parameters, to the official library and back.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  derDeserializeECDHPublicKey,
  derDeserializeRSAPublicKey,
  derSerializePublicKey,
  NodeConnectionParams,
} from '@relaycorp/relaynet-core';
import { readBer } from '../../src/awala/asn1/reader.ts';
import { constructed, primitive, sequence, visibleString } from '../../src/awala/asn1/writer.ts';
import { readConnectionParams, writeConnectionParams } from '../../src/awala/connection-params.ts';
import { arrayBuffer } from '../support/octets.ts';
import { newSessionKey, type TestIdentity, testIdentity } from '../support/pki.ts';
import { assertRefused } from '../support/refusals.ts';
import { assertDer } from '../support/strict-der.ts';

const INTERNET_ADDRESS = 'gateway.example.com';
const { keyId, publicKey, privateKey } = newSessionKey();

let identity: TestIdentity;
let params: Buffer;
before(async () => {
  identity = await testIdentity('internet-gateway');
  params = writeConnectionParams({
    internetAddress: INTERNET_ADDRESS,
    identityKey: identity.publicKey.spki,
    sessionKey: { keyId, publicKey },
  });
});

function paramsWith({
  address = visibleString(INTERNET_ADDRESS, 0x80),
  identityKey = primitive(0x81, identity.publicKey.spki),
  sessionKey = constructed(0xa2, primitive(0x80, keyId), primitive(0x81, publicKey)),
} = {}) {
  return sequence(address, identityKey, sessionKey);
}

describe('Connection parameters', () => {
  it('read back', () => {
    const read = readConnectionParams(params);
    assert.equal(read.internetAddress, INTERNET_ADDRESS);
    assert.equal(read.identityKey.nodeId, identity.id);
    assert.deepEqual(read.sessionKey, { keyId, publicKey });
  });

  it('are DER with primitive fields', () => {
    assertDer(params);
    assert.deepEqual(params, paramsWith());
    const fields = readBer(params).sequence();
    assert.equal(fields.next(0x80).content.toString(), INTERNET_ADDRESS);
    assert.deepEqual(fields.next(0x81).content, identity.publicKey.spki);
    assert.equal(fields.last(0xa2).contentLength, 2 + keyId.length + 2 + publicKey.length);
  });

  it('hold nothing of the private half of the session key', () => {
    const withPair = { keyId, publicKey, privateKey };
    const identityKey = identity.publicKey.spki;
    assert.deepEqual(
      writeConnectionParams({ internetAddress: INTERNET_ADDRESS, identityKey, sessionKey: withPair }),
      params,
    );
  });

  it('are read by the official library', async () => {
    const read = await NodeConnectionParams.deserialize(arrayBuffer(params));
    assert.equal(read.internetAddress, INTERNET_ADDRESS);
    assert.deepEqual(await derSerializePublicKey(read.identityKey), identity.publicKey.spki);
    assert.deepEqual(read.sessionKey.keyId, keyId);
    assert.deepEqual(await derSerializePublicKey(read.sessionKey.publicKey), publicKey);
  });

  it('are read from the official library', async () => {
    const theirs = new NodeConnectionParams(
      INTERNET_ADDRESS,
      await derDeserializeRSAPublicKey(identity.publicKey.spki),
      { keyId, publicKey: await derDeserializeECDHPublicKey(publicKey) },
    );
    assert.deepEqual(Buffer.from(await theirs.serialize()), params);
  });

  it('are refused when they are not what RS-000 says', () => {
    for (const malformed of [
      Buffer.alloc(0),
      Buffer.from('parameters'),
      params.subarray(0, -1),
      sequence(),
      paramsWith({ address: visibleString('localhost', 0x80) }),
      paramsWith({ address: visibleString('192.0.2.1', 0x80) }),
      paramsWith({ address: visibleString(`${'a.'.repeat(130)}com`, 0x80) }),
      paramsWith({ sessionKey: constructed(0xa2, primitive(0x80, keyId)) }),
      paramsWith({ sessionKey: constructed(0xa2, primitive(0x80, Buffer.alloc(0)), primitive(0x81, publicKey)) }),
      Buffer.alloc(10_000, 0x30),
    ]) {
      assertRefused('CONNECTION_PARAMS_MALFORMED', () => readConnectionParams(malformed));
    }
  });

  it('are refused when their keys are of other kinds', () => {
    const { spki } = identity.publicKey;
    for (const unsupported of [
      paramsWith({ identityKey: primitive(0x81, publicKey) }),
      paramsWith({ sessionKey: constructed(0xa2, primitive(0x80, keyId), primitive(0x81, spki)) }),
    ]) {
      assertRefused('KEY_UNSUPPORTED', () => readConnectionParams(unsupported));
    }
  });
});
