import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import { writeHandshakeResponse, writeNonceSignature } from '../../src/awala/poweb/collection-handshake.ts';
import { writeParcelCountersignature } from '../../src/awala/poweb/countersignature.ts';
import { ParcelCollections } from '../../src/gateway/parcel-collections.ts';
import { ParcelDelivery } from '../../src/gateway/parcel-delivery.ts';
import { MAX_REVOKED_AUTHORIZATIONS, Revocations } from '../../src/gateway/revocations.ts';
import { machineRandom } from '../../src/machine.ts';
import { type GatewayRoom, openGatewayRoom } from '../support/gateway-room.ts';
import { issued, testIdentity } from '../support/pki.ts';
import { SilentSignals } from '../support/silent-signals.ts';

const DAY = 86_400_000;
const PEER = `0${'a'.repeat(64)}`;
const ENDPOINT = `0${'b'.repeat(64)}`;

function replica({ backends, clock }: GatewayRoom, signals = backends.signals): Promise<Revocations> {
  return Revocations.open({ records: backends.records, signals, random: machineRandom, clock });
}

async function certificate(room: GatewayRoom) {
  return (await issued(await testIdentity('private-gateway'), room.asNode())).certificate;
}

describe('Revoked certificates', () => {
  test('are known in every process once revoked, also where the signal is lost', async () => {
    await using room = await openGatewayRoom();
    using here = await replica(room);
    using told = await replica(room);
    using deaf = await replica(room, new SilentSignals());
    const revoked = await certificate(room);
    const other = await certificate(room);
    await here.revokeCertificate(revoked);
    await told.refresh();
    await deaf.refresh();
    using later = await replica(room);
    for (const revocations of [here, told, deaf, later]) {
      assert.throws(() => revocations.requireUnrevoked(revoked), { code: 'CERTIFICATE_REVOKED' });
      revocations.requireUnrevoked(other);
    }
  });

  test('are told by a signal, so that nobody has to look', async () => {
    await using room = await openGatewayRoom();
    using here = await replica(room);
    using told = await replica(room);
    const revoked = await certificate(room);
    await here.revokeCertificate(revoked);
    const isRevoked = () => {
      try {
        told.requireUnrevoked(revoked);
        return false;
      } catch {
        return true;
      }
    };
    while (!isRevoked()) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  });

  test('are looked for in one record while nothing was revoked', async () => {
    await using room = await openGatewayRoom();
    using revocations = await replica(room);
    await revocations.revokeCertificate(await certificate(room));
    const { records } = room.backends;
    const list = records.list.bind(records);
    let lists = 0;
    records.list = (...parameters: Parameters<typeof list>) => {
      lists++;
      return list(...parameters);
    };
    await revocations.refresh();
    await revocations.refresh();
    assert.equal(lists, 0);
  });
});

describe('A revoked certificate', () => {
  test('is of no use at PoWeb, and its holder is told of to those that let it in', async () => {
    await using room = await openGatewayRoom();
    const { backends, clock, identity, storage } = room;
    using revocations = await replica(room);
    const node = await issued(await testIdentity('private-gateway'), room.asNode());
    const parts = { identity, storage, certificates: new CertificateCache(), clock, revocations };
    const collections = new ParcelCollections(parts);
    const delivery = new ParcelDelivery({ ...parts, meters: backends.meters });
    const nonce = machineRandom(16);
    const authenticate = async () =>
      collections.authenticate(nonce, writeHandshakeResponse([await writeNonceSignature(nonce, node)]));
    const parcel = Buffer.from('no parcel');
    const deliver = async () =>
      delivery.fromPrivateGateway(parcel, await writeParcelCountersignature(parcel, node), { trace: 'a' });
    const ended: string[] = [];
    collections.whenBlocked((peer) => ended.push(peer));

    assert.deepEqual(await authenticate(), [node.id]);
    await assert.rejects(deliver(), { code: 'RAMF_FORMAT_UNKNOWN' });
    await revocations.revokeCertificate(node.certificate);
    await assert.rejects(authenticate(), { code: 'HANDSHAKE_INVALID' });
    await assert.rejects(deliver(), { code: 'COUNTERSIGNATURE_INVALID' });
    assert.deepEqual(ended, [node.id]);
  });
});

describe('Revoked authorizations', () => {
  test('of one private gateway are bounded', async () => {
    await using room = await openGatewayRoom();
    using revocations = await replica(room);
    const expiry = room.clock.now() + DAY;
    const some = (from: number, count: number) => ({
      endpointId: ENDPOINT,
      serialNumbers: Array.from({ length: count }, (_, number) => (from + number).toString(16).padStart(8, '0')),
      expiry,
    });
    for (let from = 0; from < MAX_REVOKED_AUTHORIZATIONS; from += 1000) {
      assert.equal(await revocations.revokeAuthorizations(PEER, some(from, 1000)), true);
    }
    assert.equal(await revocations.revokeAuthorizations(PEER, some(MAX_REVOKED_AUTHORIZATIONS, 1)), false);
    // What is there already takes no more room.
    assert.equal(await revocations.revokeAuthorizations(PEER, some(0, 1000)), true);
    assert.equal(await revocations.revokeAuthorizations(`0${'c'.repeat(64)}`, some(0, 1)), true);
    room.clock.advance(DAY + 1);
    const { clock } = room;
    await revocations.revokeAuthorizations(ENDPOINT, { ...some(0, 1), expiry: clock.now() + DAY });
    assert.equal(await revocations.revokeAuthorizations(PEER, { ...some(0, 1000), expiry: clock.now() + DAY }), true);
  });

  test('are not recorded for longer than any authorization lasts', async () => {
    await using room = await openGatewayRoom();
    using revocations = await replica(room);
    await revocations.revokeAuthorizations(PEER, {
      endpointId: ENDPOINT,
      serialNumbers: [],
      expiry: room.clock.now() + 10_000 * DAY,
    });
    const count = async () =>
      (await Array.fromAsync(room.backends.records.list('revoked-authorizations', `${PEER}/`))).length;
    assert.equal(await count(), 1);
    room.clock.advance(366 * DAY);
    assert.equal(await count(), 0);
  });
});
