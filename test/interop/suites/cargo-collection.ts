/** Cargo for official private gateways, by official couriers (RS-008), unmodified, from the whole gateway. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { type ClientDuplexStream, Metadata, status } from '@grpc/grpc-js';
import type { CogRPCClient } from '@relaycorp/cogrpc';
import { Parcel, ParcelCollectionAck } from '@relaycorp/relaynet-core';
import { readEnvelopedData } from '../../../src/awala/cms/enveloped-data.ts';
import { CertificateCache } from '../../../src/awala/pki/certificate-cache.ts';
import { RamfType, readRamfMessage } from '../../../src/awala/ramf/ramf-message.ts';
import { CARGO_RELAY_NAMES } from '../../../src/services/cogrpc/cargo-relay.ts';
import { CourierSetting } from '../../support/courier-setting.ts';
import type { Addresses, Deployment } from '../../support/deployment.ts';
import { startGateway } from '../../support/gateway.ts';
import { arrayBuffer } from '../../support/octets.ts';
import { OfficialChannel, type OfficialItem } from '../../support/official-channel.ts';
import {
  newOfficialIdentity,
  type OfficialEndpoint,
  OfficialPrivateGateway,
  type OfficialSender,
} from '../../support/official-client.ts';
import { collectOfficially, officialCourier } from '../../support/official-courier.ts';
import { callRawly } from '../../support/raw-grpc.ts';

export const cargoCollection = (deployment: Deployment) =>
  describe('Cargo for official private gateways, by official couriers', () => {
    let setting: CourierSetting;
    let gateway: Addresses;
    let courier: CogRPCClient;
    let recipient: OfficialChannel;
    let endpoint: OfficialEndpoint;
    let authorized: OfficialSender;

    before(async () => {
      setting = await CourierSetting.open(deployment);
      ({ gateway, courier } = setting);
      recipient = await OfficialChannel.register(gateway.poweb);
      endpoint = await recipient.privateGateway.newEndpoint();
      authorized = await endpoint.authorize(await newOfficialIdentity());
    });

    after(() => setting?.[Symbol.asyncDispose]());

    const newParcel = async (payload: string | Buffer) =>
      Buffer.from(await endpoint.writeParcel(authorized, Buffer.from(payload)));

    const send = (parcel: Buffer) => recipient.privateGateway.deliver(arrayBuffer(parcel));

    /** Has a courier take all cargo home, and opens it there. */
    async function collect(cca: Buffer): Promise<OfficialItem[]> {
      // It is opened afterwards: the courier's call lasts for 3 s at most.
      const items: OfficialItem[] = [];
      for (const cargo of await collectOfficially(courier, cca)) {
        const known = items.map(({ bytes }) => bytes.toString('base64'));
        items.push(...(await recipient.open(cargo)).filter(({ bytes }) => !known.includes(bytes.toString('base64'))));
      }
      return items;
    }

    const ackOf = (parcel: Parcel) =>
      Buffer.from(new ParcelCollectionAck(authorized.identity.id, parcel.recipient.id, parcel.id).serialize());

    /** Has a courier deliver cargo, and waits until it was opened. */
    const deliver = async (messages: readonly Buffer[]) => setting.deliverAndOpen(await recipient.newCargo(messages));

    test('parcels come home by courier, oldest first, and stay until they are acknowledged', async () => {
      const parcels = await Promise.all(['first', 'second', 'third'].map(newParcel));
      for (const parcel of parcels) {
        await send(parcel);
      }
      for (let round = 0; round < 2; round++) {
        const items = await collect(await recipient.newCca());
        assert.deepEqual(
          items.map(({ bytes }) => bytes.toString('hex')),
          parcels.map((parcel) => parcel.toString('hex')),
        );
      }
      const items = await collect(await recipient.newCca());
      await deliver(items.map(({ item }) => ackOf(item as Parcel)));
      assert.deepEqual(await collect(await recipient.newCca()), []);
    });

    test('a ping goes out in a cargo and comes back in one, with the acknowledgement of the first', async () => {
      const ping = await newParcel('ping');
      await deliver([ping]);
      const cca = await recipient.newCca();
      const items = await collect(cca);
      assert.equal(items.length, 2);
      const [ack, pinged] = items as [OfficialItem, OfficialItem];
      assert.ok(ack.item instanceof ParcelCollectionAck);
      assert.ok(pinged.bytes.equals(ping));
      assert.equal(ack.item.parcelId, (pinged.item as Parcel).id);
      // Repeated until it expires, since couriers lose cargo.
      await deliver([ackOf(pinged.item as Parcel)]);
      const [repeated, ...rest] = await collect(await recipient.newCca());
      assert.ok(repeated?.bytes.equals(ack.bytes));
      assert.equal(rest.length, 0);
    });

    test('more than fits into one cargo comes in several', async () => {
      const parcels: Buffer[] = [];
      for (let index = 0; index < 20; index++) {
        const parcel = await newParcel(randomBytes(100_000 + index));
        parcels.push(parcel);
        await send(parcel);
      }
      const larger = Buffer.from(await endpoint.writeParcelOfSize(authorized, 8_322_037));
      await send(larger);
      const items = (await collect(await recipient.newCca())).filter(({ item }) => item instanceof Parcel);
      assert.deepEqual(
        items.map(({ bytes }) => bytes.length),
        [...parcels, larger].map(({ length }) => length),
      );
      await deliver(items.map(({ item }) => ackOf(item as Parcel)));
    });

    test('a CCA that was spent is refused without a grpc-message header, not even an empty one', async () => {
      const cca = await recipient.newCca();
      await collect(cca);
      await assert.rejects(collect(cca), /PERMISSION_DENIED/);
      for (const [index, name] of CARGO_RELAY_NAMES.entries()) {
        const scheme = index === 0 ? 'Awala-CCA' : 'relaynet-cca';
        const answer = await callRawly(gateway.cogrpc, `/${name}/CollectCargo`, {
          authorization: `${scheme} ${cca.toString('base64')}`,
        });
        const all = { ...answer.headers, ...answer.trailers };
        assert.equal(all['grpc-status'], String(status.PERMISSION_DENIED));
        assert.ok(!('grpc-message' in all), JSON.stringify(all));
      }
    });

    test('other refusals say why', async () => {
      const refused = async (authorization: string | undefined) => {
        const answer = await callRawly(
          gateway.cogrpc,
          '/relaynet.cogrpc.CargoRelay/CollectCargo',
          authorization === undefined ? {} : { authorization },
        );
        const all = { ...answer.headers, ...answer.trailers };
        assert.ok(all['grpc-message']);
        return Number(all['grpc-status']);
      };
      const header = (cca: Buffer) => `Relaynet-CCA ${cca.toString('base64')}`;
      assert.equal(await refused(undefined), status.UNAUTHENTICATED);
      assert.equal(await refused('Relaynet-CCA'), status.UNAUTHENTICATED);
      assert.equal(await refused('Relaynet-CCA !'), status.UNAUTHENTICATED);
      assert.equal(await refused('Basic abcd'), status.UNAUTHENTICATED);
      assert.equal(await refused(header(Buffer.from('no CCA'))), status.UNAUTHENTICATED);
      const forged = await recipient.newCca();
      forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
      assert.equal(await refused(header(forged)), status.UNAUTHENTICATED);
      await using other = await startGateway();
      const stranger = await OfficialChannel.register(other.poweb);
      assert.equal(await refused(header(await stranger.newCca())), status.INVALID_ARGUMENT);
    });

    for (const name of ['awala', 'relaynet']) {
      test(`the service is ${name}.cogrpc.CargoRelay, as its proto file says`, async () => {
        const parcel = await newParcel(name);
        await send(parcel);
        const client = setting.newClient(name);
        const metadata = new Metadata();
        metadata.set('authorization', `Awala-CCA ${(await recipient.newCca()).toString('base64')}`);
        const call = client['CollectCargo']?.(metadata) as ClientDuplexStream<
          { id: string },
          { id: string; cargo: Buffer }
        >;
        const items: OfficialItem[] = [];
        for await (const { id, cargo } of call as AsyncIterable<{ id: string; cargo: Buffer }>) {
          assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
          items.push(...(await recipient.open(cargo)));
          call.write({ id });
        }
        assert.ok(items.some(({ bytes }) => bytes.equals(parcel)));
        client.close();
      });
    }

    test('no parcel of another private gateway is in the cargo', async () => {
      const other = await OfficialPrivateGateway.register(gateway.poweb);
      const others = await other.newEndpoint();
      const sender = await others.authorize(await newOfficialIdentity());
      await other.deliver(await others.writeParcel(sender, Buffer.from('not yours')));
      const items = await collect(await recipient.newCca());
      assert.ok(items.every(({ item }) => !(item instanceof Parcel) || item.recipient.id === endpoint.identity.id));
    });

    for (const cipher of ['aes-192-cbc', 'aes-256-cbc']) {
      test(`an official private gateway reads cargo encrypted by ${cipher}, where an operator wants that`, async () => {
        await using gateway = await deployment.start({ cargoCipher: cipher });
        const recipient = await OfficialChannel.register(gateway.poweb);
        const endpoint = await recipient.privateGateway.newEndpoint();
        const parcel = await endpoint.writeParcel(
          await endpoint.authorize(await newOfficialIdentity()),
          Buffer.from('x'),
        );
        await recipient.privateGateway.deliver(parcel);
        const courier = await officialCourier(gateway.cogrpc);
        const [cargo] = await collectOfficially(courier, await recipient.newCca());
        courier.close();
        const { payload } = readRamfMessage(RamfType.CARGO, cargo as Buffer, new CertificateCache());
        assert.equal(readEnvelopedData(payload).cipher, cipher);
        const [item] = await recipient.open(cargo as Buffer);
        assert.ok(item?.bytes.equals(Buffer.from(parcel)));
      });
    }
  });
