/** A new identity key, while official private gateways, unmodified, go on under the old one. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { CogRPCClient } from '@relaycorp/cogrpc';
import {
  Cargo,
  CertificateRotation,
  getIdFromIdentityKey,
  NodeConnectionParams,
  Parcel,
  ParcelCollectionAck,
  PrivateNodeRegistration,
} from '@relaycorp/relaynet-core';
import type { KeyRotated } from '../../src/services/control/identity-orders.ts';
import { type InProcessGateway, startGateway } from '../support/gateway.ts';
import { arrayBuffer } from '../support/octets.ts';
import { OfficialChannel } from '../support/official-channel.ts';
import {
  newOfficialIdentity,
  OfficialPrivateGateway,
  type OfficialSender,
  registerOfficially,
} from '../support/official-client.ts';
import { collectOfficially, deliverOfficially, officialCourier } from '../support/official-courier.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

describe('After a new identity key', () => {
  const { promise: opened, resolve: onOpened } = Promise.withResolvers<void>();
  const log = {
    write(line: string) {
      if (line.includes('"Cargo opened"')) {
        onOpened();
      }
    },
  };
  let gateway: InProcessGateway;
  let courier: CogRPCClient;
  let registered: OfficialChannel;
  let old: string;
  let current: string;
  let rotated: KeyRotated;

  before(async () => {
    gateway = await startGateway({ log });
    courier = await officialCourier(gateway.cogrpc);
    registered = await OfficialChannel.register(gateway.poweb);
    old = gateway.gateway.identity.id;
    const { code, stdout, stderr } = await runRelayGateway(['rotate-key', '--json'], { DATA_DIR: gateway.directory });
    assert.equal(code, 0, stderr);
    rotated = JSON.parse(stdout);
    current = gateway.gateway.identity.id;
  });

  after(async () => {
    courier?.close();
    await gateway?.[Symbol.asyncDispose]();
  });

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

  const collectCargo = async () => {
    const cargoes = await collectOfficially(courier, await registered.newCca());
    assert.ok(cargoes.length > 0);
    for (const cargo of cargoes) {
      const { senderCertificate } = await Cargo.deserialize(arrayBuffer(cargo));
      assert.equal(await senderCertificate.calculateSubjectId(), old);
    }
    return (await Promise.all(cargoes.map((cargo) => registered.open(cargo)))).flat();
  };

  test('the gateway issues under the new one, and says so', async () => {
    assert.deepEqual(
      rotated.keys.map(({ nodeId, state }) => [nodeId, state]),
      [
        [old, 'served'],
        [current, 'issues'],
      ],
    );
    assert.notEqual(current, old);
    const response = await fetch(`${gateway.poweb}/connection-params.der`);
    const params = await NodeConnectionParams.deserialize(await response.arrayBuffer());
    assert.equal(await getIdFromIdentityKey(params.identityKey), current);
  });

  test('who registered before delivers and collects by PoWeb as ever', async () => {
    const peer = registered.privateGateway;
    const { write: newParcel } = await newPair(peer);
    const parcel = await newParcel('by PoWeb');
    await peer.deliver(arrayBuffer(parcel));
    assert.deepEqual(await peer.collectAll(), [parcel]);
  });

  test('its cargo, addressed to the old key, is taken; what it collects by courier is signed under the old key, and brings the new chain', async () => {
    const peer = registered.privateGateway;
    const { endpoint, sender, write: newParcel } = await newPair(peer);
    const parcel = await newParcel('by courier');
    assert.equal(await deliverOfficially(courier, [await registered.newCargo([parcel])]), 1);
    await opened;
    const items = await collectCargo();
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

    // It goes on by that certificate: new endpoints under the new key, old ones under the old.
    const address = gateway.internetAddress;
    const { sessionKey } = peer.registration;
    const registration = new PrivateNodeRegistration(leafCertificate, authority, address, sessionKey);
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
    const peer = registered.privateGateway;
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
    const one = registered.privateGateway;
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
    const { code, stdout } = await runRelayGateway(['rotate-key'], { DATA_DIR: gateway.directory });
    assert.equal(code, 0);
    assert.match(stdout, /No new key/);
    assert.equal(gateway.gateway.identity.id, current);
  });
});
