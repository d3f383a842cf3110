/**
 * Messages of channel sessions between us and other implementations: the official JavaScript library, OpenSSL's command
 * line, and Bouncy Castle, on which the Kotlin stack stands.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import {
  derDeserializeECDHPrivateKey,
  derDeserializeECDHPublicKey,
  derSerializePublicKey,
  EnvelopedData,
  SessionEnvelopedData,
} from '@relaycorp/relaynet-core';
import { CONTENT_CIPHERS, type ContentCipher } from '../../../src/awala/cms/content-cipher.ts';
import { readEnvelopedData } from '../../../src/awala/cms/enveloped-data.ts';
import { KEY_DERIVATIONS, type KeyDerivation } from '../../../src/awala/cms/key-agreement.ts';
import { KEY_WRAPS, type KeyWrap } from '../../../src/awala/cms/key-wrap.ts';
import {
  DEFAULT_SESSION_ALGORITHMS,
  type SessionAlgorithms,
  writeEnvelopedData,
} from '../../../src/awala/cms/write-enveloped-data.ts';
import { needsTool } from '../../support/needs-tool.ts';
import { arrayBuffer } from '../../support/octets.ts';
import { newSessionKey } from '../../support/pki.ts';
import { CURVES, corpusKey, corpusPlaintext, readCorpus, withOriginatorKeyId } from '../../support/session-messages.ts';

const CBC = (Object.keys(CONTENT_CIPHERS) as ContentCipher[]).filter((cipher) => cipher.endsWith('cbc'));

/** All that deployed clients may be configured to use. */
function* deployedAlgorithms(): Generator<SessionAlgorithms> {
  for (const keyDerivation of Object.keys(KEY_DERIVATIONS) as KeyDerivation[]) {
    for (const keyWrap of Object.keys(KEY_WRAPS) as KeyWrap[]) {
      for (const content of CBC) {
        yield { content, keyDerivation, keyWrap, ukmOctets: 64 };
      }
    }
  }
}

describe('The official JavaScript library', () => {
  const ours = newSessionKey();
  const plaintext = corpusPlaintext(3_000);

  test('writes messages that we read, with each of its key sizes', async () => {
    const publicKey = await derDeserializeECDHPublicKey(ours.publicKey);
    for (const aesKeySize of [128, 192, 256]) {
      const { envelopedData, dhKeyId, dhPrivateKey } = await SessionEnvelopedData.encrypt(
        arrayBuffer(plaintext),
        { keyId: ours.keyId, publicKey },
        { aesKeySize },
      );
      const message = readEnvelopedData(Buffer.from(envelopedData.serialize()));
      assert.deepEqual(message.recipientKeyId, ours.keyId);
      assert.deepEqual(message.originatorKeyId, Buffer.from(dhKeyId));
      assert.deepEqual(message.decrypt(ours.privateKey), plaintext);

      // What is sent back to the key that came with it can be read.
      const answer = writeEnvelopedData({
        plaintext: corpusPlaintext(aesKeySize),
        recipient: { keyId: message.originatorKeyId, publicKey: message.originatorKey.spki },
        sender: newSessionKey(),
        random: randomBytes,
      });
      const read = EnvelopedData.deserialize(arrayBuffer(answer));
      assert.deepEqual(Buffer.from(await read.decrypt(dhPrivateKey)), corpusPlaintext(aesKeySize));
    }
  });

  test('reads what we write with every key derivation, key wrap and AES-CBC', async () => {
    const theirs = newSessionKey();
    const privateKey = await derDeserializeECDHPrivateKey(theirs.privateKey);
    for (const algorithms of deployedAlgorithms()) {
      const message = writeEnvelopedData({
        plaintext,
        recipient: theirs,
        sender: ours,
        random: randomBytes,
        algorithms,
      });
      const read = EnvelopedData.deserialize(arrayBuffer(message));
      assert.ok(read instanceof SessionEnvelopedData);
      assert.deepEqual(Buffer.from(await read.decrypt(privateKey)), plaintext);
      assert.deepEqual(read.getRecipientKeyId(), theirs.keyId);
      const { keyId, publicKey } = await read.getOriginatorKey();
      assert.deepEqual(keyId, ours.keyId);
      assert.deepEqual(await derSerializePublicKey(publicKey), ours.publicKey);
    }
  });

  test('cannot read a message without user keying material, so that our default has some', async () => {
    const theirs = newSessionKey();
    const algorithms = { ...DEFAULT_SESSION_ALGORITHMS, ukmOctets: 0 };
    const message = writeEnvelopedData({ plaintext, recipient: theirs, sender: ours, random: randomBytes, algorithms });
    const read = EnvelopedData.deserialize(arrayBuffer(message));
    await assert.rejects(read.decrypt(await derDeserializeECDHPrivateKey(theirs.privateKey)));
  });
});

describe('Messages that Bouncy Castle wrote', () => {
  const corpus = readCorpus('bouncy-castle.jsonl');

  test('cover every curve, key derivation, key wrap, cipher and container, with and without keying material', () => {
    const seen = (of: (message: (typeof corpus)[number]) => unknown) => new Set(corpus.map(of)).size;
    assert.equal(
      seen(({ curve, keyDerivation, keyWrap, ukmOctets }) => [curve, keyDerivation, keyWrap, ukmOctets].join()),
      54,
    );
    assert.equal(
      seen(({ container, cipher }) => [container, cipher].join()),
      9,
    );
  });

  for (const [index, { message, ...made }] of corpus.entries()) {
    test(`are read: ${index + 1}, ${made.container} ${made.cipher} ${made.curve} ${made.keyDerivation} ${made.keyWrap}`, () => {
      const { keyId, privateKey } = corpusKey(made.curve);
      const read = readEnvelopedData(message);
      assert.deepEqual(read.recipientKeyId, keyId);
      assert.equal(read.originatorKeyId.toString('hex'), made.originatorKeyId);
      assert.equal(read.originatorKey.curve, made.curve);
      assert.equal(read.cipher, made.cipher);
      assert.deepEqual(read.decrypt(privateKey), corpusPlaintext(made.plaintextOctets));
    });
  }
});

describe('Messages that OpenSSL wrote', () => {
  for (const [index, { message, ...made }] of readCorpus('openssl.jsonl').entries()) {
    test(`are read: ${index + 1}, ${made.container} ${made.cipher} ${made.curve} ${made.keyDerivation} ${made.keyWrap}`, () => {
      const { privateKey, publicKey } = corpusKey(made.curve);
      const read = readEnvelopedData(withOriginatorKeyId(message, randomBytes(8)));
      assert.equal(read.originatorKey.curve, made.curve);
      assert.equal(read.cipher, made.cipher);
      assert.deepEqual(read.decrypt(privateKey), corpusPlaintext(made.plaintextOctets));
      // Its key is kept in the form that names the curve, as everybody else reads it.
      assert.equal(read.originatorKey.spki.length, publicKey.length);
    });
  }
});

describe('The OpenSSL command line', needsTool('openssl', 'apt-get install openssl'), () => {
  for (const curve of CURVES) {
    test(`reads what we write on ${curve}`, () => {
      const recipient = corpusKey(curve);
      const keyFile = new URL(`../corpus/sessions/keys/${curve}.pem`, import.meta.url).pathname;
      for (const [index, content] of CBC.entries()) {
        const algorithms = {
          content,
          keyDerivation: (['sha256', 'sha384', 'sha512'] as const)[index] ?? 'sha256',
          keyWrap: (['aes256-wrap', 'aes192-wrap', 'aes128-wrap'] as const)[index] ?? 'aes128-wrap',
          ukmOctets: index * 32,
        };
        const plaintext = corpusPlaintext(1_000 + index);
        const sender = newSessionKey(curve);
        const message = writeEnvelopedData({ plaintext, recipient, sender, random: randomBytes, algorithms });
        const read = execFileSync('openssl', ['cms', '-decrypt', '-binary', '-inform', 'DER', '-inkey', keyFile], {
          input: message,
          timeout: 30_000,
        });
        assert.deepEqual(read, plaintext);
      }
    });
  }
});
