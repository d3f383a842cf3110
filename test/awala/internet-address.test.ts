import assert from 'node:assert/strict';
import { test } from 'node:test';
import { issueEndpointCertificate, Parcel } from '@relaycorp/relaynet-core';
import { isInternetAddress } from '../../src/awala/internet-address.ts';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import { readParcel } from '../../src/awala/ramf/parcel.ts';
import { newOfficialIdentity } from '../support/official-client.ts';

/** A domain name of so many characters. */
function nameOf(length: number): string {
  const labels = `${'a'.repeat(50)}.`.repeat(5).slice(0, length - 2);
  return `${labels.replace(/\.$/, 'a')}.b`;
}

test('An Internet address leaves room for the service under which it is found', () => {
  assert.equal(nameOf(237).length, 237);
  assert.equal(isInternetAddress(nameOf(237)), true);
  assert.equal(isInternetAddress(nameOf(238)), false);
});

test('A parcel for an address under which nothing can be found is refused, rather than taken and given up', async () => {
  const { id, publicKey, privateKey } = await newOfficialIdentity();
  const certificate = await issueEndpointCertificate({
    subjectPublicKey: publicKey,
    issuerPrivateKey: privateKey,
    validityEndDate: new Date(Date.now() + 3_600_000),
  });
  const parcelFor = async (internetAddress: string) =>
    Buffer.from(await new Parcel({ id, internetAddress }, certificate, Buffer.from('a')).serialize(privateKey));
  const read = async (internetAddress: string) =>
    readParcel(await parcelFor(internetAddress), new CertificateCache()).recipient.internetAddress;
  assert.equal(await read(nameOf(237)), nameOf(237));
  await assert.rejects(read(nameOf(238)), { code: 'RAMF_MALFORMED' });
});
