/**
 * Parcels from the Internet by the official JavaScript PoHTTP client (RS-007), unmodified, over TLS.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { deliverParcel } from '@relaycorp/relaynet-pohttp';
import type { Addresses, Deployment } from '../../support/deployment.ts';
import { RESOLVER_HOST, startLoopbackResolver } from '../../support/loopback-resolver.ts';
import {
  newOfficialIdentity,
  type OfficialEndpoint,
  OfficialPrivateGateway,
  type OfficialSender,
} from '../../support/official-client.ts';
import { newTlsCertificate, type TlsCertificate } from '../../support/tls-certificate.ts';

export const poHttp = (deployment: Deployment) =>
  describe('PoHTTP by the official JavaScript client', () => {
    let gateway: Addresses & AsyncDisposable;
    let url: string;
    let receiving: OfficialPrivateGateway;
    let endpoint: OfficialEndpoint;
    let sender: OfficialSender;
    let tls: TlsCertificate;
    let resolverTls: TlsCertificate;
    let defaultAuthorities: string[];

    before(async () => {
      tls = await newTlsCertificate('localhost');
      resolverTls = await newTlsCertificate(RESOLVER_HOST);
      defaultAuthorities = getCACertificates('default');
      setDefaultCACertificates([...defaultAuthorities, tls.certificate, resolverTls.certificate]);
      gateway = await deployment.start({ tls });
      url = onLocalhost(gateway.pohttp);
      receiving = await OfficialPrivateGateway.register(onLocalhost(gateway.poweb));
      endpoint = await receiving.newEndpoint();
      sender = await endpoint.authorize(await newOfficialIdentity());
    });

    after(async () => {
      setDefaultCACertificates(defaultAuthorities);
      await gateway[Symbol.asyncDispose]();
      tls[Symbol.dispose]();
      resolverTls[Symbol.dispose]();
    });

    test('a parcel is delivered over TLS and collected over TLS, octet by octet', async () => {
      const parcel = await endpoint.writeParcel(sender, randomBytes(2000), { internetAddress: 'gateway.test' });

      const response = await deliverParcel(url, parcel);

      assert.equal(response.status, 202);
      assert.deepEqual(await receiving.collectAll(), [Buffer.from(parcel)]);
    });

    test("the client finds the gateway by its Internet address, which a resolver's SRV record leads from", async () => {
      await using resolver = await startLoopbackResolver(resolverTls, {
        target: 'localhost',
        port: Number(new URL(url).port),
      });
      const parcel = await endpoint.writeParcel(sender, randomBytes(2000), { internetAddress: 'gateway.test' });

      const response = await deliverParcel('gateway.test', parcel);

      assert.equal(response.status, 202);
      assert.deepEqual(resolver.questions, ['_awala-pdc._tcp.gateway.test']);
      assert.deepEqual(await receiving.collectAll(), [Buffer.from(parcel)]);
    });

    test('a parcel without an Internet address is for this gateway', async () => {
      const parcel = await endpoint.writeParcel(sender, randomBytes(2000));

      await deliverParcel(url, parcel);

      assert.deepEqual(await receiving.collectAll(), [Buffer.from(parcel)]);
    });

    test("a parcel for another gateway's address is refused as invalid", async () => {
      const parcel = await endpoint.writeParcel(sender, randomBytes(2000), { internetAddress: 'elsewhere.test' });

      await assert.rejects(deliverParcel(url, parcel), { name: 'PoHTTPInvalidParcelError' });

      assert.deepEqual(await receiving.collectAll(), []);
    });

    test('a parcel whose sender was not authorized is refused as invalid', async () => {
      const stranger = await newOfficialIdentity();
      const [, ...authorities] = sender.chain;
      const other = await receiving.newEndpoint();
      const { chain } = await other.authorize(stranger);
      const parcel = await endpoint.writeParcel(
        { identity: stranger, chain: [chain[0], ...authorities] },
        randomBytes(9),
      );

      await assert.rejects(deliverParcel(url, parcel), { name: 'PoHTTPInvalidParcelError' });

      assert.deepEqual(await receiving.collectAll(), []);
    });

    test('octets that are no parcel are a violation of the protocol', async () => {
      await assert.rejects(deliverParcel(url, Uint8Array.from(randomBytes(100)).buffer), {
        name: 'PoHTTPClientBindingError',
      });
    });
  });

/** The certificate is for a name, as those of real gateways are. */
function onLocalhost(url: string): string {
  return `https://localhost:${new URL(url).port}`;
}
