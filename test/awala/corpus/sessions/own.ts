/**
 * Writes messages of our own in the form of the corpora, to standard output, for other implementations to read: all
 * combinations of algorithms.
 */
import { randomBytes } from 'node:crypto';
import { CONTENT_CIPHERS, type ContentCipher } from '../../../../src/awala/cms/content-cipher.ts';
import { KEY_DERIVATIONS, type KeyDerivation } from '../../../../src/awala/cms/key-agreement.ts';
import { KEY_WRAPS, type KeyWrap } from '../../../../src/awala/cms/key-wrap.ts';
import { writeEnvelopedData } from '../../../../src/awala/cms/write-enveloped-data.ts';
import { newSessionKey } from '../../../support/pki.ts';
import { CURVES, corpusKey, corpusPlaintext } from '../../../support/session-messages.ts';

let plaintextOctets = 0;
for (const curve of CURVES) {
  for (const keyDerivation of Object.keys(KEY_DERIVATIONS) as KeyDerivation[]) {
    for (const keyWrap of Object.keys(KEY_WRAPS) as KeyWrap[]) {
      for (const cipher of Object.keys(CONTENT_CIPHERS) as ContentCipher[]) {
        for (const ukmOctets of [0, 64]) {
          const sender = newSessionKey(curve);
          const message = writeEnvelopedData({
            plaintext: corpusPlaintext(plaintextOctets),
            recipient: corpusKey(curve),
            sender,
            random: randomBytes,
            algorithms: { content: cipher, keyDerivation, keyWrap, ukmOctets },
          });
          const entry = {
            container: 'EnvelopedData',
            curve,
            keyDerivation,
            keyWrap,
            cipher,
            ukmOctets,
            plaintextOctets,
            originatorKeyId: sender.keyId.toString('hex'),
            message: message.toString('base64'),
          };
          process.stdout.write(`${JSON.stringify(entry)}\n`);
          plaintextOctets += 13;
        }
      }
    }
  }
}
