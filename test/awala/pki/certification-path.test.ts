import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import fc from 'fast-check';
import { integer } from '../../../src/awala/asn1/writer.ts';
import { MAX_CERTIFICATES } from '../../../src/awala/cms/signed-data.ts';
import { AwalaError, type AwalaErrorCode } from '../../../src/awala/errors.ts';
import { type Certificate, readCertificate } from '../../../src/awala/pki/certificate.ts';
import { CertificateCache } from '../../../src/awala/pki/certificate-cache.ts';
import { type PathSearch, verifyPath } from '../../../src/awala/pki/certification-path.ts';
import { RsaPublicKey } from '../../../src/awala/pki/rsa-public-key.ts';
import { BOOLEAN, basicConstraints } from '../../support/handmade.ts';
import { DAY, HandmadeChain, NOW } from '../../support/handmade-chain.ts';

const chain = await HandmadeChain.make();

const pda = () => readCertificate(chain.certificates.pda);
const endpoint = () => readCertificate(chain.certificates.endpoint);
const privateGateway = () => readCertificate(chain.certificates.privateGateway);
const forgedEndpoint = () =>
  readCertificate(chain.certificate('endpoint', 'privateGateway', { signature: Buffer.alloc(256, 1) }));
const forgedPrivateGateway = () =>
  readCertificate(
    chain.certificate('privateGateway', 'gateway', {
      constraints: basicConstraints(BOOLEAN.true, integer(1)),
      signature: Buffer.alloc(256, 1),
    }),
  );
const stranger = () => readCertificate(chain.certificate('stranger', 'stranger'));

function path(leaf: Certificate, intermediates: readonly Certificate[], changes: Partial<PathSearch> = {}): string[] {
  const search = { trusted: chain.trusted(), now: NOW, drift: 0, cache: new CertificateCache(), ...changes };
  return verifyPath(leaf, { intermediates, ...search }).map(({ subjectId }) => subjectId);
}

function refuses(code: AwalaErrorCode, action: () => unknown): void {
  assert.throws(action, (error) => error instanceof AwalaError && error.code === code);
}

const { keys } = chain;
const WHOLE = [keys.sender.id, keys.endpoint.id, keys.privateGateway.id, keys.gateway.id];

/** Counts the signatures that `action` checks. */
function checks(action: () => unknown): number {
  const verify = mock.method(RsaPublicKey.prototype, 'verify');
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof AwalaError, String(error));
  } finally {
    verify.mock.restore();
  }
  return verify.mock.callCount();
}

describe('Certification path', () => {
  it('leads from a sender to us', () => {
    assert.deepEqual(path(pda(), [endpoint(), privateGateway()]), WHOLE);
  });

  it('leads from a private gateway to us, without others', () => {
    assert.deepEqual(path(privateGateway(), []), WHOLE.slice(2));
  });

  it('is found whatever the order, the repeats and the strangers, forged ones too', () => {
    const pool = [
      endpoint(),
      privateGateway(),
      pda(),
      stranger(),
      forgedEndpoint(),
      forgedPrivateGateway(),
      ...chain.trusted(),
    ];
    fc.assert(
      fc.property(fc.shuffledSubarray([...pool, ...pool], { minLength: pool.length }), (some) => {
        const intermediates = [...some, endpoint(), privateGateway()];
        assert.deepEqual(path(pda(), intermediates), WHOLE);
        assert.deepEqual(path(pda(), intermediates.toReversed()), WHOLE);
      }),
      { numRuns: 50 },
    );
  });

  it('takes the certificate of an issuer that is valid now, where it has several', () => {
    const expired = readCertificate(chain.certificate('endpoint', 'privateGateway', { notAfter: NOW - 1 }));
    const coming = readCertificate(chain.certificate('endpoint', 'privateGateway', { notBefore: NOW + 1000 }));
    const leaf = readCertificate(chain.certificate('endpoint', 'privateGateway', { constraints: basicConstraints() }));
    assert.deepEqual(path(pda(), [expired, coming, leaf, endpoint(), privateGateway()]), WHOLE);
    refuses('CERTIFICATE_UNTRUSTED', () => path(pda(), [expired, coming, leaf, privateGateway()]));
  });

  it('ends at any of several trusted certificates that are valid', () => {
    const [ours] = chain.trusted() as [Certificate];
    const constraints = basicConstraints(BOOLEAN.true, integer(2));
    const old = readCertificate(chain.certificate('gateway', 'gateway', { constraints, notAfter: NOW - 1 }));
    const trusted = [old, ours];
    assert.deepEqual(path(pda(), [endpoint(), privateGateway()], { trusted }), WHOLE);
    refuses('CERTIFICATE_UNTRUSTED', () => path(pda(), [endpoint(), privateGateway()], { trusted: [old] }));
    refuses('CERTIFICATE_UNTRUSTED', () => path(pda(), [endpoint(), privateGateway()], { trusted: [] }));
  });

  it('tolerates as much drift as it is told, at either end', () => {
    const early = readCertificate(chain.certificate('endpoint', 'privateGateway', { notBefore: NOW + 5000 }));
    const late = readCertificate(chain.certificate('endpoint', 'privateGateway', { notAfter: NOW - 5000 }));
    for (const issuer of [early, late]) {
      assert.deepEqual(path(pda(), [issuer, privateGateway()], { drift: 5000 }), WHOLE);
      refuses('CERTIFICATE_UNTRUSTED', () => path(pda(), [issuer, privateGateway()], { drift: 4000 }));
    }
  });

  it('checks dates again when all signatures are known', () => {
    const cache = new CertificateCache();
    const intermediates = [endpoint(), privateGateway()];
    const leaf = pda();
    path(leaf, intermediates, { cache });
    refuses('CERTIFICATE_EXPIRED', () => path(leaf, intermediates, { cache, now: NOW + 61 * DAY }));
    refuses('CERTIFICATE_NOT_YET_VALID', () => path(leaf, intermediates, { cache, now: NOW - 31 * DAY }));
  });

  it('is never longer than four certificates', () => {
    const constraints = basicConstraints(BOOLEAN.true);
    const made = [
      chain.certificate('stranger', 'sender'),
      chain.certificate('sender', 'endpoint', { constraints }),
      chain.certificate('endpoint', 'privateGateway', { constraints }),
      chain.certificate('privateGateway', 'gateway', { constraints }),
    ].map(readCertificate);
    const trusted = [readCertificate(chain.certificate('gateway', 'gateway', { constraints }))];
    const [leaf, ...rest] = made as [Certificate, ...Certificate[]];
    assert.equal(path(rest[0] as Certificate, rest, { trusted }).length, 4);
    refuses('CERTIFICATE_UNTRUSTED', () => path(leaf, rest, { trusted }));
  });

  it('does not follow certificates that issued each other', () => {
    const constraints = basicConstraints(BOOLEAN.true);
    const circle = [
      chain.certificate('sender', 'endpoint', { constraints }),
      chain.certificate('endpoint', 'sender', { constraints }),
      chain.certificate('endpoint', 'endpoint', { constraints }),
      chain.certificate('sender', 'sender', { constraints }),
    ].map(readCertificate);
    refuses('CERTIFICATE_UNTRUSTED', () => path(circle[0] as Certificate, circle));
  });

  it('checks one signature for each link when nothing is known, and none when all is', () => {
    const cache = new CertificateCache();
    const bytes = [chain.certificates.endpoint, chain.certificates.privateGateway];
    const build = () =>
      path(
        cache.read(chain.certificates.pda),
        bytes.map((each) => cache.read(each)),
        { cache },
      );
    assert.equal(checks(build), 3);
    assert.equal(checks(build), 0);
  });

  it('remembers nothing of a path that was refused', () => {
    const cache = new CertificateCache();
    refuses('CERTIFICATE_SIGNATURE_INVALID', () => path(pda(), [endpoint(), forgedPrivateGateway()], { cache }));
    assert.equal(cache.size, 0);
  });

  it('checks no certificate twice, however many stand beside it', () => {
    const crowd: Certificate[] = [];
    while (crowd.length < MAX_CERTIFICATES) {
      crowd.push(
        readCertificate(
          chain.certificate('endpoint', 'privateGateway', { constraints: basicConstraints(BOOLEAN.true) }),
        ),
        readCertificate(
          chain.certificate('privateGateway', 'endpoint', { constraints: basicConstraints(BOOLEAN.true) }),
        ),
      );
    }
    assert.ok(checks(() => path(pda(), crowd)) <= MAX_CERTIFICATES + 1);
    assert.ok(checks(() => path(pda(), [...crowd, privateGateway()])) <= MAX_CERTIFICATES + 2);
  });
});
