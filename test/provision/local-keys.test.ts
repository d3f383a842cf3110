/** A gateway of development whose keys are on its volume, with all else in a cloud that enforces the rights of its one pod. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import { needsCloud } from '../support/cloud.ts';
import { startGateway } from '../support/gateway.ts';
import { startGuardedCloud } from '../support/guarded-cloud.ts';
import { newOfficialIdentity, OfficialPrivateGateway } from '../support/official-client.ts';

suite('An environment of development with local keys', needsCloud(), () => {
  test('has a gateway that works, with rights on its bucket and its database alone', async () => {
    await using cloud = await startGuardedCloud('development', {
      ...{ keys: 'local', keyRing: undefined, administrators: undefined },
      accounts: { single: 'relay-gateway', backup: 'relay-gateway-backup' },
    });
    const environment = cloud.settingsOf('single');
    assert.deepEqual([environment['KEYS'], environment['RECORDS']], ['local', 'firestore']);
    await using gateway = await startGateway({ environment });
    const peer = await OfficialPrivateGateway.register(gateway.poweb);
    const endpoint = await peer.newEndpoint();
    const sender = await endpoint.authorize(await newOfficialIdentity());
    const parcel = await endpoint.writeParcel(sender, randomBytes(500));
    await peer.deliver(parcel);
    assert.deepEqual(await peer.collectAll(), [Buffer.from(parcel)]);

    assert.equal(cloud.kms.requests.length, 0);
    const me = cloud.principalOf('single');
    for (const [service, { denied }] of Object.entries(cloud.policies)) {
      assert.deepEqual(denied, new Map(), service);
    }
    const permissions = [...(cloud.policies['gcs']?.allowed.get(me) ?? [])];
    assert.ok(permissions.includes(`storage.objects.create on gs://${cloud.file.bucket}`), permissions.join());
    const database = `projects/${cloud.file.project}/databases/${cloud.file.database}`;
    assert.ok(cloud.policies['projects']?.allowed.get(me)?.has(`datastore.entities.create on ${database}`));
  });
});
