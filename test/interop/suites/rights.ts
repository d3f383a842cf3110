/**
 * The rights that `relay-gateway provision` gives each component, once a whole gateway has worked with them and no others:
 * they suffice, and what one does not use is refused it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FirestoreAdminClient, FirestoreClient } from '@google-cloud/firestore-api';
import { KeyManagementServiceClient } from '@google-cloud/kms';
import { Storage } from '@google-cloud/storage';
import { openDatabase } from '../../../src/compose/firestore.ts';
import { readConfig } from '../../../src/config.ts';
import { machineClock } from '../../../src/machine.ts';
import { COMPONENTS, type Component } from '../../../src/provision/environment.ts';
import { grpcPlace } from '../../../src/provision/places.ts';
import { databaseName, ringName } from '../../../src/provision/wants.ts';
import { openVault } from '../../support/backups.ts';
import type { CloudDeployment } from '../../support/cloud-deployment.ts';
import { runRelayGateway } from '../../support/relay-gateway.ts';

const PERMISSION_DENIED = 7;
const FORBIDDEN = 403;

const SIGNING: readonly Component[] = ['poweb', 'cogrpc', 'worker', 'firstCertificate'];

/** Whether a call is done; one that fails for another reason than a missing right fails the test. */
async function isDone(call: () => Promise<unknown>): Promise<boolean> {
  try {
    await call();
    return true;
  } catch (error) {
    const { code } = error as { code?: unknown };
    assert.ok(code === PERMISSION_DENIED || code === FORBIDDEN, `${error}`);
    return false;
  }
}

export const rights = (deployment: () => CloudDeployment) =>
  describe('The rights of the components of a gateway that has done all of this', () => {
    /** By component: the permissions that it has used, without the resources. */
    const used = () => {
      const { policies, principalOf } = deployment().cloud;
      return new Map(
        COMPONENTS.map((component) => {
          const uses = Object.values(policies).flatMap(({ allowed }) => [
            ...(allowed.get(principalOf(component)) ?? []),
          ]);
          return [component, new Set(uses.map((use) => use.split(' on ')[0] ?? ''))] as const;
        }),
      );
    };
    const whoUsed = (permission: string) =>
      [...used()].filter(([, permissions]) => permissions.has(permission)).map(([component]) => component);

    test('sufficed: nobody was refused anything', () => {
      for (const [service, { denied }] of Object.entries(deployment().cloud.policies)) {
        assert.deepEqual(denied, new Map(), service);
      }
    });

    test('were used by those who have them', () => {
      assert.deepEqual(whoUsed('cloudkms.cryptoKeyVersions.useToSign'), ['poweb', 'cogrpc', 'firstCertificate']);
      const wrapping = [
        ...whoUsed('cloudkms.cryptoKeyVersions.useToEncrypt'),
        ...whoUsed('cloudkms.cryptoKeyVersions.useToDecrypt'),
      ];
      assert.deepEqual(new Set(wrapping), new Set(SIGNING));
      const serving = COMPONENTS.filter((component) => !['ops', 'firstCertificate', 'backup'].includes(component));
      for (const permission of ['datastore.entities.get', 'storage.objects.list']) {
        assert.deepEqual(
          serving.filter((component) => !whoUsed(permission).includes(component)),
          [],
          permission,
        );
      }
    });

    for (const component of COMPONENTS) {
      test(`refuse ${component} what it does not use`, async () => {
        const { cloud } = deployment();
        const { KMS_ENDPOINT, STORAGE_EMULATOR_HOST, FIRESTORE_EMULATOR_HOST } = cloud.settingsOf(component);
        const records = grpcPlace(`http://${FIRESTORE_EMULATOR_HOST}`);
        await using stack = new AsyncDisposableStack();
        const closing = <Client extends { close(): Promise<void> }>(client: Client) =>
          stack.adopt(client, (each) => each.close());
        const kms = closing(new KeyManagementServiceClient(grpcPlace(KMS_ENDPOINT)));
        const firestore = closing(new FirestoreClient(records));
        const admin = closing(new FirestoreAdminClient(records));
        const storage = new Storage({ apiEndpoint: `${STORAGE_EMULATOR_HOST}`, projectId: cloud.file.project });
        const bucket = storage.bucket(cloud.file.bucket);
        const once = { retry: null };

        const ring = ringName(cloud.file);
        const identity = `${ring}/cryptoKeys/identity`;
        const wrapping = `${ring}/cryptoKeys/session-keys`;
        const version = `${identity}/cryptoKeyVersions/1`;
        const digest = { sha256: Buffer.alloc(32, 7) };
        const database = databaseName(cloud.file);
        const write = (place: string, id: string) => {
          const update = { name: `${place}/documents/configuration/${id}`, fields: {} };
          return firestore.commit({ database: place, writes: [{ update }] }, once);
        };

        const runsGateway = component !== 'backup';
        const signs = SIGNING.includes(component);
        const outcomes = {
          sign: await isDone(() => kms.asymmetricSign({ name: version, digest }, once)),
          wrap: await isDone(() => kms.encrypt({ name: wrapping, plaintext: Buffer.from('secret') }, once)),
          readPublicKey: await isDone(() => kms.getPublicKey({ name: version }, once)),
          makeKeyVersion: await isDone(() => kms.createCryptoKeyVersion({ parent: identity }, once)),
          destroyKeyVersion: await isDone(() => kms.destroyCryptoKeyVersion({ name: version }, once)),
          listMessages: await isDone(() => bucket.getFiles({ maxResults: 1, autoPaginate: false })),
          changeBucket: await isDone(() => bucket.setMetadata({ versioning: { enabled: true } })),
          otherBucket: await isDone(() => storage.bucket('of-somebody-else').getFiles({ autoPaginate: false })),
          writeRecords: await isDone(() => write(database, 'from-the-test')),
          otherDatabase: await isDone(() => write(`${database}-of-another`, 'from-the-test')),
          removeDatabase: await isDone(() => admin.deleteDatabase({ name: database }, once)),
        };
        assert.deepEqual(outcomes, {
          sign: signs,
          wrap: signs,
          readPublicKey: runsGateway,
          makeKeyVersion: false,
          destroyKeyVersion: false,
          listMessages: runsGateway,
          changeBucket: false,
          otherBucket: false,
          writeRecords: true,
          otherDatabase: false,
          removeDatabase: false,
        });
      });
    }

    test('of an auditor and of a stranger are none on records', async () => {
      const { cloud } = deployment();
      const auditor = 'user:auditor@example.com';
      const until = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
      const given = ['provision', '--file', cloud.provisioned.file, '--auditor', auditor, '--until', until];
      const { code, stderr } = await runRelayGateway(given);
      assert.equal(code, 0, stderr);
      await using stack = new AsyncDisposableStack();
      const kms = stack.use(new DisposableKms(cloud.kms.endpoint)).client;
      const records = grpcPlace(`http://${cloud.provisioned.documents}`);
      const firestore = stack.adopt(new FirestoreClient(records), (each) => each.close());
      const key = `${ringName(cloud.file)}/cryptoKeys/identity`;
      const database = databaseName(cloud.file);
      const outcomes = async (principal: string) => {
        const options = { otherArgs: { headers: { authorization: `Bearer ${principal}` } }, retry: null };
        const documents = [`${database}/documents/configuration/fleet`];
        return {
          seeKey: await isDone(() => kms.getCryptoKey({ name: key }, options)),
          readRecords: await isDone(() =>
            Array.fromAsync(firestore.batchGetDocuments({ database, documents }, options) as AsyncIterable<unknown>),
          ),
        };
      };
      assert.deepEqual(await outcomes(auditor), { seeKey: true, readRecords: false });
      assert.deepEqual(await outcomes('user:eve@example.com'), { seeKey: false, readRecords: false });
      assert.deepEqual(await outcomes(cloud.principalOf('ops')), { seeKey: true, readRecords: true });
    });

    test('suffice the Job of backups, which notes when the last one was', async () => {
      using vault = await openVault();
      const { cloud, runAs } = deployment();
      const file = vault.file('last.backup');
      const environment = { RECOVERY_PUBLIC_KEY: vault.key.publicHalf };
      const { code, stdout, stderr } = await runAs('backup', ['backup', '--to', file, '--json'], environment);
      assert.equal(code, 0, stderr);
      await using records = await openDatabase(readConfig(cloud.settingsOf('backup')), undefined, machineClock);
      const noted = await records.get('configuration', 'last-backup');
      assert.equal(noted?.fields['records'], JSON.parse(stdout).records, stderr);
    });

    test('let the Job of the next certificate make one, and a service take a key that an administrator made', async () => {
      const { cloud, runAs } = deployment();
      const forced = await runAs('worker', ['rotate-certificate', '--force', '--json']);
      assert.equal(forced.code, 0, forced.stderr);
      assert.equal(JSON.parse(forced.stdout).isRotated, true);

      const alone = await runAs('worker', ['rotate-key']);
      assert.equal(alone.code, 1);
      assert.match(alone.stderr, /cryptoKeyVersions\.create/);
      await using kms = new DisposableKms(cloud.kms.endpoint);
      const parent = `${ringName(cloud.file)}/cryptoKeys/identity`;
      const [administrator] = cloud.file.administrators;
      const headers = { authorization: `Bearer ${administrator}` };
      await kms.client.createCryptoKeyVersion(
        { parent, cryptoKeyVersion: {} },
        { otherArgs: { headers }, retry: null },
      );
      const rotated = await runAs('worker', ['rotate-key', '--json']);
      assert.equal(rotated.code, 0, rotated.stderr);
      const { isRotated, keys } = JSON.parse(rotated.stdout);
      assert.equal(isRotated, true);
      assert.equal(keys.length, 2);
    });
  });

class DisposableKms implements AsyncDisposable {
  readonly client: KeyManagementServiceClient;

  constructor(endpoint: string) {
    this.client = new KeyManagementServiceClient(grpcPlace(endpoint));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }
}
