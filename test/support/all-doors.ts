/**
 * Traffic of a known size through all doors of one gateway, by the official clients: what watches the gateway is then
 * asked what it saw.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import type { CogRPCClient } from '@relaycorp/cogrpc';
import { issueEndpointCertificate, Parcel } from '@relaycorp/relaynet-core';
import type { Environment } from '../../src/config.ts';
import { type InProcessGateway, startGateway } from './gateway.ts';
import { OfficialChannel } from './official-channel.ts';
import { newOfficialIdentity, type OfficialEndpoint, OfficialPrivateGateway } from './official-client.ts';
import { collectOfficially, deliverOfficially, officialCargo, officialCourier } from './official-courier.ts';
import { type PoHttpReceiver, startPoHttpReceiver } from './pohttp-receiver.ts';
import { startTestResolver } from './test-resolver.ts';
import { newTlsCertificate } from './tls-certificate.ts';

const INTERNET_ADDRESS = 'node.example';
const HOST = 'pohttp.node.example';
const DAY = 86_400_000;
const POLL = 10;
/** A port where nothing listens on any machine. */
const NOBODY_LISTENS = 1;

/** How many of each kind. */
export interface Traffic {
  /** Parcels by PoWeb, for a private endpoint. */
  readonly poweb: number;
  /** Parcels by PoHTTP, for the same. */
  readonly pohttp: number;
  /** Parcels in one cargo, for the same. */
  readonly cargo: number;
  /** Parcels by PoWeb for an Internet node that takes them. */
  readonly internet: number;
  /** Parcels by PoWeb for an Internet node that is down. */
  readonly down: number;
  /** Requests by PoWeb that are no parcel. */
  readonly refused: number;
}

export interface AllDoors extends AsyncDisposable {
  readonly gateway: InProcessGateway;
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  readonly receiver: PoHttpReceiver;
  readonly sender: OfficialPrivateGateway;
  readonly recipient: OfficialChannel;
  /** Sends all of it in; resolves when the workers have done what they can. */
  send(traffic: Traffic, payload?: string): Promise<void>;
  /** Collects all that waits for the recipient. @returns how many */
  collect(): Promise<number>;
  /** Has a courier collect all that waits for the recipient. @returns how many cargoes */
  collectByCourier(): Promise<number>;
}

/** @param environment further settings of the gateway */
export async function openAllDoors(environment: Environment = {}): Promise<AllDoors> {
  await using stack = new AsyncDisposableStack();
  const tls = stack.use(await newTlsCertificate(HOST));
  const authorities = getCACertificates('default');
  setDefaultCACertificates([...authorities, tls.certificate]);
  stack.defer(() => setDefaultCACertificates(authorities));
  const receiver = stack.use(await startPoHttpReceiver(tls));
  const resolver = stack.use(await startTestResolver());
  resolver.setServices(INTERNET_ADDRESS, [{ target: HOST, port: receiver.port }]);
  resolver.setAddresses(HOST, ['127.0.0.1']);
  const lines: Record<string, unknown>[] = [];
  let nodesDown = 0;
  const gateway = stack.use(
    await startGateway({
      environment: { RESOLVER_URL: resolver.url, ALLOW_PRIVATE_DESTINATIONS: 'true', ...environment },
      log: { write: (line) => void lines.push(JSON.parse(line)) },
    }),
  );
  const courier: CogRPCClient = await officialCourier(gateway.cogrpc);
  stack.defer(() => courier.close());
  const sender = await OfficialPrivateGateway.register(gateway.poweb);
  const recipient = await OfficialChannel.register(gateway.poweb);
  const endpoint = await recipient.privateGateway.newEndpoint();
  const authorized = await endpoint.authorize(await newOfficialIdentity());
  const own = await sender.newEndpoint();
  const write = async (payload: string) => Buffer.from(await endpoint.writeParcel(authorized, Buffer.from(payload)));
  const countOf = (message: string) => lines.filter(({ msg }) => msg === message).length;
  const logged = async (message: string, count: number) => {
    while (countOf(message) < count) {
      await pause(POLL);
    }
  };

  const resources = stack.move();
  return {
    gateway,
    lines,
    receiver,
    sender,
    recipient,
    async send(traffic, payload = 'payload') {
      for (let index = 0; index < traffic.poweb; index++) {
        await sender.deliver(octetsOf(await write(payload)));
      }
      for (let index = 0; index < traffic.pohttp; index++) {
        await post(gateway.pohttp, await write(payload));
      }
      if (traffic.cargo > 0) {
        const opened = countOf('Cargo opened');
        const parcels = await Promise.all(Array.from({ length: traffic.cargo }, () => write(payload)));
        await deliverOfficially(courier, [await officialCargo(sender, parcels)]);
        await logged('Cargo opened', opened + 1);
      }
      const sent = countOf('Parcel sent');
      for (let index = 0; index < traffic.internet; index++) {
        await sender.deliver(await internetParcel(own, INTERNET_ADDRESS, payload));
      }
      await logged('Parcel sent', sent + traffic.internet);
      // A node that nobody has heard of: it rests after the first, and the others with it.
      const down = `down-${++nodesDown}.example`;
      resolver.setServices(down, [{ target: HOST, port: NOBODY_LISTENS }]);
      for (let index = 0; index < traffic.down; index++) {
        await sender.deliver(await internetParcel(own, down, payload));
        while (!lines.some(({ msg, destination }) => msg === 'Parcel not sent yet' && destination === down)) {
          await pause(POLL);
        }
      }
      for (let index = 0; index < traffic.refused; index++) {
        await sender.deliver(octetsOf(Buffer.from('no parcel'))).catch(() => undefined);
      }
    },
    async collect() {
      return (await recipient.privateGateway.collectAll()).length;
    },
    async collectByCourier() {
      return (await collectOfficially(courier, await recipient.newCca())).length;
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

async function internetParcel(
  endpoint: OfficialEndpoint,
  internetAddress: string,
  payload: string,
): Promise<ArrayBuffer> {
  const { id, publicKey, privateKey } = endpoint.identity;
  const certificate = await issueEndpointCertificate({
    issuerPrivateKey: privateKey,
    subjectPublicKey: publicKey,
    validityStartDate: new Date(Date.now() - 5_400_000),
    validityEndDate: new Date(Date.now() + 30 * DAY),
  });
  const parcel = new Parcel({ id, internetAddress }, certificate, Buffer.from(payload), { ttl: 3600 });
  return parcel.serialize(privateKey);
}

async function post(url: string, parcel: Buffer): Promise<void> {
  const headers = { 'content-type': 'application/vnd.awala.parcel' };
  const { status } = await fetch(url, { method: 'POST', headers, body: new Uint8Array(parcel) });
  if (status !== 202) {
    throw new Error(`PoHTTP answered ${status}`);
  }
}

function octetsOf(buffer: Buffer): ArrayBuffer {
  return Uint8Array.from(buffer).buffer;
}
