import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { integer } from '../../../src/awala/asn1/writer.ts';
import type { Certificate } from '../../../src/awala/pki/certificate.ts';
import { CertificateCache } from '../../../src/awala/pki/certificate-cache.ts';
import { HandmadeChain } from '../../support/handmade-chain.ts';

const chain = await HandmadeChain.make();

/** Room for 20 certificates, with what each takes beside its own octets; for 16 of those that were met more than once. */
const ROOM = 20 * (chain.certificates.pda.length + 4096 + 10);
const FREQUENT = 16;

/** As many delivery authorizations of different bytes. */
function certificates(count: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => chain.pda({ serialNumber: integer(i + 1) }));
}

function isCached(cache: CertificateCache, certificate: Certificate): boolean {
  return cache.read(certificate.raw) === certificate;
}

describe('Certificate cache', () => {
  it('gives the same object for the same bytes once it was told to remember', () => {
    const cache = new CertificateCache();
    const [bytes] = certificates(1) as [Buffer];
    const first = cache.read(bytes);
    assert.notEqual(cache.read(bytes), first);
    assert.equal(cache.size, 0);
    cache.remember(first);
    assert.equal(cache.read(Buffer.from(bytes)), first);
    assert.equal(cache.size, 1);
  });

  it('keeps no reference to the message that a certificate came in', () => {
    const cache = new CertificateCache();
    const [bytes] = certificates(1) as [Buffer];
    const message = Buffer.concat([Buffer.alloc(1_000_000), bytes]);
    const certificate = cache.read(message.subarray(1_000_000));
    assert.deepEqual(certificate.raw, bytes);
    assert.notEqual(certificate.raw.buffer, message.buffer);
    assert.equal(certificate.publicKey.spki.buffer, certificate.raw.buffer);
  });

  it('reads anew what differs in one bit, the end being the same', () => {
    const cache = new CertificateCache();
    const [bytes] = certificates(1) as [Buffer];
    const known = cache.read(bytes);
    cache.remember(known);
    const other = chain.pda({ serialNumber: integer(99), signature: bytes.subarray(-256) });
    assert.equal(cache.read(other).serialNumber, '63');
    assert.ok(isCached(cache, known));
  });

  it('stays within its room', () => {
    const cache = new CertificateCache(ROOM);
    for (const bytes of certificates(60)) {
      cache.remember(cache.read(bytes));
      cache.read(bytes);
    }
    assert.ok(cache.size >= 15 && cache.size <= 21, String(cache.size));
  });

  it('takes one again that it had dropped', () => {
    const cache = new CertificateCache(ROOM);
    const [first, ...others] = certificates(60).map((bytes) => cache.read(bytes)) as [Certificate, ...Certificate[]];
    for (const certificate of [first, ...others]) {
      cache.remember(certificate);
    }
    assert.ok(!isCached(cache, first));
    cache.remember(first);
    assert.ok(isCached(cache, first));
  });

  it('keeps certificates in use, however many new ones are met once', () => {
    const cache = new CertificateCache(ROOM);
    const [inUse, ...others] = certificates(60) as [Buffer, ...Buffer[]];
    const certificate = cache.read(inUse);
    cache.remember(certificate);
    assert.ok(isCached(cache, certificate));
    for (const bytes of others) {
      cache.remember(cache.read(bytes));
    }
    assert.ok(isCached(cache, certificate));
  });

  describe('when full of certificates that were met more than once', () => {
    /** A full cache, and its certificates in the order that they were used. */
    function full() {
      const cache = new CertificateCache(ROOM);
      const known = certificates(FREQUENT).map((bytes) => cache.read(bytes));
      for (const certificate of known) {
        cache.remember(certificate);
        assert.ok(isCached(cache, certificate));
      }
      const fresh = certificates(FREQUENT + 10).slice(FREQUENT);
      const meet = (bytes: Buffer) => {
        const certificate = cache.read(bytes);
        cache.remember(certificate);
        return certificate;
      };
      return { cache, known, fresh, meet };
    }

    it('lets the one used least recently wait among the new ones, to be met again', () => {
      const { cache, known, fresh, meet } = full();
      const [first] = known as [Certificate];
      assert.ok(isCached(cache, meet(fresh[0] as Buffer)));
      assert.ok(isCached(cache, first));
    });

    it('drops the one used least recently, not the oldest, when newer ones follow', () => {
      const { cache, known, fresh, meet } = full();
      const [first, second] = known as [Certificate, Certificate];
      assert.ok(isCached(cache, first));
      assert.ok(isCached(cache, meet(fresh[0] as Buffer)));
      for (const bytes of fresh.slice(1)) {
        meet(bytes);
      }
      assert.ok(isCached(cache, first));
      assert.ok(!isCached(cache, second));
    });
  });
});
