/** Who may do what in a provisioned environment: shown by refusals of emulators that enforce policies. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { suite, test } from 'node:test';
import { KeyManagementServiceClient } from '@google-cloud/kms';
import { Storage } from '@google-cloud/storage';
import { OAuth2Client } from 'google-auth-library';
import { Cloud } from '../../src/provision/cloud.ts';
import { COMPONENTS, type Component, type Environment, readEnvironment } from '../../src/provision/environment.ts';
import { grpcPlace } from '../../src/provision/places.ts';
import { isAsWanted, planOf } from '../../src/provision/plan.ts';
import { type Auditor, ringName, wantsOf } from '../../src/provision/wants.ts';
import { type EmptyCloud, startEmptyCloud } from '../support/provisioned.ts';

/** They wrap, too. */
const SIGNING: readonly Component[] = ['poweb', 'cogrpc', 'worker', 'firstCertificate'];
const ADMINISTRATOR = 'group:gateway-keys@example.org';
const DIGEST = { sha256: Buffer.alloc(32, 7) };
const PERMISSION_DENIED = 7;

/** Makes all that is missing, in this process. @returns what the second plan has still to make */
async function provision(environment: Environment, auditor?: Auditor): Promise<boolean> {
  const wants = wantsOf(environment, auditor);
  await using cloud = new Cloud(environment);
  await cloud.make(planOf(wants, await cloud.find(wants)), Date.now(), () => undefined);
  return isAsWanted(planOf(wants, await cloud.find(wants)));
}

async function provisioned(): Promise<EmptyCloud & { readonly environment: Environment }> {
  const cloud = await startEmptyCloud('staging');
  const environment = readEnvironment(cloud.file, await readFile(cloud.file, 'utf8'));
  assert.ok(await provision(environment));
  return { ...cloud, environment };
}

function principalOf({ projectNumber, project, namespace, accounts }: Environment, component: Component): string {
  const pool = `projects/${projectNumber}/locations/global/workloadIdentityPools/${project}.svc.id.goog`;
  return `principal://iam.googleapis.com/${pool}/subject/ns/${namespace}/sa/${accounts[component]}`;
}

/** Calls of Cloud KMS in somebody's name, by the vendor's client: each true where it was done, false where it was denied. */
function kmsAs(client: KeyManagementServiceClient, principal: string, ring: string) {
  const options = { otherArgs: { headers: { authorization: `Bearer ${principal}` } }, retry: null };
  const allowed = async (call: Promise<unknown>) => {
    try {
      await call;
      return true;
    } catch (error) {
      assert.equal((error as { code?: unknown }).code, PERMISSION_DENIED, String(error));
      return false;
    }
  };
  const identity = `${ring}/cryptoKeys/identity`;
  const wrapping = `${ring}/cryptoKeys/session-keys`;
  const name = `${identity}/cryptoKeyVersions/1`;
  return {
    look: () => allowed(client.getCryptoKey({ name: identity }, options)),
    readPublicKey: () => allowed(client.getPublicKey({ name }, options)),
    sign: () => allowed(client.asymmetricSign({ name, digest: DIGEST }, options)),
    encrypt: () => allowed(client.encrypt({ name: wrapping, plaintext: Buffer.from('secret') }, options)),
    createVersion: () => allowed(client.createCryptoKeyVersion({ parent: identity, cryptoKeyVersion: {} }, options)),
    createKey: () =>
      allowed(
        client.createCryptoKey(
          { parent: ring, cryptoKeyId: 'further', cryptoKey: { purpose: 'ENCRYPT_DECRYPT' } },
          options,
        ),
      ),
  };
}

function storageAs(url: string, principal: string): Storage {
  const authClient = new OAuth2Client();
  authClient.setCredentials({ access_token: principal });
  return new Storage({
    apiEndpoint: url,
    projectId: 'relay-gateway-staging',
    authClient,
    useAuthWithCustomEndpoint: true,
  });
}

async function codeOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => 'done',
    (error) => (error as { code?: unknown }).code,
  );
}

suite('The rights of a provisioned environment', () => {
  test('let whoever runs the gateway read public keys, those sign that need to, and nobody make a key', async () => {
    await using cloud = await provisioned();
    const { environment, kms } = cloud;
    await using client = new DisposableClient(kms.endpoint);
    for (const component of COMPONENTS) {
      const as = kmsAs(client.kms, principalOf(environment, component), ringName(environment));
      assert.deepEqual(
        [await as.look(), await as.readPublicKey(), await as.sign(), await as.createVersion(), await as.createKey()],
        [component !== 'backup', component !== 'backup', SIGNING.includes(component), false, false],
        component,
      );
    }
  });

  test('let only those wrap that have session keys', async () => {
    await using cloud = await provisioned();
    const { environment, kms } = cloud;
    await using client = new DisposableClient(kms.endpoint);
    const wrapping: Component[] = [];
    for (const component of COMPONENTS) {
      if (await kmsAs(client.kms, principalOf(environment, component), ringName(environment)).encrypt()) {
        wrapping.push(component);
      }
    }
    assert.deepEqual(wrapping, SIGNING);
  });

  test('let an administrator make keys and versions, and not sign, nor decrypt', async () => {
    await using cloud = await provisioned();
    await using client = new DisposableClient(cloud.kms.endpoint);
    const as = kmsAs(client.kms, ADMINISTRATOR, ringName(cloud.environment));
    assert.deepEqual(
      [await as.look(), await as.createVersion(), await as.createKey(), await as.sign(), await as.encrypt()],
      [true, true, true, false, false],
    );
  });

  test('reach no key of another environment, and nobody else reaches these', async () => {
    await using cloud = await provisioned();
    const { environment, kms } = cloud;
    const other = ringName({ ...environment, keyRing: 'of-another' });
    kms.createKey(`${other}/cryptoKeys/identity`, 'ASYMMETRIC_SIGN', 'RSA_SIGN_PSS_2048_SHA256');
    await kms.store.version(`${other}/cryptoKeys/identity/cryptoKeyVersions/1`).generated;
    await using client = new DisposableClient(kms.endpoint);
    assert.equal(await kmsAs(client.kms, principalOf(environment, 'worker'), other).sign(), false);
    const stranger = kmsAs(client.kms, 'user:eve@example.com', ringName(environment));
    assert.deepEqual([await stranger.look(), await stranger.sign()], [false, false]);
  });

  test('let services use objects of their bucket, and no other bucket, nor the rights on it', async () => {
    await using cloud = await provisioned();
    const { environment, gcs } = cloud;
    const storage = storageAs(gcs.url, principalOf(environment, 'cogrpc'));
    const bucket = storage.bucket(environment.bucket);
    await bucket.file('cargo/1').save('octets', { resumable: false });
    assert.equal((await bucket.file('cargo/1').download())[0].toString(), 'octets');
    assert.equal(await codeOf(bucket.iam.getPolicy()), 403);
    assert.equal(await codeOf(bucket.setMetadata({ versioning: { enabled: true } })), 403);
    assert.equal(await codeOf(storage.bucket('of-somebody-else').file('a').download()), 403);
    const backup = storageAs(gcs.url, principalOf(environment, 'backup'));
    assert.equal(await codeOf(backup.bucket(environment.bucket).file('cargo/1').download()), 403);
    const administrator = storageAs(gcs.url, ADMINISTRATOR);
    assert.equal(await codeOf(administrator.bucket(environment.bucket).file('cargo/1').download()), 403);
  });

  test('let an auditor look at keys until the date, and sign never', async () => {
    await using cloud = await provisioned();
    const { environment, kms } = cloud;
    const until = Date.now() + 86_400_000;
    assert.ok(await provision(environment, { principal: 'user:auditor@example.com', until }));
    await using client = new DisposableClient(kms.endpoint);
    const as = kmsAs(client.kms, 'user:auditor@example.com', ringName(environment));
    assert.deepEqual([await as.look(), await as.readPublicKey(), await as.sign()], [true, true, false]);
    kms.admin.policies.now = () => until + 1000;
    assert.deepEqual([await as.look(), await as.readPublicKey()], [false, false]);
  });

  test('are added to a policy that somebody else changes at the same time, whose change stays', async () => {
    await using cloud = await startEmptyCloud('staging');
    const environment = readEnvironment(cloud.file, await readFile(cloud.file, 'utf8'));
    const { policies } = cloud.resourceManager;
    const resource = `projects/${environment.project}`;
    const theirs = { role: 'roles/browser', members: ['user:colleague@example.com'] };
    cloud.resourceManager.before = (method) => {
      if (method === 'setIamPolicy') {
        cloud.resourceManager.before = () => undefined;
        policies.set(resource, { version: 1, etag: '', bindings: [theirs] });
      }
    };
    assert.ok(await provision(environment));
    assert.deepEqual(
      policies.get(resource).bindings.map(({ role }) => role),
      ['roles/browser', 'roles/datastore.user'],
    );
  });
});

/** The vendor's client of Cloud KMS. */
class DisposableClient implements AsyncDisposable {
  readonly kms: KeyManagementServiceClient;

  constructor(endpoint: string) {
    this.kms = new KeyManagementServiceClient(grpcPlace(endpoint));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kms.close();
  }
}
