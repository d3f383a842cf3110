/**
 * The ping of RS-014 by the official JavaScript libraries, unmodified: a private endpoint pings an Internet endpoint
 * through the gateway, and gets its pong back through it.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { Certificate, issueEndpointCertificate, Parcel, type Recipient } from '@relaycorp/relaynet-core';
import { deliverParcel } from '@relaycorp/relaynet-pohttp';
import type { Addresses, Deployment, Internet } from '../../support/deployment.ts';
import {
  newOfficialIdentity,
  type OfficialEndpoint,
  type OfficialIdentity,
  OfficialPrivateGateway,
} from '../../support/official-client.ts';
import { type PoHttpReceiver, startPoHttpReceiver } from '../../support/pohttp-receiver.ts';
import { newTlsCertificate, type TlsCertificate } from '../../support/tls-certificate.ts';

const ADDRESS = 'ping.example';
/** The host of the endpoint. */
export const PING_HOST = 'pohttp.ping.example';
const DAY = 86_400_000;

/** As RS-014 has it: what the answer is to be authorized by. */
interface Ping {
  readonly id: string;
  readonly pda: string;
  readonly pda_chain: readonly string[];
}

export const internetPing = (deployment: Deployment) =>
  describe('A ping to an Internet endpoint', () => {
    let internet: Internet;
    let gatewayTls: TlsCertificate;
    let defaultAuthorities: string[];
    let receiver: PoHttpReceiver;
    let gateway: Addresses & AsyncDisposable;
    let pinger: OfficialPrivateGateway;
    let endpoint: OfficialEndpoint;
    /** Emits the id of each parcel that the gateway has sent. */
    const sent = new EventEmitter();
    let internetEndpoint: OfficialIdentity;

    before(async () => {
      internet = await deployment.internet(PING_HOST);
      const { tls, resolver } = internet;
      gatewayTls = await newTlsCertificate('localhost');
      defaultAuthorities = getCACertificates('default');
      setDefaultCACertificates([...defaultAuthorities, tls.certificate, gatewayTls.certificate]);
      receiver = await startPoHttpReceiver(tls);
      resolver.setServices(ADDRESS, [{ target: PING_HOST, port: receiver.port }]);
      resolver.setAddresses(PING_HOST, ['127.0.0.1']);
      gateway = await deployment.start({
        onLine({ msg, parcel }) {
          if (msg === 'Parcel sent') {
            sent.emit(`${parcel}`);
          }
        },
        internet,
        tls: gatewayTls,
      });
      pinger = await OfficialPrivateGateway.register(onLocalhost(gateway.poweb));
      endpoint = await pinger.newEndpoint();
      internetEndpoint = await newOfficialIdentity();
    });

    after(async () => {
      setDefaultCACertificates(defaultAuthorities);
      await gateway[Symbol.asyncDispose]();
      await receiver[Symbol.asyncDispose]();
      await internet[Symbol.asyncDispose]();
      gatewayTls[Symbol.dispose]();
    });

    /** A ping from the private endpoint, serialized. */
    async function writePing(): Promise<{ id: string; parcel: ArrayBuffer }> {
      const { chain } = await endpoint.authorize(internetEndpoint);
      const [pda, ...authorities] = await Promise.all(
        chain.map(async (certificate) => Buffer.from(certificate.serialize()).toString('base64')),
      );
      const ping: Ping = { id: randomUUID(), pda: pda ?? '', pda_chain: authorities };
      const sender = await issueEndpointCertificate({
        issuerPrivateKey: endpoint.identity.privateKey,
        subjectPublicKey: endpoint.identity.publicKey,
        validityStartDate: new Date(Date.now() - 5_400_000),
        validityEndDate: new Date(Date.now() + 30 * DAY),
      });
      const recipient: Recipient = { id: internetEndpoint.id, internetAddress: ADDRESS };
      const parcel = new Parcel(recipient, sender, Buffer.from(JSON.stringify(ping)), { ttl: 3600 });
      return { id: ping.id, parcel: await parcel.serialize(endpoint.identity.privateKey) };
    }

    /** What the Internet endpoint makes of a ping: its pong, sent by the official client. */
    async function answerPing(body: Buffer): Promise<void> {
      const parcel = await Parcel.deserialize(Uint8Array.from(body).buffer);
      await parcel.validate();
      assert.deepEqual(parcel.recipient, { id: internetEndpoint.id, internetAddress: ADDRESS });
      const ping = JSON.parse(Buffer.from(parcel.payloadSerialized).toString()) as Ping;
      const read = (base64: string) => Certificate.deserialize(Uint8Array.from(Buffer.from(base64, 'base64')).buffer);
      const pong = new Parcel(
        { id: await parcel.senderCertificate.calculateSubjectId(), internetAddress: 'gateway.test' },
        read(ping.pda),
        Buffer.from(ping.id),
        { ttl: 3600, senderCaCertificateChain: ping.pda_chain.map(read) },
      );
      await deliverParcel(onLocalhost(gateway.pohttp), await pong.serialize(internetEndpoint.privateKey));
    }

    async function collectPong(): Promise<string> {
      const [body, ...others] = await pinger.collectAll();
      assert.equal(others.length, 0);
      assert.ok(body);
      const pong = await Parcel.deserialize(Uint8Array.from(body).buffer);
      return Buffer.from(pong.payloadSerialized).toString();
    }

    test('reaches it by its SRV record and HTTPS, and the pong comes back', async () => {
      const { id, parcel } = await writePing();
      const arrival = receiver.next();
      await pinger.deliver(parcel);
      const { body, headers, serverName } = await arrival;
      assert.deepEqual(body, Buffer.from(parcel));
      assert.equal(headers['host'], `${PING_HOST}:${receiver.port}`);
      assert.equal(serverName, PING_HOST);
      await answerPing(body);
      assert.equal(await collectPong(), id);
    });

    test('that comes to the gateway a second time, as by a courier, goes out once', async () => {
      const { parcel } = await writePing();
      const other = await writePing();
      const wasSent = once(sent, (await Parcel.deserialize(parcel)).id);
      await pinger.deliver(parcel);
      await wasSent;
      const nextArrival = receiver.next();
      await pinger.deliver(parcel);
      await pinger.deliver(other.parcel);
      assert.deepEqual((await nextArrival).body, Buffer.from(other.parcel));
      assert.equal(receiver.posts.filter(({ body }) => body.equals(Buffer.from(parcel))).length, 1);
    });
  });

/** The certificate is for a name, as those of real gateways are. */
function onLocalhost(url: string): string {
  return `https://localhost:${new URL(url).port}`;
}
