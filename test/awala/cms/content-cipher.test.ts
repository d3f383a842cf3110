/**
 * What a content cipher's parameters say (RFC 3565, RFC 5084).
 */
import assert from 'node:assert/strict';
import { createCipheriv, randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { readBer } from '../../../src/awala/asn1/reader.ts';
import { integer, octetString, oid, sequence } from '../../../src/awala/asn1/writer.ts';
import {
  CONTENT_CIPHERS,
  type ContentCipher,
  decryptContent,
  newContentEncryption,
  readContentEncryption,
  writeContentEncryption,
} from '../../../src/awala/cms/content-cipher.ts';
import { assertRefused } from '../../support/refusals.ts';

/** Reads an AlgorithmIdentifier with these parameters. */
const read = (cipher: ContentCipher, ...params: Buffer[]) =>
  readContentEncryption(readBer(sequence(oid(CONTENT_CIPHERS[cipher].oid), ...params)));

describe('The parameters of a content cipher', () => {
  test('are read back as they were written', () => {
    for (const cipher of Object.keys(CONTENT_CIPHERS) as ContentCipher[]) {
      const encryption = newContentEncryption(cipher, randomBytes);
      assert.deepEqual(readContentEncryption(readBer(writeContentEncryption(encryption))), encryption);
    }
  });

  test('of GCM mean a tag of 12 octets when they tell none', () => {
    const iv = randomBytes(12);
    const encryption = read('aes-128-gcm', sequence(octetString(iv)));
    assert.deepEqual(encryption, { cipher: 'aes-128-gcm', iv, tagOctets: 12 });
    const key = randomBytes(16);
    const plaintext = Buffer.from('a plaintext');
    const cipher = createCipheriv('aes-128-gcm', key, iv, { authTagLength: 12 });
    const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
    assert.deepEqual(decryptContent(encryption, key, ciphertext, cipher.getAuthTag(), undefined), plaintext);
  });

  test('are refused when a vector, nonce or tag is too short or too long, or something is missing', () => {
    const nonce = octetString(Buffer.alloc(12));
    const wrong: [ContentCipher, ...Buffer[]][] = [
      ['aes-128-cbc'],
      ['aes-128-cbc', octetString(Buffer.alloc(15))],
      ['aes-128-cbc', octetString(Buffer.alloc(17))],
      ['aes-128-cbc', octetString(Buffer.alloc(16)), integer(1)],
      ['aes-256-gcm'],
      ['aes-256-gcm', nonce],
      ['aes-256-gcm', sequence()],
      ['aes-256-gcm', sequence(octetString(Buffer.alloc(11)))],
      ['aes-256-gcm', sequence(octetString(Buffer.alloc(17)))],
      ['aes-256-gcm', sequence(nonce, integer(4))],
      ['aes-256-gcm', sequence(nonce, integer(17))],
      ['aes-256-gcm', sequence(nonce, integer(16), integer(16))],
    ];
    for (const [cipher, ...params] of wrong) {
      assertRefused('ASN1_MALFORMED', () => read(cipher, ...params));
    }
  });
});
