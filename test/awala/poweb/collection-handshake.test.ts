/**
 * The messages of the collection handshake, to the official library and back.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  HandshakeChallenge,
  HandshakeResponse,
  Certificate as OfficialCertificate,
  ParcelCollectionHandshakeSigner,
  ParcelCollectionHandshakeVerifier,
} from '@relaycorp/relaynet-core';
import { constructed, octetString, primitive, sequence } from '../../../src/awala/asn1/writer.ts';
import { CertificateCache } from '../../../src/awala/pki/certificate-cache.ts';
import {
  MAX_HANDSHAKE_RESPONSE_OCTETS,
  MAX_NONCE_SIGNATURES,
  readHandshakeChallenge,
  readHandshakeResponse,
  verifyNonceSignature,
  writeHandshakeChallenge,
  writeHandshakeResponse,
  writeNonceSignature,
} from '../../../src/awala/poweb/collection-handshake.ts';
import { arrayBuffer, withChangedOctet } from '../../support/octets.ts';
import { officialKeyPair } from '../../support/official-chain.ts';
import { selfIssued, type TestChain, testChain, testIdentity } from '../../support/pki.ts';
import { assertRefused } from '../../support/refusals.ts';
import { assertDer } from '../../support/strict-der.ts';

const DRIFT = 7_200_000;
const NONCE = Buffer.from('0123456789abcdef');

let chain: TestChain;
let signature: Buffer;
before(async () => {
  chain = await testChain();
  signature = await writeNonceSignature(NONCE, chain.privateGateway);
});

function verify(bytes: Buffer, nonce = NONCE) {
  const trusted = [chain.gateway.certificate];
  return verifyNonceSignature(bytes, nonce, trusted, new CertificateCache(), Date.now(), DRIFT);
}

function official({ certificate }: { certificate: { raw: Buffer } }): OfficialCertificate {
  return OfficialCertificate.deserialize(arrayBuffer(certificate.raw));
}

describe('A handshake challenge', () => {
  it('is one primitive field', () => {
    assert.equal(writeHandshakeChallenge(Buffer.from('abcd', 'hex')).toString('hex'), '30048002abcd');
  });

  it('goes to the official library and back', () => {
    const theirs = HandshakeChallenge.deserialize(arrayBuffer(writeHandshakeChallenge(NONCE)));
    assert.deepEqual(Buffer.from(theirs.nonce), NONCE);
    assert.deepEqual(readHandshakeChallenge(Buffer.from(theirs.serialize())), NONCE);
  });

  it('is refused without a nonce, or with a long one', () => {
    for (const malformed of [
      Buffer.alloc(0),
      Buffer.from('challenge'),
      sequence(),
      sequence(octetString(NONCE)),
      writeHandshakeChallenge(Buffer.alloc(0)),
      writeHandshakeChallenge(Buffer.alloc(257)),
      writeHandshakeChallenge(Buffer.alloc(5000)),
    ]) {
      assertRefused('HANDSHAKE_MALFORMED', () => readHandshakeChallenge(malformed));
    }
  });
});

describe('A handshake response', () => {
  it('reads back, with as many signatures as are allowed', () => {
    for (const count of [1, 2, MAX_NONCE_SIGNATURES]) {
      const signatures = Array.from({ length: count }, (_, index) => Buffer.alloc(index + 1, index));
      const bytes = writeHandshakeResponse(signatures);
      assertDer(bytes);
      assert.deepEqual(readHandshakeResponse(bytes), signatures);
    }
  });

  it('goes to the official library and back', () => {
    const theirs = HandshakeResponse.deserialize(arrayBuffer(writeHandshakeResponse([signature, NONCE])));
    assert.deepEqual(
      theirs.nonceSignatures.map((octets) => Buffer.from(octets)),
      [signature, NONCE],
    );
    assert.deepEqual(readHandshakeResponse(Buffer.from(theirs.serialize())), [signature, NONCE]);
  });

  it('is refused without a signature, or with too many', () => {
    for (const malformed of [
      Buffer.alloc(0),
      Buffer.from('response'),
      sequence(),
      writeHandshakeResponse([]),
      writeHandshakeResponse(Array.from({ length: MAX_NONCE_SIGNATURES + 1 }, () => NONCE)),
      writeHandshakeResponse([Buffer.alloc(MAX_HANDSHAKE_RESPONSE_OCTETS)]),
      sequence(primitive(0x80, signature)),
      sequence(constructed(0xa0, sequence(signature))),
    ]) {
      assertRefused('HANDSHAKE_MALFORMED', () => readHandshakeResponse(malformed));
    }
  });
});

describe('A nonce signature', () => {
  it('tells the private gateway that made it', () => {
    assertDer(signature);
    assert.deepEqual(verify(signature).raw, chain.privateGateway.certificate.raw);
  });

  it('is verified by the official library', async () => {
    const verifier = new ParcelCollectionHandshakeVerifier([official(chain.gateway)]);
    const signer = await verifier.verify(arrayBuffer(signature), arrayBuffer(NONCE));
    assert.equal(await signer.calculateSubjectId(), chain.privateGateway.id);
  });

  it('is accepted from the official library', async () => {
    const { privateKey } = await officialKeyPair('private-gateway');
    const signer = new ParcelCollectionHandshakeSigner(official(chain.privateGateway), privateKey);
    assert.equal(verify(Buffer.from(await signer.sign(arrayBuffer(NONCE)))).subjectId, chain.privateGateway.id);
  });

  it('is refused over another nonce, changed, or from a stranger', async () => {
    const stranger = await writeNonceSignature(NONCE, await selfIssued(await testIdentity('stranger')));
    assertRefused('HANDSHAKE_INVALID', () => verify(signature, Buffer.from('another')));
    assertRefused('HANDSHAKE_INVALID', () => verify(withChangedOctet(signature, signature.length - 1)));
    assertRefused('HANDSHAKE_INVALID', () => verify(stranger));
  });

  it('is refused when it cannot be read', () => {
    for (const malformed of [Buffer.alloc(0), NONCE, signature.subarray(1)]) {
      assertRefused('HANDSHAKE_MALFORMED', () => verify(malformed));
    }
  });
});
