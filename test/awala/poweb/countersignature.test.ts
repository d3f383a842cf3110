/**
 * Parcel countersignatures: whose are accepted, and that the official library and we verify each other's.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  Certificate as OfficialCertificate,
  ParcelDeliverySigner,
  ParcelDeliveryVerifier,
} from '@relaycorp/relaynet-core';
import { oid, primitive, sequence } from '../../../src/awala/asn1/writer.ts';
import { writeSignedData } from '../../../src/awala/cms/sign.ts';
import { readSignedData } from '../../../src/awala/cms/signed-data.ts';
import type { Certificate } from '../../../src/awala/pki/certificate.ts';
import { CertificateCache } from '../../../src/awala/pki/certificate-cache.ts';
import { verifyNonceSignature, writeNonceSignature } from '../../../src/awala/poweb/collection-handshake.ts';
import {
  verifyParcelCountersignature,
  writeParcelCountersignature,
} from '../../../src/awala/poweb/countersignature.ts';
import { MAX_DETACHED_SIGNATURE_OCTETS } from '../../../src/awala/poweb/detached-signature.ts';
import { arrayBuffer, withChangedOctet } from '../../support/octets.ts';
import { officialKeyPair } from '../../support/official-chain.ts';
import { issued, selfIssued, type TestChain, testChain, testIdentity } from '../../support/pki.ts';
import { assertRefused } from '../../support/refusals.ts';
import { assertDer } from '../../support/strict-der.ts';

const HOUR = 3_600_000;
const DRIFT = 2 * HOUR;
const PARCEL = Buffer.alloc(2000, 'parcel');

/** What a countersignature is over. */
const SIGNED_FIELDS = sequence(oid('1.3.6.1.4.1.58708.0.3.0', 0x80), primitive(0x81, PARCEL));

let chain: TestChain;
let countersignature: Buffer;
before(async () => {
  chain = await testChain();
  countersignature = await writeParcelCountersignature(PARCEL, chain.privateGateway);
});

function verify(
  signature: Buffer,
  {
    parcel = PARCEL,
    trusted = [chain.gateway.certificate],
    now = Date.now(),
  }: { parcel?: Buffer; trusted?: Certificate[]; now?: number } = {},
): Certificate {
  return verifyParcelCountersignature(signature, parcel, trusted, new CertificateCache(), now, DRIFT);
}

function official(certificate: Certificate): OfficialCertificate {
  return OfficialCertificate.deserialize(arrayBuffer(certificate.raw));
}

describe('A parcel countersignature', () => {
  it('tells the private gateway that made it', () => {
    assert.deepEqual(verify(countersignature).raw, chain.privateGateway.certificate.raw);
  });

  it("is DER, with the signer's certificate and nothing of the parcel inside", () => {
    assertDer(countersignature);
    const { content, certificates } = readSignedData(countersignature, new CertificateCache());
    assert.equal(content, undefined);
    assert.deepEqual(
      certificates.map(({ raw }) => raw),
      [chain.privateGateway.certificate.raw],
    );
    assert.ok(countersignature.length < 2500);
  });

  it('is verified by the official library', async () => {
    const verifier = new ParcelDeliveryVerifier([official(chain.gateway.certificate)]);
    const signer = await verifier.verify(arrayBuffer(countersignature), arrayBuffer(PARCEL));
    assert.equal(await signer.calculateSubjectId(), chain.privateGateway.id);
  });

  it('is accepted from the official library', async () => {
    const { privateKey } = await officialKeyPair('private-gateway');
    const signer = new ParcelDeliverySigner(official(chain.privateGateway.certificate), privateKey);
    const theirs = Buffer.from(await signer.sign(arrayBuffer(PARCEL)));
    assert.equal(verify(theirs).subjectId, chain.privateGateway.id);
  });

  it('is accepted when any of our certificates issued the signer, also with an older key of ours', async () => {
    const older = await selfIssued(await testIdentity('other-internet-gateway'));
    const { certificate } = await selfIssued(chain.gateway);
    assert.equal(
      verify(countersignature, { trusted: [older.certificate, certificate] }).subjectId,
      chain.privateGateway.id,
    );
  });

  it('is accepted while clocks differ by no more than two hours', () => {
    const { notBefore, notAfter } = chain.privateGateway.certificate;
    for (const now of [notBefore - DRIFT, notAfter + DRIFT]) {
      verify(countersignature, { now });
    }
    for (const now of [notBefore - DRIFT - 1, notAfter + DRIFT + 1]) {
      assertRefused('COUNTERSIGNATURE_INVALID', () => verify(countersignature, { now }));
    }
  });

  it('is refused over another parcel', () => {
    for (const parcel of [withChangedOctet(PARCEL, 1999), PARCEL.subarray(1), Buffer.alloc(0)]) {
      assertRefused('COUNTERSIGNATURE_INVALID', () => verify(countersignature, { parcel }));
    }
  });

  it('is refused when its signature was changed', () => {
    const changed = withChangedOctet(countersignature, countersignature.length - 1);
    assertRefused('COUNTERSIGNATURE_INVALID', () => verify(changed));
  });

  it('is refused from those to whom we issued no certificate', async () => {
    const stranger = await selfIssued(await testIdentity('stranger'));
    const elsewhere = await issued(
      chain.privateGateway,
      await selfIssued(await testIdentity('other-internet-gateway')),
    );
    for (const signer of [stranger, elsewhere]) {
      const signature = await writeParcelCountersignature(PARCEL, signer);
      assertRefused('COUNTERSIGNATURE_INVALID', () => verify(signature));
    }
    assertRefused('COUNTERSIGNATURE_INVALID', () => verify(countersignature, { trusted: [] }));
  });

  it('is accepted whatever certificates come along', async () => {
    const certificates = [chain.sender.certificate, chain.gateway.certificate];
    const signature = await writeSignedData(SIGNED_FIELDS, chain.privateGateway, { certificates, isDetached: true });
    assert.equal(verify(signature).subjectId, chain.privateGateway.id);
  });

  it('is refused from an endpoint, though a chain leads from it to us', async () => {
    const others = [chain.privateGateway.certificate, chain.gateway.certificate];
    for (const certificates of [[], others]) {
      const signature = await writeSignedData(SIGNED_FIELDS, chain.endpoint, { certificates, isDetached: true });
      assertRefused('COUNTERSIGNATURE_INVALID', () => verify(signature));
    }
  });

  it('is refused by a key that is not that of its certificate', async () => {
    const { key } = await testIdentity('stranger');
    const { certificate } = chain.privateGateway;
    const forged = await writeParcelCountersignature(PARCEL, { key, certificate });
    assertRefused('COUNTERSIGNATURE_INVALID', () => verify(forged));
  });

  it('is refused with the parcel inside', async () => {
    const attached = await writeSignedData(SIGNED_FIELDS, chain.privateGateway);
    assertRefused('COUNTERSIGNATURE_MALFORMED', () => verify(attached));
  });

  it('is refused when it cannot be read', () => {
    for (const malformed of [
      Buffer.alloc(0),
      Buffer.from('not CMS'),
      PARCEL,
      countersignature.subarray(0, -1),
      Buffer.alloc(MAX_DETACHED_SIGNATURE_OCTETS + 1, 0x30),
      // Nested deeper than any message.
      Buffer.alloc(2000, '3080', 'hex'),
    ]) {
      assertRefused('COUNTERSIGNATURE_MALFORMED', () => verify(malformed));
    }
  });
});

describe('Signatures for different purposes', () => {
  it('do not pass for each other', async () => {
    const nonceSignature = await writeNonceSignature(PARCEL, chain.privateGateway);
    assertRefused('COUNTERSIGNATURE_INVALID', () => verify(nonceSignature));
    const trusted = [chain.gateway.certificate];
    const verifyNonce = (signature: Buffer) =>
      verifyNonceSignature(signature, PARCEL, trusted, new CertificateCache(), Date.now(), DRIFT);
    assertRefused('HANDSHAKE_INVALID', () => verifyNonce(countersignature));
    assert.equal(verifyNonce(nonceSignature).subjectId, chain.privateGateway.id);
  });
});
