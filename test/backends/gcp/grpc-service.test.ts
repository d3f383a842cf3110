/** How a service of Google's is called that is not an emulator: over TLS, in the name of the environment's account. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { suite, test } from 'node:test';
import { promisify } from 'node:util';
import protos from '@google-cloud/kms/build/protos/protos.js';
import { type Metadata, Server, ServerCredentials } from '@grpc/grpc-js';
import { projectRoot } from '../../support/gateway.ts';
import { newTlsCertificate } from '../../support/tls-certificate.ts';

const { CryptoKey, GetCryptoKeyRequest } = protos.google.cloud.kms.v1;

const KEY = 'projects/p/locations/l/keyRings/r/cryptoKeys/k';
const ACCOUNT = 'gateway@p.iam.gserviceaccount.com';

interface Place extends AsyncDisposable {
  readonly endpoint: string;
  /** PEM of who vouches for it. */
  readonly certificateFile: string;
  /** Of each call. */
  readonly headers: Metadata[];
}

/** Cloud KMS that has one key. */
async function startPlace(): Promise<Place> {
  const tls = await newTlsCertificate('localhost');
  const headers: Metadata[] = [];
  const server = new Server();
  server.register(
    '/google.cloud.kms.v1.KeyManagementService/GetCryptoKey',
    (
      { metadata, request }: { metadata: Metadata; request: { name: string } },
      callback: (...answer: never[]) => void,
    ) => {
      headers.push(metadata);
      const answer = { name: request.name, purpose: 'ASYMMETRIC_SIGN', labels: { bucket: 'b' } };
      callback(...([null, answer] as unknown as never[]));
    },
    (answer: object) => CryptoKey.encode(CryptoKey.fromObject(answer)).finish() as Buffer,
    (octets) => GetCryptoKeyRequest.decode(octets),
    'unary',
  );
  const pair = { cert_chain: readFileSync(tls.certificateFile), private_key: readFileSync(tls.keyFile) };
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('localhost:0', ServerCredentials.createSsl(null, [pair]), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  return {
    endpoint: `https://localhost:${port}`,
    certificateFile: tls.certificateFile,
    headers,
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
      tls[Symbol.dispose]();
    },
  };
}

/** What a process with this environment says of the key, looking it up twice. */
async function lookUp(endpoint: string, environment: NodeJS.ProcessEnv): Promise<unknown> {
  const script = `
    import { KmsClient } from './src/backends/gcp/kms/kms-client.ts';
    await using kms = new KmsClient({ endpoint: '${endpoint}', bounds: { attempt: 20_000, total: 20_000 } });
    await kms.key('${KEY}');
    console.log(JSON.stringify(await kms.key('${KEY}')));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: projectRoot,
    env: environment,
  });
  return JSON.parse(stdout);
}

suite('A service of the cloud', () => {
  test("is called over TLS, by a token that a key file's account has signed itself, and told how to route the call", async () => {
    await using place = await startPlace();
    const directory = mkdtempSync(path.join(tmpdir(), 'credentials-'));
    try {
      const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      const file = path.join(directory, 'account.json');
      const pem = privateKey.export({ format: 'pem', type: 'pkcs8' });
      const account = { type: 'service_account', client_email: ACCOUNT, private_key: pem, private_key_id: 'first' };
      writeFileSync(file, JSON.stringify({ ...account, quota_project_id: 'payer' }));
      const environment = {
        GOOGLE_APPLICATION_CREDENTIALS: file,
        GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: place.certificateFile,
      };
      assert.deepEqual(await lookUp(place.endpoint, environment), {
        purpose: 'ASYMMETRIC_SIGN',
        labels: { bucket: 'b' },
      });
      assert.equal(place.headers.length, 2);
      for (const headers of place.headers) {
        assert.deepEqual(headers.get('x-goog-request-params'), [`name=${encodeURIComponent(KEY)}`]);
        assert.deepEqual(headers.get('x-goog-user-project'), ['payer']);
        const claims = claimsOf(String(headers.get('authorization')[0]), publicKey);
        assert.equal(claims['iss'], ACCOUNT);
        assert.equal(claims['scope'], 'https://www.googleapis.com/auth/cloud-platform');
        assert.equal(claims['aud'], undefined);
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('is not called where no credentials are found', async () => {
    await using place = await startPlace();
    await assert.rejects(lookUp(place.endpoint, { GOOGLE_APPLICATION_CREDENTIALS: '/no/such/file' }), /no\/such\/file/);
    assert.equal(place.headers.length, 0);
  });
});

/** @throws AssertionError where the key has not signed it */
function claimsOf(authorization: string, key: KeyObject): Record<string, unknown> {
  const [, header = '', claims = '', signature = ''] = /^Bearer (.+)\.(.+)\.(.+)$/.exec(authorization) ?? [];
  assert.ok(verify('sha256', Buffer.from(`${header}.${claims}`), key, Buffer.from(signature, 'base64url')));
  return JSON.parse(Buffer.from(claims, 'base64url').toString('utf8'));
}
