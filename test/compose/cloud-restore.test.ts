/** A gateway that keeps nothing on its machine is backed up out of Firestore, and restored into another database. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ParcelCollectionAck } from '@relaycorp/relaynet-core';
import { openDatabase } from '../../src/compose/firestore.ts';
import { examineStores, recoverStores } from '../../src/compose/recovery.ts';
import { readConfig } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { machineClock } from '../../src/machine.ts';
import { type BackupAnswer, openVault, type RestoreAnswer } from '../support/backups.ts';
import { needsCloud, startCloud } from '../support/cloud.ts';
import { newProject, startFirestore } from '../support/firestore-emulator.ts';
import { FREE_PORTS, startGateway } from '../support/gateway.ts';
import { logLines } from '../support/log-lines.ts';
import { OfficialChannel } from '../support/official-channel.ts';
import { OfficialPrivateGateway, officialClient, registerOfficially } from '../support/official-client.ts';
import { collectOfficially, deliverOfficially, officialCourier } from '../support/official-courier.ts';

const PARTS = { clock: machineClock, logger: createLogger('silent', { write: () => undefined }) };

suite('A gateway on cloud backends', needsCloud(), () => {
  test('with its keys in the data directory has both backed up, and restored together', async () => {
    using vault = await openVault();
    await using firestore = await startFirestore();
    const elsewhere = { RECORDS: 'firestore', FIRESTORE_EMULATOR_HOST: firestore.host };
    const file = vault.file('last.backup');
    const directory = vault.file('data');
    const environment = { ...elsewhere, GCP_PROJECT: newProject() };
    let nodeId: string;
    let peer: OfficialPrivateGateway;
    {
      await using gateway = await startGateway({ directory, environment });
      nodeId = gateway.nodeId;
      peer = await OfficialPrivateGateway.register(gateway.poweb);
      await vault.ask(['backup', '--to', file], { ...environment, DATA_DIR: directory });
    }
    const anew = { ...elsewhere, GCP_PROJECT: newProject(), DATA_DIR: vault.file('new-data') };
    await vault.ask(['restore', '--from', file, '--recovery-key', vault.keyFile], anew);
    await using gateway = await startGateway({ directory: anew.DATA_DIR, environment: anew });
    assert.equal(gateway.nodeId, nodeId);
    assert.deepEqual(await peer.at(gateway.poweb).collectAll(), []);
  });

  test('is restored into another Firestore, and delivers what waited in the bucket meanwhile', async () => {
    using vault = await openVault();
    await using cloud = await startCloud();
    const environment = { ...cloud.environment, DATA_DIR: vault.file('backup-pod') };
    const file = vault.file('last.backup');
    let nodeId: string;
    let peer: OfficialPrivateGateway;
    let parcel: ArrayBuffer;
    let made: BackupAnswer;
    {
      await using gateway = await startGateway({ environment: { ...cloud.environment, HOUSEKEEPING_PERIOD: '1s' } });
      nodeId = gateway.nodeId;
      peer = await OfficialPrivateGateway.register(gateway.poweb);
      const endpoint = await peer.newEndpoint();
      const sender = await endpoint.authorize((await peer.newEndpoint()).identity);
      parcel = await endpoint.writeParcel(sender, randomBytes(500));
      await peer.deliver(parcel);
      made = await vault.ask<BackupAnswer>(['backup', '--to', file], environment);
      assert.equal(made.counts['private-gateways'], 1);

      // Whoever looks after the stores has a lease.
      const config = readConfig({ ...FREE_PORTS, ...environment });
      await using records = await openDatabase(config, undefined, machineClock);
      while ((await Array.fromAsync(records.list('leases'))).length === 0) {
        await delay(20);
      }
      await assert.rejects(examineStores(config, PARTS), { code: 'GATEWAY_LIVE' });
      const noted = await records.get('configuration', 'last-backup');
      assert.equal(noted?.fields['time'], Date.parse(made.time));
      assert.equal(noted?.fields['records'], made.records);
    }

    // Firestore is lost; the bucket is not, but names it.
    const anew = { ...environment, GCP_PROJECT: newProject(), DATA_DIR: vault.file('new-pod') };
    const restored = await vault.ask<RestoreAnswer>(['restore', '--from', file, '--recovery-key', vault.keyFile], anew);
    assert.equal(restored.nodeId, nodeId);
    assert.equal(restored.records + restored.leftOut, made.records);
    await assert.rejects(
      startGateway({ environment: anew }),
      /FIRESTORE_DATABASE is .* by the fleet's note in the bucket/,
    );
    cloud.gcs.bucket('messages').delete('fleet', new URLSearchParams());
    {
      await using gateway = await startGateway({ environment: anew });
      assert.equal(gateway.nodeId, nodeId);
      assert.deepEqual(await peer.at(gateway.poweb).collectAll(), [Buffer.from(parcel)]);
    }

    // With nobody at work, the stores are examined and mended, as local ones are.
    const config = readConfig({ ...FREE_PORTS, ...anew });
    await assert.rejects(recoverStores(config, PARTS), { code: 'EXAMINATION_MISSING' });
    assert.deepEqual((await examineStores(config, PARTS)).faults, []);
    assert.equal((await recoverStores(config, PARTS)).nodeId, nodeId);
    await assert.rejects(recoverStores(config, PARTS), { code: 'EXAMINATION_MISSING' });
  });

  test('drops the cargo in the bucket that is for keys younger than the backup, and takes what is brought again', async () => {
    using vault = await openVault();
    await using cloud = await startCloud();
    const environment = { ...cloud.environment, DATA_DIR: vault.file('backup-pod') };
    const file = vault.file('last.backup');
    const unopened = () => cloud.gcs.bucket('messages').list(new URLSearchParams({ prefix: 'cargo/' })).items.length;
    let earlier: OfficialChannel;
    let later: OfficialChannel;
    let ofEarlier: Buffer;
    let ofLater: Buffer;
    {
      // Without a worker cargo is taken, and not opened.
      await using gateway = await startGateway({
        environment: cloud.environment,
        services: ['poweb', 'cogrpc', 'ops'],
      });
      earlier = await OfficialChannel.register(gateway.poweb);
      ofEarlier = await parcelWithin(earlier);
      await vault.ask(['backup', '--to', file], environment);
      later = await OfficialChannel.register(gateway.poweb);
      ofLater = await parcelWithin(later);
      const courier = await officialCourier(gateway.cogrpc);
      const cargoes = [await earlier.newCargo([ofEarlier]), await later.newCargo([ofLater])];
      assert.equal(await deliverOfficially(courier, cargoes), 2);
      courier.close();
      assert.equal(unopened(), 2);
    }

    const anew = { ...environment, GCP_PROJECT: newProject(), DATA_DIR: vault.file('new-pod') };
    await vault.ask(['restore', '--from', file, '--recovery-key', vault.keyFile], anew);
    cloud.gcs.bucket('messages').delete('fleet', new URLSearchParams());
    const { lines, sink } = logLines('info');
    await using gateway = await startGateway({ environment: { ...anew, HOUSEKEEPING_PERIOD: '1s' }, log: sink });
    const allOpened = async () => {
      while (unopened() > 0) {
        await delay(20);
      }
    };
    await allOpened();
    const dropped = () => lines.filter(({ msg }) => `${msg}`.startsWith('Cargo dropped'));
    // It is told of after it was deleted.
    while (dropped().length === 0) {
      await delay(20);
    }
    assert.deepEqual(
      dropped().map(({ code, peer }) => ({ code, peer })),
      [{ code: 'SESSION_KEY_UNKNOWN', peer: later.privateGateway.identity.id }],
    );
    assert.deepEqual(await earlier.privateGateway.at(gateway.poweb).collectAll(), [ofEarlier]);
    assert.deepEqual(await later.privateGateway.at(gateway.poweb).collectAll(), []);

    // Its private gateway learns of it by courier, has no acknowledgement of the parcel, and registers again.
    const courier = await officialCourier(gateway.cogrpc);
    await assert.rejects(collectOfficially(courier, await later.newCca()), /UNAUTHENTICATED/);
    const client = officialClient(gateway.poweb);
    const { identity } = later.privateGateway;
    const again = await OfficialChannel.of(
      new OfficialPrivateGateway(client, identity, await registerOfficially(client, identity)),
    );
    const acknowledged = async () => {
      const cargoes = await collectOfficially(courier, await again.newCca());
      const items = (await Promise.all(cargoes.map((cargo) => again.open(cargo)))).flat();
      return items.filter(({ item }) => item instanceof ParcelCollectionAck).length;
    };
    assert.equal(await acknowledged(), 0);
    assert.equal(await deliverOfficially(courier, [await again.newCargo([ofLater])]), 1);
    await allOpened();
    assert.deepEqual(await again.privateGateway.collectAll(), [ofLater]);
    assert.equal(await acknowledged(), 1);
    courier.close();
  });
});

/** A parcel between two endpoints of one private gateway. */
async function parcelWithin({ privateGateway }: OfficialChannel): Promise<Buffer> {
  const endpoint = await privateGateway.newEndpoint();
  const sender = await endpoint.authorize((await privateGateway.newEndpoint()).identity);
  return Buffer.from(await endpoint.writeParcel(sender, randomBytes(500)));
}
