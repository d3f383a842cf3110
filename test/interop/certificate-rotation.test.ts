/** The gateway's next certificate, as an official private gateway, unmodified, gets it in cargo. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CertificateRotation } from '@relaycorp/relaynet-core';
import { needsCloud, startCloud } from '../support/cloud.ts';
import { startFleet } from '../support/fleet.ts';
import { startGateway } from '../support/gateway.ts';
import { OfficialChannel } from '../support/official-channel.ts';
import { collectOfficially, officialCourier } from '../support/official-courier.ts';

const DAY = 24 * 3_600_000;

/** After this time a private gateway's certificate has less than 90 days left. */
const AGE = 95 * DAY;

describe('An official private gateway reads the certificate that comes in cargo before its own ends', () => {
  test('with all in one process', async () => {
    let behind = AGE;
    await using gateway = await startGateway({ clock: { now: () => Date.now() - behind } });
    const recipient = await OfficialChannel.register(gateway.poweb);
    behind = 0;
    await gateway.gateway.identity.refresh();
    await collectRotation(recipient, gateway.cogrpc);
  });

  test('with each service a process, on stores that a process left long ago', needsCloud(), async () => {
    await using cloud = await startCloud();
    let recipient: OfficialChannel;
    {
      const clock = { now: () => Date.now() - AGE };
      await using past = await startGateway({ environment: cloud.environment, clock });
      recipient = await OfficialChannel.register(past.poweb);
    }
    await using fleet = await startFleet({ cloud });
    await collectRotation(recipient, fleet.addresses.cogrpc);
  });
});

async function collectRotation(recipient: OfficialChannel, cogrpc: string): Promise<void> {
  const { expiryDate } = recipient.privateGateway.certificate;
  const courier = await officialCourier(cogrpc);
  const [cargo] = await collectOfficially(courier, await recipient.newCca());
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
}
