/** Registration by the official JavaScript client (RS-016), unmodified. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  derSerializePublicKey,
  getIdFromIdentityKey,
  NodeConnectionParams,
  PrivateNodeRegistrationRequest,
} from '@relaycorp/relaynet-core';
import type { PoWebClient } from '@relaycorp/relaynet-poweb';
import type { Addresses, Deployment } from '../../support/deployment.ts';
import {
  newOfficialIdentity,
  type OfficialIdentity,
  officialClient,
  officialPublicKey,
  registerOfficially,
} from '../../support/official-client.ts';

const DAY = 86_400_000;

export const registration = (deployment: Deployment) =>
  describe('Registration by the official JavaScript client', () => {
    let gateway: Addresses & AsyncDisposable;
    let client: PoWebClient;
    let identity: OfficialIdentity;

    before(async () => {
      gateway = await deployment.start();
      client = officialClient(gateway.poweb);
      identity = await newOfficialIdentity();
    });

    after(() => gateway[Symbol.asyncDispose]());

    test('gives a certificate for its key that chains to the gateway', async () => {
      const { privateNodeCertificate, gatewayCertificate } = await registerOfficially(client, identity);

      assert.equal(await privateNodeCertificate.calculateSubjectId(), identity.id);
      assert.equal(privateNodeCertificate.getCommonName(), identity.id);
      assert.deepEqual(
        await derSerializePublicKey(await privateNodeCertificate.getPublicKey()),
        await officialPublicKey(identity),
      );
      const path = await privateNodeCertificate.getCertificationPath([], [gatewayCertificate]);
      assert.deepEqual(
        path.map((certificate) => certificate.getCommonName()),
        [identity.id, gatewayCertificate.getCommonName()],
      );
      assert.equal(privateNodeCertificate.getIssuerId(), await gatewayCertificate.calculateSubjectId());
      privateNodeCertificate.validate();
      gatewayCertificate.validate();
      // Clients register again when 90 days are left.
      assert.ok(privateNodeCertificate.expiryDate.getTime() - Date.now() >= 120 * DAY);
      assert.ok(privateNodeCertificate.expiryDate <= gatewayCertificate.expiryDate);
      assert.ok(privateNodeCertificate.startDate >= gatewayCertificate.startDate);
    });

    test("gives the gateway's Internet address and a session key", async () => {
      const { internetGatewayInternetAddress, sessionKey } = await registerOfficially(client, identity);

      assert.equal(internetGatewayInternetAddress, 'gateway.test');
      assert.equal(sessionKey?.keyId.length, 8);
      assert.deepEqual(sessionKey?.publicKey.algorithm, { name: 'ECDH', namedCurve: 'P-256' });
    });

    test('is by the gateway that the connection parameters name', async () => {
      const response = await fetch(`${gateway.poweb}/connection-params.der`);
      const params = await NodeConnectionParams.deserialize(await response.arrayBuffer());
      const { gatewayCertificate } = await registerOfficially(client, identity);

      assert.equal(params.internetAddress, 'gateway.test');
      assert.equal(await getIdFromIdentityKey(params.identityKey), await gatewayCertificate.calculateSubjectId());
      assert.equal(params.sessionKey.keyId.length, 8);
    });

    test('is refused with 403 under the authorization of another key', async () => {
      const authorization = await client.preRegisterNode(identity.publicKey);
      const thief = await newOfficialIdentity();
      const request = new PrivateNodeRegistrationRequest(thief.publicKey, authorization);

      await assert.rejects(client.registerNode(await request.serialize(thief.privateKey)), {
        name: 'ServerError',
        message: 'Unexpected response status (403)',
      });
    });

    test('is refused with 403 when its authorization was used before', async () => {
      const authorization = await client.preRegisterNode(identity.publicKey);
      const request = new PrivateNodeRegistrationRequest(identity.publicKey, authorization);
      await client.registerNode(await request.serialize(identity.privateKey));

      await assert.rejects(client.registerNode(await request.serialize(identity.privateKey)), {
        name: 'ServerError',
        message: 'Unexpected response status (403)',
      });
    });

    test('of a known key gives a further certificate and a new session key', async () => {
      const first = await registerOfficially(client, identity);
      const second = await registerOfficially(client, identity);

      assert.equal(await second.privateNodeCertificate.calculateSubjectId(), identity.id);
      assert.notEqual(
        second.privateNodeCertificate.getSerialNumberHex(),
        first.privateNodeCertificate.getSerialNumberHex(),
      );
      assert.notDeepEqual(second.sessionKey?.keyId, first.sessionKey?.keyId);
    });
  });
