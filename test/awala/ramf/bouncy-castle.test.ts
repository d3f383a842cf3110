import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { AwalaError } from '../../../src/awala/errors.ts';
import { readCertificate } from '../../../src/awala/pki/certificate.ts';
import { CertificateCache } from '../../../src/awala/pki/certificate-cache.ts';
import { readParcel, verifyParcelForMailbox } from '../../../src/awala/ramf/parcel.ts';
import { HandmadeChain, NOW } from '../../support/handmade-chain.ts';

const { keys } = await HandmadeChain.make();

function read(name: string): Buffer {
  return readFileSync(new URL(`../corpus/bouncy-castle/${name}`, import.meta.url));
}

describe('Parcels of Bouncy Castle', () => {
  for (const [name, payloadLength, segments] of [
    ['small', 1024, 2],
    ['reversed', 1024, 2],
    ['segmented', 5000, 6],
  ] as const) {
    it(`are read and verified: ${name}`, () => {
      const trusted = [readCertificate(read(`${name}.gateway`))];
      const parcel = readParcel(read(`${name}.parcel`), new CertificateCache());
      assert.equal(parcel.recipient.id, keys.endpoint.id);
      assert.equal(parcel.messageId, 'bouncy');
      assert.equal(parcel.signedData.content?.length, segments);
      assert.deepEqual(parcel.payload, Buffer.from(Array.from({ length: payloadLength }, (_, i) => i % 251)));
      const { mailbox, pda } = verifyParcelForMailbox(parcel, trusted, NOW, 0);
      assert.equal(mailbox, keys.privateGateway.id);
      assert.equal(pda.subjectId, keys.sender.id);
      assert.equal(pda.isCa, false);
    });

    it(`are refused when one bit of the content is another: ${name}`, () => {
      const bytes = read(`${name}.parcel`);
      const at = bytes.indexOf('bouncy');
      bytes[at] = (bytes[at] as number) ^ 1;
      const trusted = [readCertificate(read(`${name}.gateway`))];
      assert.throws(
        () => verifyParcelForMailbox(readParcel(bytes, new CertificateCache()), trusted, NOW, 0),
        (error) => error instanceof AwalaError && error.code === 'SIGNATURE_INVALID',
      );
    });
  }
});
