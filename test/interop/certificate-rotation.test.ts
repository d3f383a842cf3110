/** The gateway's next certificate, as an official private gateway, unmodified, gets it in cargo. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CertificateRotation } from '@relaycorp/relaynet-core';
import { startGateway } from '../support/gateway.ts';
import { OfficialChannel } from '../support/official-channel.ts';
import { officialCourier } from '../support/official-courier.ts';

const DAY = 24 * 3_600_000;

test('an official private gateway reads the certificate that comes in cargo before its own ends', async () => {
  let behind = 95 * DAY;
  await using gateway = await startGateway({ clock: { now: () => Date.now() - behind } });
  const recipient = await OfficialChannel.register(gateway.poweb);
  const { expiryDate } = recipient.privateGateway.certificate;
  behind = 0;
  await gateway.gateway.identity.refresh();
  const courier = await officialCourier(gateway.cogrpc);
  const [cargo] = await Array.fromAsync(courier.collectCargo(await recipient.newCca()));
  courier.close();
  const items = await recipient.open(cargo as Buffer);
  assert.equal(items.length, 2);
  const rotation = items.map(({ item }) => item).find((item) => item instanceof CertificateRotation);
  assert.ok(rotation);
  const { certificationPath } = rotation;
  const [issuer] = certificationPath.certificateAuthorities;
  assert.ok(issuer);
  assert.ok(certificationPath.leafCertificate.expiryDate > expiryDate);
  await certificationPath.leafCertificate.getCertificationPath([], [issuer]);
});
