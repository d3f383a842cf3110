import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ParcelDeliverySigner, ParcelDeliveryVerifier } from '@relaycorp/relaynet-core';
import fc from 'fast-check';
import { CONSTRUCTED, context, Tag } from '../../../src/awala/asn1/tags.ts';
import { constructed, octetString, oid, primitive, sequence } from '../../../src/awala/asn1/writer.ts';
import { readSignedData, type SignedData, verifySignedData } from '../../../src/awala/cms/signed-data.ts';
import { AwalaError, type AwalaErrorCode } from '../../../src/awala/errors.ts';
import { Oid } from '../../../src/awala/oids.ts';
import { CertificateCache } from '../../../src/awala/pki/certificate-cache.ts';
import {
  commonName,
  handmadeSignedData,
  indefinite,
  issuerAndSerialNumber,
  type SignedDataParts,
  signingTimeAttribute,
} from '../../support/handmade.ts';
import { HandmadeChain, identifierOf, NOW } from '../../support/handmade-chain.ts';
import { officialChain } from '../../support/official-chain.ts';

const chain = await HandmadeChain.make();
const { sender, endpoint } = chain.keys;

const CONTENT = Buffer.from('Nothing travels faster than a courier on a motorbike.');

function read(changes: Partial<SignedDataParts> = {}): SignedData {
  return readSignedData(chain.signedData(changes.content ?? CONTENT, changes), new CertificateCache());
}

function contentOf({ content = [] }: SignedData): Buffer {
  return Buffer.concat(content);
}

function refuses(code: AwalaErrorCode, action: () => unknown): void {
  assert.throws(action, (error) => error instanceof AwalaError && error.code === code);
}

/** Pieces of a string, cut at these places. */
function cut(whole: Buffer, places: readonly number[]): Buffer[] {
  const bounds = [0, ...places.toSorted((a, b) => a - b), whole.length];
  return bounds.slice(1).map((end, i) => whole.subarray(bounds[i], end));
}

describe('SignedData', () => {
  it('reads what is inside and verifies it', () => {
    const signedData = read();
    assert.deepEqual(contentOf(signedData), CONTENT);
    assert.equal(signedData.signer.subjectId, sender.id);
    assert.equal(signedData.certificates.length, 3);
    assert.equal(verifySignedData(signedData), signedData.signer);
  });

  for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
    it(`verifies ${hash}`, () => {
      verifySignedData(read({ hash }));
    });
  }

  it('verifies what Kotlin clients send: indefinite lengths, segments, a signing time', () => {
    const moreAttributes = [signingTimeAttribute(NOW)];
    for (const segmentLength of [1, 7, 1000]) {
      const signedData = read({ isIndefinite: true, segmentLength, moreAttributes });
      verifySignedData(signedData);
      assert.deepEqual(contentOf(signedData), CONTENT);
    }
  });

  it('verifies content that is split anywhere, with segments in segments', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(CONTENT.length), { maxLength: 6 }), fc.boolean(), (places, isNested) => {
        const segments = cut(CONTENT, places).map(octetString);
        const string = isNested
          ? constructed(Tag.OCTET_STRING, indefinite(Tag.OCTET_STRING, ...segments))
          : indefinite(Tag.OCTET_STRING, ...segments);
        const contentType = Buffer.concat([oid(Oid.DATA), constructed(context(0), string)]);
        // The content goes in by the way of its type, which it follows.
        const signedData = read({ contentType, isDetached: true });
        verifySignedData(signedData);
        assert.deepEqual(contentOf(signedData), CONTENT);
      }),
      { numRuns: 50 },
    );
  });

  it('does not copy segments', () => {
    const bytes = chain.signedData(CONTENT, { segmentLength: 10 });
    const { content = [] } = readSignedData(bytes, new CertificateCache());
    assert.equal(content.length, 6);
    assert.ok(content.every((segment) => segment.buffer === bytes.buffer));
  });

  it('verifies detached content, in however many pieces it is given', () => {
    const signedData = read({ isDetached: true });
    assert.equal(signedData.content, undefined);
    fc.assert(
      fc.property(fc.array(fc.nat(CONTENT.length), { maxLength: 4 }), (places) => {
        assert.equal(verifySignedData(signedData, cut(CONTENT, places)).subjectId, sender.id);
      }),
      { numRuns: 20 },
    );
    refuses('SIGNATURE_INVALID', () => verifySignedData(signedData, [CONTENT, Buffer.from('!')]));
    refuses('SIGNATURE_INVALID', () => verifySignedData(signedData, []));
  });

  it('refuses to verify detached content that is missing, or content that is both inside and given', () => {
    refuses('SIGNED_DATA_MALFORMED', () => verifySignedData(read({ isDetached: true })));
    refuses('SIGNED_DATA_MALFORMED', () => verifySignedData(read(), [CONTENT]));
  });

  it('finds the signer by subject key identifier too', () => {
    const identifier = primitive(context(0), sender.publicKey.digest);
    assert.equal(verifySignedData(read({ identifier })).subjectId, sender.id);
  });

  it("finds the signer when the issuer's name is in another string type", () => {
    const { serialNumberField } = read().signer;
    const identifier = issuerAndSerialNumber(commonName(endpoint.id, Tag.UTF8_STRING), serialNumberField);
    assert.equal(verifySignedData(read({ identifier })).subjectId, sender.id);
  });

  it('gives a repeated certificate once', () => {
    const { pda, endpoint: issuer } = chain.certificates;
    assert.equal(read({ certificates: [issuer, pda, issuer, pda, pda] }).certificates.length, 2);
  });

  it('skips certificates that are no concern of ours', () => {
    const { pda } = chain.certificates;
    const foreign = [sequence(), sequence(sequence(), octetString(CONTENT)), constructed(context(1) | CONSTRUCTED)];
    const signedData = read({ certificates: [...foreign, pda] });
    assert.equal(signedData.certificates.length, 1);
    verifySignedData(signedData);
  });

  it("tells what is wrong with the signer's certificate when that cannot be read", () => {
    const pda = chain.pda({ version: Buffer.alloc(0) });
    refuses('CERTIFICATE_MALFORMED', () => read({ certificates: [pda] }));
  });

  it('takes known certificates from the cache', () => {
    const cache = new CertificateCache();
    const bytes = chain.signedData(CONTENT);
    const first = readSignedData(bytes, cache).signer;
    assert.notEqual(readSignedData(bytes, cache).signer, first);
    cache.remember(first);
    assert.equal(readSignedData(bytes, cache).signer, first);
  });

  it('refuses content with any bit flipped', () => {
    const bytes = chain.signedData(CONTENT);
    const start = bytes.indexOf(CONTENT);
    for (let bit = 0; bit < 8 * CONTENT.length; bit++) {
      const damaged = Buffer.from(bytes);
      const at = start + (bit >> 3);
      damaged[at] = (damaged[at] as number) ^ (1 << (bit & 7));
      refuses('SIGNATURE_INVALID', () => verifySignedData(readSignedData(damaged, new CertificateCache())));
    }
  });

  it('verifies what the official library signed and left outside', async () => {
    const official = await officialChain();
    const signer = new ParcelDeliverySigner(official.privateGateway, official.keys.privateGateway.privateKey);
    const signature = Buffer.from(await signer.sign(new Uint8Array(CONTENT).buffer));
    const signedData = readSignedData(signature, new CertificateCache());
    const fields = sequence(oid(Oid.PARCEL_COUNTERSIGNATURE, context(0)), primitive(context(1), CONTENT));
    assert.equal(verifySignedData(signedData, [fields]).subjectId, official.keys.privateGateway.id);
    const otherwise = sequence(oid(Oid.NONCE_SIGNATURE, context(0)), primitive(context(1), CONTENT));
    refuses('SIGNATURE_INVALID', () => verifySignedData(signedData, [otherwise]));
  });

  it('is verified by the official library when made by hand', async () => {
    const content = sequence(oid(Oid.PARCEL_COUNTERSIGNATURE, context(0)), primitive(context(1), CONTENT));
    const official = await officialChain();
    const { keys } = chain;
    const certificate = Buffer.from(official.privateGateway.serialize());
    const bytes = handmadeSignedData({
      content,
      signer: keys.privateGateway,
      certificates: [certificate],
      identifier: identifierOf(certificate),
      isDetached: true,
    });
    const verifier = new ParcelDeliveryVerifier([official.gateway]);
    await verifier.verify(new Uint8Array(bytes).buffer, new Uint8Array(CONTENT).buffer);
  });
});
