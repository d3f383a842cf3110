/** Cargo from official private gateways, by official couriers (RS-008), unmodified, to the whole gateway. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { CogRPCClient } from '@relaycorp/cogrpc';
import { Parcel, ParcelCollectionAck, StreamingMode } from '@relaycorp/relaynet-core';
import { CourierSetting } from '../../support/courier-setting.ts';
import type { Addresses, Deployment } from '../../support/deployment.ts';
import { startGateway } from '../../support/gateway.ts';
import { arrayBuffer } from '../../support/octets.ts';
import { OfficialChannel } from '../../support/official-channel.ts';
import {
  newOfficialIdentity,
  type OfficialEndpoint,
  OfficialPrivateGateway,
  type OfficialSender,
} from '../../support/official-client.ts';
import { collectOfficially, deliverOfficially, officialCargo } from '../../support/official-courier.ts';

export const cargoDelivery = (deployment: Deployment) =>
  describe('Cargo of official private gateways, by official couriers', () => {
    let setting: CourierSetting;
    let gateway: Addresses;
    let courier: CogRPCClient;
    let sender: OfficialPrivateGateway;
    let recipient: OfficialPrivateGateway;
    let endpoint: OfficialEndpoint;
    let authorized: OfficialSender;

    before(async () => {
      setting = await CourierSetting.open(deployment);
      ({ gateway, courier } = setting);
      sender = await OfficialPrivateGateway.register(gateway.poweb);
      recipient = await OfficialPrivateGateway.register(gateway.poweb);
      endpoint = await recipient.newEndpoint();
      authorized = await endpoint.authorize(await newOfficialIdentity());
    });

    after(() => setting?.[Symbol.asyncDispose]());

    const parcel = async (payload: string) => Buffer.from(await endpoint.writeParcel(authorized, Buffer.from(payload)));

    const cargoOf = (...messages: Buffer[]) => officialCargo(sender, messages);

    /** Collects and acknowledges so many parcels, as they come. */
    async function collect(count: number): Promise<Buffer[]> {
      const parcels: Buffer[] = [];
      for await (const collection of recipient.collect(StreamingMode.KEEP_ALIVE)) {
        parcels.push(Buffer.from(collection.parcelSerialized));
        await collection.ack();
        if (parcels.length === count) {
          break;
        }
      }
      // The one that was acknowledged last may still be on its way out; a collection that completes has seen it go.
      for (const again of await recipient.collectAll()) {
        assert.ok(parcels.some((parcel) => parcel.equals(again)));
      }
      return parcels;
    }

    test('all arrives of ten cargoes with 200 ms between them', async () => {
      const parcels = await Promise.all(Array.from({ length: 10 }, (_, number) => parcel(`slowly ${number}`)));
      const cargoes = await Promise.all(parcels.map((each) => cargoOf(each)));
      const slowly = {
        async *[Symbol.asyncIterator]() {
          for (const cargo of cargoes) {
            yield cargo;
            await delay(200);
          }
        },
      };
      assert.equal(await deliverOfficially(courier, slowly), 10);
      assertSame(await collect(10), parcels);
    });

    test('all arrives of ten cargoes at once', async () => {
      const parcels = await Promise.all(Array.from({ length: 10 }, (_, number) => parcel(`at once ${number}`)));
      assert.equal(await deliverOfficially(courier, await Promise.all(parcels.map((each) => cargoOf(each)))), 10);
      assertSame(await collect(10), parcels);
    });

    test('the largest parcel arrives', async () => {
      const largest = Buffer.from(await endpoint.writeParcelOfSize(authorized, 8_322_037));
      assert.equal(await deliverOfficially(courier, [await cargoOf(largest)]), 1);
      assertSame(await collect(1), [largest]);
    });

    test("a stranger's cargo is acknowledged, dropped, and told once", async () => {
      await using other = await startGateway();
      const stranger = await OfficialPrivateGateway.register(other.poweb);
      const forged = await officialCargo(stranger, [await parcel('stranger')], { recipient: gateway.nodeId });
      const good = await parcel('beside a stranger');
      assert.equal(await deliverOfficially(courier, [forged, await cargoOf(good)]), 2);
      assertSame(await collect(1), [good]);
      const refusals = setting.lines.filter(
        ({ msg, code }) => msg === 'Cargo refused' && code === 'CERTIFICATE_UNTRUSTED',
      );
      assert.equal(refusals.length, 1);
    });

    test('what is no message is skipped, and the rest of the cargo arrives', async () => {
      const good = await parcel('among rubbish');
      const bad = Buffer.from(await parcel('damaged'));
      bad[bad.length - 1] = (bad.at(-1) ?? 0) ^ 1;
      const cargo = await cargoOf(Buffer.from('rubbish'), bad, bad.subarray(0, 100), Buffer.alloc(0), good);
      assert.equal(await deliverOfficially(courier, [cargo]), 1);
      assertSame(await collect(1), [good]);
    });

    test('a collection acknowledgement deletes the parcel from the mailbox of its signer, and from no other', async () => {
      const waiting = await parcel('waits');
      const { id } = await Parcel.deserialize(arrayBuffer(waiting));
      const ack = Buffer.from(new ParcelCollectionAck(authorized.identity.id, endpoint.identity.id, id).serialize());
      await sender.deliver(arrayBuffer(waiting));
      await setting.deliverAndOpen(await officialCargo(sender, [ack]));
      assertSame(await recipient.collectAll(), [waiting]);

      await sender.deliver(arrayBuffer(waiting));
      // What no courier was given cannot have been collected.
      const cca = await (await OfficialChannel.of(recipient)).newCca();
      assert.equal((await collectOfficially(courier, cca)).length, 1);
      await setting.deliverAndOpen(await officialCargo(recipient, [ack]));
      assertSame(await recipient.collectAll(), []);
    });

    test('the same cargo again changes nothing', async () => {
      const once = await parcel('once');
      const cargo = await cargoOf(once);
      await setting.deliverAndOpen(cargo);
      assertSame(await recipient.collectAll(), [once]);
      await setting.deliverAndOpen(cargo);
      assertSame(await recipient.collectAll(), []);
    });

    for (const name of ['awala', 'relaynet']) {
      test(`the service is ${name}.cogrpc.CargoRelay, as its proto file says`, async () => {
        const sent = await parcel(`to ${name}`);
        const client = setting.newClient(name);
        const call = client['DeliverCargo']?.() as ClientDuplexStream<{ id: string; cargo: Buffer }, { id: string }>;
        const id = randomUUID();
        call.write({ id, cargo: await cargoOf(sent) });
        call.end();
        const acknowledged: string[] = [];
        for await (const ack of call as AsyncIterable<{ id: string }>) {
          acknowledged.push(ack.id);
        }
        assert.deepEqual(acknowledged, [id]);
        assertSame(await collect(1), [sent]);
        client.close();
      });
    }
  });

/** The same parcels, in any order: cargoes are opened side by side. */
function assertSame(actual: readonly Buffer[], expected: readonly Buffer[]): void {
  const texts = (parcels: readonly Buffer[]) => parcels.map((each) => each.toString('base64')).sort();
  assert.deepEqual(texts(actual), texts(expected));
}
