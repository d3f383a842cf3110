/** The file of an environment, and what it says to the chart. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { suite, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parse, stringify } from 'yaml';
import { ENVIRONMENT_NAMES, EnvironmentError, readEnvironment } from '../../src/provision/environment.ts';
import { helmfileValues } from '../../src/provision/values-file.ts';
import { wantsOf } from '../../src/provision/wants.ts';
import { podsOf } from '../charts/manifest-properties.ts';
import { schemaFaults } from '../charts/manifest-schemas.ts';
import { projectRoot } from '../support/gateway.ts';
import { render } from '../support/helm.ts';

const example = (name: string) => readFileSync(path.join(projectRoot, 'environments', `${name}.yaml`), 'utf8');

function faultsOf(text: string, expectedName?: string): readonly string[] {
  try {
    readEnvironment('it.yaml', text, expectedName);
  } catch (error) {
    assert.ok(error instanceof EnvironmentError);
    return error.faults;
  }
  return [];
}

suite('The file of an environment', () => {
  for (const name of ENVIRONMENT_NAMES) {
    test(`of ${name}, as it is committed, can be used, and its values suit the chart`, () => {
      const environment = readEnvironment(`${name}.yaml`, example(name), name);
      assert.equal(environment.name, name);
      const schema = JSON.parse(
        readFileSync(path.join(projectRoot, 'charts/relay-gateway/values.schema.json'), 'utf8'),
      );
      const suits = new Ajv2020({ strict: false }).compile(schema);
      const chart = parse(readFileSync(path.join(projectRoot, 'charts/relay-gateway/values.yaml'), 'utf8'));
      const { gateway } = parse(helmfileValues(environment));
      assert.ok(suits({ ...chart, ...gateway }), JSON.stringify(suits.errors));
      assert.equal(suits({ ...chart, ...gateway, mode: 'none' }), false);
    });
  }

  test('of development may keep its keys on the volume of one pod', async () => {
    const { keyRing, keys, administrators, accounts, ...rest } = parse(example('development'));
    const local = { ...rest, keys: 'local', accounts: { single: 'relay-gateway', backup: 'relay-gateway-backup' } };
    const environment = readEnvironment('it.yaml', stringify(local));
    const wants = wantsOf(environment, { principal: 'user:auditor@example.org', until: Date.now() });
    assert.doesNotMatch(JSON.stringify(wants), /keyRings|cloudkms/);
    assert.deepEqual(
      wants.flatMap((want) =>
        want.kind === 'binding' ? want.members.map((member) => member.split('/sa/').at(-1)) : [],
      ),
      ['relay-gateway', 'relay-gateway', 'relay-gateway-backup', 'user:auditor@example.org'],
    );
    const { redis, gateway } = parse(helmfileValues(environment));
    assert.equal(redis.enabled, false);
    const manifests = await render({ values: gateway });
    assert.deepEqual(schemaFaults(manifests), []);
    const pods = podsOf(manifests).filter(({ isService }) => isService);
    assert.deepEqual(
      pods.map(({ owner }) => owner.kind),
      ['StatefulSet'],
    );
    const settings = manifests.find(({ kind }) => kind === 'ConfigMap') as unknown as { data: Record<string, string> };
    assert.equal(settings.data['KEYS'], 'local');
    assert.equal(settings.data['GCS_BUCKET'], environment.bucket);

    // Nowhere else, and not half.
    assert.ok(faultsOf(stringify({ ...local, name: 'staging' })).includes('keys may be local in development only'));
    assert.deepEqual(faultsOf(stringify({ ...local, keyRing, accounts })), [
      'accounts.single must be there',
      'keyRing is no field',
      ...Object.keys(accounts)
        .filter((name) => name !== 'backup')
        .map((name) => `accounts.${name} is no field`),
    ]);
    assert.ok(keys.length > 0 && administrators.length > 0);
  });

  test('of staging asks for the same as that of production', () => {
    const generic = (name: string) =>
      example(name)
        .replaceAll(/^#.*\n/gm, '')
        .replaceAll(/'\d+'/g, 'NUMBER')
        .replaceAll('staging.gateway', 'gateway')
        .replaceAll('staging', 'production');
    assert.equal(generic('staging'), generic('production'));
  });

  test('tells every fault at once', () => {
    const text = example('production')
      .replace('name: production', 'name: integration')
      .replace("projectNumber: '100000000003'", 'number: 3')
      .replace('internetAddress: gateway.example.org', 'internetAddress: localhost')
      .replace('rotation: 90d', 'rotation: often')
      .replace('RSA_SIGN_PSS_2048_SHA256', 'RSA_SIGN_PKCS1_2048_SHA256')
      .replace('  worker: relay-gateway-worker', '  worker: relay-gateway-ops')
      .replace('group:gateway-keys@example.org', 'allUsers');
    assert.deepEqual(faultsOf(text), [
      'name must be one of development, staging, production, not "integration"',
      'internetAddress must be a real domain name: clients refuse localhost',
      'projectNumber must be there',
      'keys[0].algorithm must be one of RSA_SIGN_PSS_2048_SHA256, RSA_SIGN_PSS_3072_SHA256, RSA_SIGN_PSS_4096_SHA256, not "RSA_SIGN_PKCS1_2048_SHA256"',
      'keys[1].rotation must be a time from 1d to 366d, such as 25s or 6h, not "often"',
      'administrators[0] must be a principal such as group:keys@example.org, not "allUsers"',
      'number is no field',
      'accounts must be different ones: each has only what it uses',
    ]);
  });

  test('must be for the environment that was named, have one key for each use, and be YAML', () => {
    assert.deepEqual(faultsOf(example('staging'), 'production'), ['name must be production, not staging']);
    assert.deepEqual(faultsOf(example('staging').replace('use: identity', 'use: wrapping\n    rotation: 1d')), [
      'keys[0].algorithm is no field',
      'keys must have exactly one whose use is identity',
      'keys must have exactly one whose use is wrapping',
    ]);
    assert.match(faultsOf('name: [').join(), /is no YAML/);
    assert.ok(faultsOf('just words').includes('It must have fields'));
    assert.ok(faultsOf('').includes('name must be there'));
  });

  test('gives labels that are labels, also for the longest Internet address', () => {
    const address = `${'a'.repeat(60)}.${'b'.repeat(60)}.example.org`;
    const text = example('staging').replace(
      'internetAddress: staging.gateway.example.org',
      `internetAddress: ${address}`,
    );
    const labels = wantsOf(readEnvironment('it.yaml', text)).flatMap((want) =>
      want.kind === 'key' || want.kind === 'bucket' ? Object.values(want.labels) : [],
    );
    assert.equal(labels.length, 12);
    assert.ok(labels.every((label) => /^[a-z0-9_-]{1,63}$/.test(label)));
  });
});
