/**
 * The public half of session keys: which are read, and which are refused.
 */
import assert from 'node:assert/strict';
import { createECDH, createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, it } from 'node:test';
import { Tag } from '../../src/awala/asn1/tags.ts';
import { oid, primitive, sequence } from '../../src/awala/asn1/writer.ts';
import { readSessionPublicKey, writeP256KeyPair } from '../../src/awala/session-key.ts';
import { withChangedOctet } from '../support/octets.ts';
import { newSessionKey } from '../support/pki.ts';
import { assertRefused } from '../support/refusals.ts';

const EC = '1.2.840.10045.2.1';
const P256 = '1.2.840.10045.3.1.7';
const { publicKey } = newSessionKey();
const POINT = publicKey.subarray(-65);

function spki(algorithm: Buffer, point: Buffer): Buffer {
  return sequence(algorithm, primitive(Tag.BIT_STRING, Buffer.concat([Buffer.of(0), point])));
}

describe('A session key', () => {
  it('is written as OpenSSL writes it, also when its private octets begin with zeros', () => {
    for (const scalar of [
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }).d,
      'AQ',
      'AQID',
    ]) {
      const key = createECDH('prime256v1');
      key.setPrivateKey(Buffer.from(scalar as string, 'base64url'));
      const written = writeP256KeyPair(key.getPrivateKey(), key.getPublicKey());
      const read = createPrivateKey({ key: written.privateKey, format: 'der', type: 'pkcs8' });
      assert.deepEqual(read.export({ format: 'der', type: 'pkcs8' }), written.privateKey);
      assert.deepEqual(createPublicKey(read).export({ format: 'der', type: 'spki' }), written.publicKey);
    }
  });
});

describe("A session key's public half", () => {
  it('is read on each of the three curves, and told by its name', () => {
    for (const [curve, name] of [
      ['prime256v1', 'P-256'],
      ['secp384r1', 'P-384'],
      ['secp521r1', 'P-521'],
    ] as const) {
      const { publicKey: bytes } = newSessionKey(curve);
      const read = readSessionPublicKey(bytes);
      assert.equal(read.curve, name);
      assert.deepEqual(read.spki, bytes);
      assert.ok(read.keyObject.equals(createPublicKey({ key: bytes, format: 'der', type: 'spki' })));
    }
  });

  it('is refused on a curve that RS-018 does not allow', () => {
    for (const curve of ['secp256k1', 'brainpoolP256r1']) {
      assertRefused('KEY_UNSUPPORTED', () => readSessionPublicKey(newSessionKey(curve).publicKey));
    }
  });

  it('is refused when it is no elliptic-curve key', () => {
    for (const type of ['x25519', 'ed25519'] as const) {
      const key = (type === 'x25519' ? generateKeyPairSync('x25519') : generateKeyPairSync('ed25519')).publicKey;
      const bytes = key.export({ type: 'spki', format: 'der' });
      assertRefused('KEY_UNSUPPORTED', () => readSessionPublicKey(bytes));
    }
    const dh = spki(sequence(oid('1.3.132.1.12'), oid(P256)), POINT);
    assertRefused('KEY_UNSUPPORTED', () => readSessionPublicKey(dh));
  });

  it('is refused when its point is not on the curve', () => {
    const moved = withChangedOctet(publicKey, publicKey.length - 1, 1);
    assertRefused('KEY_UNSUPPORTED', () => readSessionPublicKey(moved));
    const zero = spki(sequence(oid(EC), oid(P256)), Buffer.concat([Buffer.of(4), Buffer.alloc(64)]));
    assertRefused('KEY_UNSUPPORTED', () => readSessionPublicKey(zero));
  });

  it('is refused with its curve spelt out, a compressed point, or a point of another length', () => {
    const named = sequence(oid(EC), oid(P256));
    const compressed = Buffer.concat([Buffer.of(2 + ((POINT[64] as number) & 1)), POINT.subarray(1, 33)]);
    for (const other of [
      spki(sequence(oid(EC), sequence(oid(P256))), POINT),
      spki(sequence(oid(EC)), POINT),
      spki(named, compressed),
      spki(named, POINT.subarray(0, 64)),
      spki(named, Buffer.concat([POINT, Buffer.of(0)])),
      spki(named, Buffer.of(0)),
      spki(named, Buffer.alloc(0)),
      publicKey.subarray(0, -1),
      Buffer.concat([publicKey, Buffer.of(0)]),
      Buffer.alloc(0),
    ]) {
      assertRefused('KEY_UNSUPPORTED', () => readSessionPublicKey(other));
    }
    assert.equal(readSessionPublicKey(spki(named, POINT)).curve, 'P-256');
  });
});
