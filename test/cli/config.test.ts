/** The configuration: read once, checked whole. */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { suite, test } from 'node:test';
import { ConfigError, type Environment, effectiveValues, readConfig } from '../../src/config.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';
import { newTlsCertificate } from '../support/tls-certificate.ts';

function faults(environment: Environment): readonly string[] {
  try {
    readConfig(environment);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.faults;
  }
  return [];
}

suite('Configuration', () => {
  test('of an empty environment is the contract', () => {
    const config = readConfig({});
    assert.equal(config.internetAddress, 'gateway.test');
    assert.deepEqual(config.services, ['poweb', 'collection', 'pohttp', 'cogrpc', 'worker', 'ops']);
    assert.equal(config.bindHost, '127.0.0.1');
    assert.equal(config.opsBindHost, '127.0.0.1');
    assert.deepEqual(
      [config.powebPort, config.pohttpPort, config.cogrpcPort, config.opsPort],
      [8080, 8081, 8082, 8090],
    );
    assert.equal(config.dataDirectory, 'data');
    assert.equal(config.logLevel, 'info');
    assert.equal(config.tlsCertificateFile, undefined);
    assert.deepEqual(config.trustedProxies, []);
    assert.equal(config.allowPrivateDestinations, false);
    assert.equal(config.bodiesInFlight, 256 * 1024 * 1024);
  });

  test('takes what the environment sets, and an empty variable for none', () => {
    const config = readConfig({
      INTERNET_ADDRESS: 'Relay.Example.com',
      SERVICES: 'poweb, worker,collection, ops,poweb',
      POWEB_PORT: '0',
      OPS_PORT: '',
      TRUSTED_PROXIES: '10.0.0.0/8, fd00::/8,192.0.2.1',
      COLLECTION_MAX_AGE: '90m',
      BODIES_IN_FLIGHT: '1GiB',
    });
    assert.equal(config.internetAddress, 'relay.example.com');
    assert.deepEqual(config.services, ['poweb', 'worker', 'collection', 'ops']);
    assert.equal(config.powebPort, 0);
    assert.equal(config.opsPort, 8090);
    assert.deepEqual(config.trustedProxies, ['10.0.0.0/8', 'fd00::/8', '192.0.2.1']);
    assert.equal(config.collectionMaxAge, 90 * 60 * 1000);
    assert.equal(config.bodiesInFlight, 1024 ** 3);
  });

  test('tells every fault in one report', () => {
    const report = faults({
      INTERNET_ADDRESS: 'localhost',
      SERVICES: 'poweb,mail',
      POWEB_PORT: '65536',
      TRUSTED_PROXIES: '10.0.0.0/33',
      LOG_LEVEL: 'loud',
      TLS_CERT_FILE: '/nowhere/certificate.pem',
    });
    assert.equal(report.length, 7);
    for (const [index, variable] of [
      'INTERNET_ADDRESS',
      'SERVICES',
      'POWEB_PORT',
      'TRUSTED_PROXIES',
      'LOG_LEVEL',
      'TLS_CERT_FILE and TLS_KEY_FILE',
      'TLS_CERT_FILE cannot be read',
    ].entries()) {
      assert.ok(report[index]?.startsWith(variable), `${report[index]} tells of ${variable}`);
    }
  });

  const refused: [variable: string, value: string, fault: RegExp][] = [
    ['INTERNET_ADDRESS', 'localhost', /clients refuse localhost/],
    ['INTERNET_ADDRESS', 'relay.localhost', /clients refuse localhost/],
    ['INTERNET_ADDRESS', '192.0.2.1', /IP address/],
    ['INTERNET_ADDRESS', '2001:db8::1', /IP address|without a port/],
    ['INTERNET_ADDRESS', 'example.com:443', /without a port/],
    ['INTERNET_ADDRESS', 'https://example.com', /domain name/],
    ['INTERNET_ADDRESS', 'example', /domain name/],
    ['INTERNET_ADDRESS', 'example.com.', /domain name/],
    ['INTERNET_ADDRESS', 'a_b.example.com', /domain name/],
    ['INTERNET_ADDRESS', `${'a'.repeat(64)}.com`, /domain name/],
    ['SERVICES', ',', /at least one/],
    ['POHTTP_PORT', '-1', /whole number/],
    ['POHTTP_PORT', '80.5', /whole number/],
    ['POHTTP_PORT', 'http', /whole number/],
    ['POHTTP_PORT', '8080', /POWEB_PORT must differ/],
    ['OBJECT_STORE', 'gcs', /GCS_BUCKET must be set where OBJECT_STORE is gcs/],
    ['OBJECT_STORE', 's3', /must be one of local, gcs/],
    ['GCS_BUCKET', 'gs://messages', /must be the name of a bucket/],
    ['GCS_MAX_AGE', '181d', /from 1d to 180d/],
    ['RECORDS', 'firestore', /GCP_PROJECT must be set where RECORDS is firestore/],
    ['RECORDS', 'datastore', /must be one of local, firestore/],
    ['GCP_PROJECT', 'Relay', /must be the id of a project/],
    ['FIRESTORE_DATABASE', 'db', /must be \(default\) or the id of a database/],
    ['FIRESTORE_EMULATOR_HOST', 'http://127.0.0.1:8080', /must be HOST:PORT/],
    ['FIRESTORE_EMULATOR_HOST', '127.0.0.1', /must be HOST:PORT/],
    ['KEYS', 'gcp-kms', /KMS_KEY_RING must be set where KEYS is gcp-kms/],
    ['KEYS', 'vault', /must be one of local, gcp-kms/],
    ['KMS_KEY_RING', 'ring', /must be like projects/],
    ['KMS_IDENTITY_KEY', 'rings/key', /must be the name of a key/],
    ['KMS_ENDPOINT', 'localhost:9000', /must be a URL such as/],
    ['KMS_ENDPOINT', 'http://localhost:9000/v1', /without a path/],
    ['SIGNALS', 'redis', /REDIS_URL must be set/],
    ['SIGNALS', 'nats', /must be one of local, redis/],
    ['REDIS_URL', 'localhost:6379', /must be a URL such as/],
    ['REDIS_URL', 'redis://a,b', /several hosts/],
    ['REDIS_URL', 'redis://host/one', /number of a database/],
    ['REDIS_URL', 'redis://host:port', /HOST:PORT/],
    ['REDIS_URL', 'redis+sentinel://host', /must name the primary/],
    ['REDIS_URL', 'redis+cluster://host/1', /a cluster has one only/],
    ['RESOLVER_URL', 'cloudflare', /URL/],
    ['ALLOW_PRIVATE_DESTINATIONS', 'yes', /true or false/],
    ['TRUSTED_PROXIES', '10.0.0.0/8,proxy', /ranges/],
    ['BODIES_IN_FLIGHT', '12', /at least/],
    ['BODIES_IN_FLIGHT', 'much', /size/],
    ['COLLECTION_MAX_AGE', '1s', /from 10s/],
    ['GRACE_PERIOD', '25', /such as 25s/],
    ['DATA_DIR', `/tmp/${'d'.repeat(100)}`, /too long a path/],
  ];
  for (const [variable, value, fault] of refused) {
    test(`refuses ${variable}=${value}`, () => {
      const report = faults({ [variable]: value });
      assert.equal(report.length, 1);
      assert.match(report[0] as string, fault);
      assert.ok(report[0]?.includes(variable));
    });
  }

  test('takes a TLS certificate with its key, and neither without the other', async () => {
    using pair = await newTlsCertificate('relay.example.com');
    using other = await newTlsCertificate('relay.example.com');
    const { certificateFile, keyFile } = pair;
    assert.deepEqual(faults({ TLS_CERT_FILE: certificateFile, TLS_KEY_FILE: keyFile }), []);
    for (const [environment, fault] of [
      [{ TLS_CERT_FILE: certificateFile }, /both or neither/],
      [{ TLS_CERT_FILE: certificateFile, TLS_KEY_FILE: other.keyFile }, /a certificate and its key/],
      [{ TLS_CERT_FILE: certificateFile, TLS_KEY_FILE: certificateFile }, /and its key, in PEM/],
      [{ TLS_CERT_FILE: certificateFile, TLS_KEY_FILE: tmpdir() }, /^TLS_KEY_FILE cannot be read/],
    ] as const) {
      assert.equal(faults(environment).length, 1);
      assert.match(faults(environment)[0] as string, fault);
    }
  });

  test('reads where Redis is, and never shows its password', () => {
    const read = (url: string) => readConfig({ SIGNALS: 'redis', REDIS_URL: url }).redisUrl;
    const plain = { tls: false, username: undefined, password: undefined, database: 0, primary: undefined };
    assert.deepEqual(read('redis://host'), { ...plain, kind: 'server', hosts: [{ host: 'host', port: 6379 }] });
    assert.deepEqual(read('rediss://me:p%40ss@[::1]:7000/3'), {
      ...plain,
      kind: 'server',
      hosts: [{ host: '::1', port: 7000 }],
      tls: true,
      username: 'me',
      password: 'p@ss',
      database: 3,
    });
    const hosts = [
      { host: 'a', port: 1 },
      { host: 'b', port: 26_379 },
    ];
    assert.deepEqual(read('redis+sentinel://:secret@a:1,b/main'), {
      ...plain,
      kind: 'sentinel',
      hosts,
      password: 'secret',
      primary: 'main',
    });
    assert.equal(read('rediss+cluster://a:1,b:2')?.kind, 'cluster');
    assert.deepEqual(
      effectiveValues({ REDIS_URL: 'redis://:secret@host' }).find(({ variable }) => variable === 'REDIS_URL'),
      { variable: 'REDIS_URL', value: 'set', origin: 'environment' },
    );
    assert.ok(!faults({ REDIS_URL: 'redis://:secret@host/x/y' }).join().includes('secret'));
  });

  test('tells where each value came from', () => {
    const values = effectiveValues({ LOG_LEVEL: 'debug', UNKNOWN: 'x' });
    assert.deepEqual(
      values.find(({ variable }) => variable === 'LOG_LEVEL'),
      { variable: 'LOG_LEVEL', value: 'debug', origin: 'environment' },
    );
    assert.deepEqual(
      values.find(({ variable }) => variable === 'DATA_DIR'),
      { variable: 'DATA_DIR', value: './data', origin: 'default' },
    );
    assert.ok(!values.some(({ variable }) => variable === 'UNKNOWN'));
  });

  test('that splits services is refused while something is kept locally; a door may be left out', () => {
    for (const services of ['poweb', 'collection', 'worker', 'ops', 'poweb,collection,pohttp,cogrpc,ops']) {
      const [fault, ...others] = faults({ SERVICES: services });
      assert.match(fault ?? '', /^SERVICES must have poweb, collection, worker in one process .*OBJECT_STORE, RECORDS/);
      assert.deepEqual(others, []);
    }
    const shared = { OBJECT_STORE: 'gcs', GCS_BUCKET: 'messages', SIGNALS: 'redis', REDIS_URL: 'redis://127.0.0.1' };
    assert.match(faults({ ...shared, SERVICES: 'poweb' }).join(), /^SERVICES must .*\(RECORDS, KEYS\)/);
    assert.deepEqual(faults({ SERVICES: 'poweb,collection,worker' }), []);
    assert.deepEqual(faults({ ...shared, SERVICES: 'poweb,collection,worker,cogrpc' }), []);
  });

  test('that is fine on one machine must not be on a network: the default address, or no limits for everybody', () => {
    const named = { BIND_HOST: '0.0.0.0', INTERNET_ADDRESS: 'relay.example.com' };
    assert.deepEqual(faults(named), []);
    assert.match(faults({ BIND_HOST: '0.0.0.0' }).join(), /^INTERNET_ADDRESS must be set/);
    for (const host of ['127.0.0.1', '127.9.9.9', '::1', 'localhost', '::ffff:127.0.0.1']) {
      assert.deepEqual(faults({ BIND_HOST: host, REQUESTS_PER_ADDRESS: '0' }), [], host);
    }
    assert.doesNotMatch(faults({ BIND_HOST: '::', SERVICES: 'ops' }).join(), /INTERNET_ADDRESS must/);
    const limits = [
      'REGISTRATIONS_PER_ADDRESS',
      'REQUESTS_PER_ADDRESS',
      'HANDSHAKES_PER_ADDRESS',
      'SOCKETS_PER_ADDRESS',
      'SIGNATURES_PER_SECOND',
      'DELIVERIES_PER_PEER',
      'COLLECTIONS_PER_PEER',
      'OPEN_COLLECTIONS_PER_PEER',
      'COURIER_CALLS_PER_ADDRESS',
      'COURIER_CONNECTIONS_PER_ADDRESS',
    ];
    for (const limit of limits) {
      assert.match(faults({ ...named, [limit]: '0' }).join(), new RegExp(`^${limit} must not be 0`));
      assert.deepEqual(faults({ ...named, [limit]: '0', REGISTRATION_POLICY: 'allowlist' }), []);
    }
  });

  test('for tests must not be on a network: parcels for private addresses', async () => {
    const tests = { ALLOW_PRIVATE_DESTINATIONS: 'true', INTERNET_ADDRESS: 'relay.example.com' };
    assert.deepEqual(faults(tests), []);
    const shared = { OBJECT_STORE: 'gcs', GCS_BUCKET: 'messages', SIGNALS: 'redis', REDIS_URL: 'redis://127.0.0.1' };
    const ring = 'projects/relay-gateway-1234/locations/europe-west1/keyRings/relay';
    const split = {
      ...shared,
      KMS_KEY_RING: ring,
      RECORDS: 'firestore',
      GCP_PROJECT: 'relay-gateway-1234',
      KEYS: 'gcp-kms',
    };
    for (const others of [{}, { REGISTRATION_POLICY: 'closed' }, { ...split, SERVICES: 'worker' }]) {
      for (const host of ['0.0.0.0', '::', '192.0.2.1']) {
        const [fault, ...rest] = faults({ ...tests, ...others, BIND_HOST: host });
        assert.match(fault ?? '', /^ALLOW_PRIVATE_DESTINATIONS must be false where BIND_HOST is public/);
        assert.deepEqual(rest, []);
      }
    }
    const started = await runRelayGateway(['serve'], { ...tests, BIND_HOST: '0.0.0.0' });
    assert.equal(started.code, 2);
    assert.match(started.stderr, /ALLOW_PRIVATE_DESTINATIONS must be false/);
  });
});
