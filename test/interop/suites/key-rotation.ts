/** A new identity key, while official private gateways, unmodified, go on under the old one. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import {
  Cargo,
  CertificateRotation,
  getIdFromIdentityKey,
  NodeConnectionParams,
  Parcel,
  ParcelCollectionAck,
  PrivateNodeRegistration,
} from '@relaycorp/relaynet-core';
import type { KeyRotated } from '../../../src/services/control/identity-orders.ts';
import type { IdentityReport } from '../../../src/services/control/identity-report.ts';
import { CourierSetting } from '../../support/courier-setting.ts';
import type { Addresses, StartOptions } from '../../support/deployment.ts';
import { arrayBuffer } from '../../support/octets.ts';
import { OfficialChannel } from '../../support/official-channel.ts';
import {
  newOfficialIdentity,
  OfficialPrivateGateway,
  type OfficialSender,
  registerOfficially,
} from '../../support/official-client.ts';
import { collectOfficially } from '../../support/official-courier.ts';
import type { CommandOutcome } from '../../support/relay-gateway.ts';

/** A gateway that has a new key since somebody registered. */
export interface RotatedGateway extends Addresses, AsyncDisposable {
  /** Runs a command of the operator on it. */
  run(parameters: readonly string[]): Promise<CommandOutcome>;
}

/**
 * Starts a gateway, has `meet` register at its PoWeb, rotates its key by command, and resolves when the new one issues. What it
 * gives may be other processes on the same stores.
 */
export type StartRotated = (
  options: Pick<StartOptions, 'onLine'>,
  meet: (poweb: string) => Promise<void>,
) => Promise<RotatedGateway>;

/** Registers the tests, within a suite. */
export function keyRotation(start: StartRotated): void {
  suite('After a new identity key', () => {
    let setting: CourierSetting;
    let gateway: RotatedGateway;
    /** Who registered before, by PoWeb and with its channel. */
    let peer: OfficialPrivateGateway;
    let registered: OfficialChannel;
    /** Made before, too: it authorizes the old key. */
    let cca: Buffer;
    let old: string;
    let current: string;

    before(async () => {
      const meet = async (poweb: string) => {
        registered = await OfficialChannel.register(poweb);
        cca = await registered.newCca();
      };
      setting = await CourierSetting.open({
        async start(options) {
          gateway = await start(options ?? {}, meet);
          return gateway;
        },
      });
      peer = registered.privateGateway.at(gateway.poweb);
      old = await peer.registration.gatewayCertificate.calculateSubjectId();
      const response = await fetch(`${gateway.poweb}/connection-params.der`);
      const params = await NodeConnectionParams.deserialize(await response.arrayBuffer());
      current = await getIdFromIdentityKey(params.identityKey);
    });

    after(() => setting?.[Symbol.asyncDispose]());

    /** An endpoint of this private gateway with somebody who may send to it. */
    async function newPair(peer: OfficialPrivateGateway) {
      const endpoint = await peer.newEndpoint();
      const sender = await endpoint.authorize(await newOfficialIdentity());
      return { endpoint, sender, write: (text: string) => write(endpoint, sender, text) };
    }

    async function write(
      endpoint: Awaited<ReturnType<OfficialPrivateGateway['newEndpoint']>>,
      sender: OfficialSender,
      text: string,
    ): Promise<Buffer> {
      return Buffer.from(await endpoint.writeParcel(sender, Buffer.from(text)));
    }

    /** What cargo brings, all of which is signed under the old key. */
    const collectCargo = async (cca: Buffer) => {
      const cargoes = await collectOfficially(setting.courier, cca);
      assert.ok(cargoes.length > 0);
      for (const cargo of cargoes) {
        const { senderCertificate } = await Cargo.deserialize(arrayBuffer(cargo));
        assert.equal(await senderCertificate.calculateSubjectId(), old);
      }
      return (await Promise.all(cargoes.map((cargo) => registered.open(cargo)))).flat();
    };

    test('the gateway issues under the new one, and says so', async () => {
      const { code, stdout, stderr } = await gateway.run(['identity', '--json']);
      assert.equal(code, 0, stderr);
      const { keys } = JSON.parse(stdout) as IdentityReport;
      assert.deepEqual(
        keys.map(({ nodeId, state }) => [nodeId, state]),
        [
          [old, 'served'],
          [current, 'issues'],
        ],
      );
      assert.notEqual(current, old);
    });

    test('who registered before delivers and collects by PoWeb as ever', async () => {
      const { write: newParcel } = await newPair(peer);
      const parcel = await newParcel('by PoWeb');
      await peer.deliver(arrayBuffer(parcel));
      assert.deepEqual(await peer.collectAll(), [parcel]);
    });

    test('its cargo, addressed to the old key, is taken; what it collects by courier is signed under the old key, and brings the new chain', async () => {
      const { endpoint, sender, write: newParcel } = await newPair(peer);
      const parcel = await newParcel('by courier');
      await setting.deliverAndOpen(await registered.newCargo([parcel]));
      const items = await collectCargo(cca);
      const acks = items.map(({ item }) => item).filter((item) => item instanceof ParcelCollectionAck);
      assert.equal(acks.length, 1);
      const parcels = items.filter(({ item }) => item instanceof Parcel).map(({ bytes }) => bytes);
      assert.deepEqual(parcels, [parcel]);
      const rotation = items.map(({ item }) => item).find((item) => item instanceof CertificateRotation);
      assert.ok(rotation);
      const { leafCertificate, certificateAuthorities } = rotation.certificationPath;
      const [authority] = certificateAuthorities;
      assert.ok(authority);
      assert.equal(await authority.calculateSubjectId(), current);
      assert.equal(await leafCertificate.calculateSubjectId(), peer.identity.id);
      await leafCertificate.getCertificationPath([], [authority]);

      // So it is by an authorization of cargo that it makes now: the key is the one that it knows.
      await collectCargo(await registered.newCca());

      // It goes on by that certificate: new endpoints under the new key, old ones under the old.
      const { sessionKey } = peer.registration;
      const registration = new PrivateNodeRegistration(leafCertificate, authority, gateway.internetAddress, sessionKey);
      const renewed = new OfficialPrivateGateway(peer.client, peer.identity, registration);
      const others = await newPair(renewed);
      const wanted = [await others.write('new chain'), await write(endpoint, sender, 'old chain')];
      for (const one of wanted) {
        await renewed.deliver(arrayBuffer(one));
      }
      const collected = await renewed.collectAll();
      assert.deepEqual(collected, [parcel, ...wanted]);
    });

    test('who registers anew is served under both', async () => {
      const earlier = await newPair(peer);
      const again = new OfficialPrivateGateway(
        peer.client,
        peer.identity,
        await registerOfficially(peer.client, peer.identity),
      );
      assert.equal(await again.registration.gatewayCertificate.calculateSubjectId(), current);
      const later = await newPair(again);
      const parcels = [await earlier.write('to the old'), await later.write('to the new')];
      // Each is brought by the other's certificate.
      await again.deliver(arrayBuffer(parcels[0] as Buffer));
      await peer.deliver(arrayBuffer(parcels[1] as Buffer));
      assert.deepEqual(await again.collectAll(), parcels);
    });

    test('who registers first afterwards gets parcels from who registered before, and the other way round', async () => {
      const one = peer;
      const other = await OfficialPrivateGateway.register(gateway.poweb);
      assert.equal(await other.registration.gatewayCertificate.calculateSubjectId(), current);
      for (const [from, to] of [
        [one, other],
        [other, one],
      ] as const) {
        const parcel = await (await newPair(to)).write('hello');
        await from.deliver(arrayBuffer(parcel));
        assert.deepEqual(await to.collectAll(), [parcel]);
      }
    });

    test('the same command within a day makes no further key', async () => {
      const { code, stdout, stderr } = await gateway.run(['rotate-key', '--json']);
      assert.equal(code, 0, stderr);
      const { isRotated, keys } = JSON.parse(stdout) as KeyRotated;
      assert.equal(isRotated, false);
      assert.deepEqual(
        keys.map(({ nodeId }) => nodeId),
        [old, current],
      );
    });
  });
}
