import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import { writeParcelCountersignature } from '../../src/awala/poweb/countersignature.ts';
import { LocalMeters } from '../../src/backends/local/meters.ts';
import { ParcelDelivery } from '../../src/gateway/parcel-delivery.ts';
import { PeerLimits } from '../../src/gateway/peer-limits.ts';
import { openGatewayRoom } from '../support/gateway-room.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { testChain, testParcel } from '../support/pki.ts';

suite('The limits of a private gateway', () => {
  test('are its own, for each thing apart, and whole again after a minute', async () => {
    const clock = new ManualClock();
    const limits = new PeerLimits(new LocalMeters(clock), { deliveries: 2, collections: 1 });
    await limits.take('deliveries', 'anna');
    await limits.take('deliveries', 'anna');
    await assert.rejects(limits.take('deliveries', 'anna'), { code: 'PEER_LIMITED' });
    await limits.take('collections', 'anna');
    await assert.rejects(limits.take('collections', 'anna'), { code: 'PEER_LIMITED' });
    await limits.take('deliveries', 'bert');
    clock.advance(60_000);
    await limits.take('deliveries', 'anna');
  });

  test('are none where they are 0', async () => {
    const limits = new PeerLimits(new LocalMeters(new ManualClock()), { deliveries: 0, collections: 0 });
    for (let number = 0; number < 100; number++) {
      await limits.take('deliveries', 'anna');
    }
  });

  test('hold for its deliveries, whoever the parcels are for', async () => {
    await using room = await openGatewayRoom();
    const { identity, storage, clock, backends } = room;
    const peerLimits = new PeerLimits(backends.meters, { deliveries: 1, collections: 1 });
    const certificates = new CertificateCache();
    const delivery = new ParcelDelivery({
      identity,
      storage,
      clock,
      certificates,
      meters: backends.meters,
      peerLimits,
    });
    const chain = await testChain({ gateway: room.asNode() });
    const deliver = async () => {
      const parcel = await testParcel(chain);
      await delivery.fromPrivateGateway(parcel, await writeParcelCountersignature(parcel, chain.privateGateway), {
        trace: 'test',
      });
    };
    await deliver();
    await assert.rejects(deliver(), { code: 'PEER_LIMITED' });
    clock.advance(60_000);
    await deliver();
  });
});
