/**
 * Messages of channel sessions: what is written is read, what was changed is refused, and refusals tell nothing.
 */
import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { oid } from '../../../src/awala/asn1/writer.ts';
import { CONTENT_CIPHERS, type ContentCipher } from '../../../src/awala/cms/content-cipher.ts';
import { readEnvelopedData } from '../../../src/awala/cms/enveloped-data.ts';
import {
  agree,
  deriveKeyEncryptionKey,
  KEY_DERIVATIONS,
  type KeyDerivation,
} from '../../../src/awala/cms/key-agreement.ts';
import { KEY_WRAPS, type KeyWrap, wrapKey } from '../../../src/awala/cms/key-wrap.ts';
import { DEFAULT_SESSION_ALGORITHMS, writeEnvelopedData } from '../../../src/awala/cms/write-enveloped-data.ts';
import { AwalaError } from '../../../src/awala/errors.ts';
import { Oid } from '../../../src/awala/oids.ts';
import type { SessionKeyCurve, SessionKeyPair } from '../../../src/awala/session-key.ts';
import { withChangedOctet } from '../../support/octets.ts';
import { newSessionKey } from '../../support/pki.ts';
import { assertRefused, isAccepted } from '../../support/refusals.ts';
import { CURVES, corpusKey, corpusPlaintext, readCorpus, withOriginatorKeyId } from '../../support/session-messages.ts';
import { assertDer } from '../../support/strict-der.ts';

const CIPHERS = Object.keys(CONTENT_CIPHERS) as ContentCipher[];

interface Peers {
  readonly recipient: SessionKeyPair;
  readonly sender: SessionKeyPair;
}

const PEERS: Readonly<Record<SessionKeyCurve, Peers>> = {
  'P-256': { recipient: newSessionKey('P-256'), sender: newSessionKey('P-256') },
  'P-384': { recipient: newSessionKey('P-384'), sender: newSessionKey('P-384') },
  'P-521': { recipient: newSessionKey('P-521'), sender: newSessionKey('P-521') },
};

const { recipient, sender } = PEERS['P-256'];

/** A message between the peers on a curve. */
function message(plaintext: Buffer, algorithms = DEFAULT_SESSION_ALGORITHMS, curve: SessionKeyCurve = 'P-256'): Buffer {
  return writeEnvelopedData({ plaintext, ...PEERS[curve], random: randomBytes, algorithms });
}

/** Where the ciphertext of a message of ours ends: the unprotected attributes follow. */
function ciphertextEnd(bytes: Buffer): number {
  const attribute = bytes.lastIndexOf(oid(Oid.ORIGINATOR_SESSION_KEY_ID));
  assert.ok(attribute > 4);
  return attribute - 4;
}

describe('Messages of channel sessions', () => {
  test('are read back with every combination of curve, key derivation, key wrap, cipher and keying material', () => {
    let count = 0;
    for (const curve of CURVES) {
      const peers = PEERS[curve];
      for (const keyDerivation of Object.keys(KEY_DERIVATIONS) as KeyDerivation[]) {
        for (const keyWrap of Object.keys(KEY_WRAPS) as KeyWrap[]) {
          for (const content of CIPHERS) {
            for (const ukmOctets of [0, 1, 64]) {
              const plaintext = corpusPlaintext(count++ % 50);
              const read = readEnvelopedData(message(plaintext, { content, keyDerivation, keyWrap, ukmOctets }, curve));
              assert.deepEqual(read.recipientKeyId, peers.recipient.keyId);
              assert.deepEqual(read.originatorKeyId, peers.sender.keyId);
              assert.deepEqual(read.originatorKey.spki, peers.sender.publicKey);
              assert.equal(read.originatorKey.curve, curve);
              assert.equal(read.cipher, content);
              assert.deepEqual(read.decrypt(peers.recipient.privateKey), plaintext);
            }
          }
        }
      }
    }
    assert.equal(count, 3 * 3 * 3 * 6 * 3);
  });

  test('are read back whatever the plaintext', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(...CIPHERS), (octets, content) => {
        const plaintext = Buffer.from(octets);
        const read = readEnvelopedData(message(plaintext, { ...DEFAULT_SESSION_ALGORITHMS, content }));
        assert.deepEqual(read.decrypt(recipient.privateKey), plaintext);
      }),
    );
  });

  test('may be as long as cargo', () => {
    const plaintext = randomBytes(8_322_048);
    assert.ok(readEnvelopedData(message(plaintext)).decrypt(recipient.privateKey).equals(plaintext));
  });

  test('are decrypted with a key that was imported before, too', () => {
    const key = createPrivateKey({ key: recipient.privateKey, format: 'der', type: 'pkcs8' });
    assert.deepEqual(readEnvelopedData(message(corpusPlaintext(9))).decrypt(key), corpusPlaintext(9));
  });

  test('are DER with primitive strings only, whatever their length', () => {
    for (const octets of [0, 100, 200, 70_000]) {
      assertDer(message(corpusPlaintext(octets)));
    }
  });

  test('are by default AES-128-CBC under the key derivation, wrap and keying material that both stacks read', () => {
    assert.deepEqual(DEFAULT_SESSION_ALGORITHMS, {
      content: 'aes-128-cbc',
      keyDerivation: 'sha256',
      keyWrap: 'aes128-wrap',
      ukmOctets: 64,
    });
  });

  test('take all that is secret from the given source of random octets', () => {
    const asked: number[] = [];
    const random = (octets: number) => {
      asked.push(octets);
      return Buffer.alloc(octets, asked.length);
    };
    const parts = { plaintext: corpusPlaintext(20), recipient, sender, random };
    const first = writeEnvelopedData(parts);
    assert.deepEqual(asked.splice(0), [16, 16, 64]);
    assert.deepEqual(writeEnvelopedData(parts), first);
  });

  test('are read when their sender derived the key with NULL where RFC 5753 has no parameters, as old senders did', () => {
    const drawn: Buffer[] = [];
    const random = (octets: number) => {
      drawn.push(randomBytes(octets));
      return drawn.at(-1) as Buffer;
    };
    const plaintext = corpusPlaintext(20);
    const bytes = writeEnvelopedData({ plaintext, recipient, sender, random });
    const [, contentKey, ukm] = drawn;
    assert.ok(contentKey && ukm);
    const shared = agree(
      createPrivateKey({ key: sender.privateKey, format: 'der', type: 'pkcs8' }),
      createPublicKey({ key: recipient.publicKey, format: 'der', type: 'spki' }),
    );
    const params = { keyDerivation: 'sha256', keyWrap: 'aes128-wrap', ukm } as const;
    const wrapped = wrapKey('aes128-wrap', deriveKeyEncryptionKey(shared, params), contentKey);
    const wrappedAsOfOld = wrapKey('aes128-wrap', deriveKeyEncryptionKey(shared, params, true), contentKey);
    const at = bytes.indexOf(wrapped);
    assert.ok(at > 0);
    wrappedAsOfOld.copy(bytes, at);
    assert.deepEqual(readEnvelopedData(bytes).decrypt(recipient.privateKey), plaintext);
  });

  test('are not written for a key on another curve, nor for one that is no curve key', () => {
    const parts = { plaintext: corpusPlaintext(1), recipient, sender, random: randomBytes };
    for (const wrong of [
      { sender: PEERS['P-384'].sender },
      { recipient: { ...recipient, publicKey: Buffer.alloc(91) } },
      { sender: { ...sender, privateKey: Buffer.alloc(9) } },
    ]) {
      assertRefused('KEY_UNSUPPORTED', () => writeEnvelopedData({ ...parts, ...wrong }));
    }
  });
});

describe('A message that cannot be decrypted', () => {
  const plaintext = corpusPlaintext(100);

  test('is refused with one code and one text, whatever the cause', () => {
    const cbc = message(plaintext);
    const gcm = message(plaintext, { ...DEFAULT_SESSION_ALGORITHMS, content: 'aes-128-gcm' });
    // The content's type, id-data, comes right after the wrapped key and two headers.
    const wrappedKey = cbc.indexOf(oid(Oid.DATA)) - 8;
    const causes: Record<string, [message: Buffer, key: Buffer]> = {
      'another key': [cbc, sender.privateKey],
      'a key on another curve': [cbc, PEERS['P-521'].recipient.privateKey],
      'no key': [cbc, Buffer.from('no key')],
      'a changed wrapped key': [withChangedOctet(cbc, wrappedKey), recipient.privateKey],
      'a changed padding': [withChangedOctet(cbc, ciphertextEnd(cbc) - 17), recipient.privateKey],
      'a changed ciphertext': [withChangedOctet(gcm, ciphertextEnd(gcm) - 17), recipient.privateKey],
      'a changed tag': [withChangedOctet(gcm, ciphertextEnd(gcm) - 1), recipient.privateKey],
    };
    const texts = new Set<string>();
    for (const [cause, [changed, key]] of Object.entries(causes)) {
      const read = readEnvelopedData(changed);
      assert.throws(
        () => read.decrypt(key),
        (error) => {
          assert.ok(error instanceof AwalaError);
          assert.equal(error.code, 'DECRYPTION_FAILED');
          assert.equal(error.cause, undefined);
          texts.add(error.message);
          return true;
        },
        cause,
      );
    }
    assert.equal(texts.size, 1);
  });

  test('is one whose padding is wrong in any of its octets', () => {
    // A plaintext of whole blocks is padded with one more. A bit changed in a block changes the same bit of the next.
    const original = message(corpusPlaintext(96));
    const lastBlock = ciphertextEnd(original) - 16;
    for (let at = lastBlock - 16; at < lastBlock; at++) {
      const read = readEnvelopedData(withChangedOctet(original, at, 0x40));
      assertRefused('DECRYPTION_FAILED', () => read.decrypt(recipient.privateKey));
    }
  });
});

describe('A malformed message', () => {
  const valid = message(corpusPlaintext(40));
  const withoutKeyId = readCorpus('openssl.jsonl')[0]?.message;
  assert.ok(withoutKeyId);

  test('is refused without a sender key id, with two, with an empty one or with too long a one', () => {
    const keyId = randomBytes(8);
    assertRefused('ENVELOPED_DATA_MALFORMED', () => readEnvelopedData(withoutKeyId));
    for (const keyIds of [[], [keyId, keyId], [Buffer.alloc(0)], [randomBytes(65)]]) {
      assertRefused('ENVELOPED_DATA_MALFORMED', () => readEnvelopedData(withOriginatorKeyId(withoutKeyId, ...keyIds)));
    }
    assert.deepEqual(readEnvelopedData(withOriginatorKeyId(withoutKeyId, keyId)).originatorKeyId, keyId);
  });

  test('is refused when it is cut short anywhere, or goes on after its end', () => {
    for (let length = 0; length < valid.length; length++) {
      assertRefused('ENVELOPED_DATA_MALFORMED', () => readEnvelopedData(valid.subarray(0, length)));
    }
    const longer = Buffer.concat([valid, Buffer.from([5, 0])]);
    assertRefused('ENVELOPED_DATA_MALFORMED', () => readEnvelopedData(longer));
  });

  test('is refused with its own code when an algorithm is not one of RS-018', () => {
    const algorithms: Record<string, [known: string, unknown: string]> = {
      'key derivation with SHA-1': ['1.3.132.1.11.1', '1.3.132.1.11.0'],
      'key wrap with padding': ['2.16.840.1.101.3.4.1.5', '2.16.840.1.101.3.4.1.8'],
      'AES-OFB': ['2.16.840.1.101.3.4.1.2', '2.16.840.1.101.3.4.1.3'],
    };
    for (const [known, unknown] of Object.values(algorithms)) {
      const at = valid.indexOf(oid(known));
      assert.ok(at > 0);
      const changed = Buffer.from(valid);
      oid(unknown).copy(changed, at);
      assertRefused('ALGORITHM_UNSUPPORTED', () => readEnvelopedData(changed));
    }
  });

  test('is refused when the key of its sender is no point on its curve', () => {
    const point = valid.indexOf(Buffer.from([0x03, 0x42, 0x00, 0x04]));
    assert.ok(point > 0);
    assertRefused('KEY_UNSUPPORTED', () => readEnvelopedData(withChangedOctet(valid, point + 10, 1)));
  });

  test('never makes the reader throw anything but an AwalaError, and GCM never gives another plaintext', () => {
    const corpora = [
      ...readCorpus('bouncy-castle.jsonl').filter((_, index) => index % 5 === 0),
      ...readCorpus('openssl.jsonl').filter((_, index) => index % 9 === 0),
    ];
    const samples = corpora.map((sample) => ({
      ...sample,
      message: sample.originatorKeyId ? sample.message : withOriginatorKeyId(sample.message, randomBytes(8)),
      key: createPrivateKey({ key: corpusKey(sample.curve).privateKey, format: 'der', type: 'pkcs8' }),
    }));
    const change = fc.record({ at: fc.nat(), remove: fc.nat({ max: 3 }), insert: fc.uint8Array({ maxLength: 3 }) });
    let accepted = 0;
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.array(change, { minLength: 1, maxLength: 3 }),
        ({ message: original, key, cipher, plaintextOctets }, changes) => {
          let bytes = original;
          for (const { at, remove, insert } of changes) {
            const start = at % bytes.length;
            bytes = Buffer.concat([bytes.subarray(0, start), insert, bytes.subarray(start + remove)]);
          }
          let plaintext: Buffer | undefined;
          if (isAccepted(() => (plaintext = readEnvelopedData(bytes).decrypt(key)))) {
            accepted++;
            assert.ok(cipher.endsWith('cbc') || plaintext?.equals(corpusPlaintext(plaintextOctets)));
          }
        },
      ),
      { numRuns: 3_000 },
    );
    assert.ok(accepted > 0, 'some changes do no harm, or the samples were no good');
  });

  test('is anything that is not CMS at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (octets) => {
        assertRefused('ENVELOPED_DATA_MALFORMED', () => readEnvelopedData(Buffer.from(octets)));
      }),
    );
  });
});
