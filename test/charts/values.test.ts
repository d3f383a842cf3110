/** What the chart says of its values, what it refuses, and what becomes of them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { suite, test } from 'node:test';
import { parse } from 'yaml';
import { SECRETS } from '../../src/config/settings.ts';
import { readConfig } from '../../src/config.ts';
import { CHART, helm, type Manifest, render, template } from '../support/helm.ts';
import { podsOf } from './manifest-properties.ts';
import { VALUE_SETS } from './value-sets.ts';

interface Schema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly $ref?: string;
}

const read = (file: string) => readFileSync(path.join(CHART, file), 'utf8');
const schema = JSON.parse(read('values.schema.json')) as Schema;
const defaults = parse(read('values.yaml')) as Record<string, unknown>;
const { version } = JSON.parse(readFileSync(path.join(CHART, '../../package.json'), 'utf8')) as { version: string };

const ADDRESS = { INTERNET_ADDRESS: 'gateway.example.org' };
const onePod = VALUE_SETS['one pod'] as Record<string, unknown>;
const split = VALUE_SETS['split'] as { mode: string; gateway: { settings: object; secrets: object } };

/** Follows a reference within the schema. */
function resolved(part: Schema): Schema {
  const steps = part.$ref?.split('/').slice(1) ?? [];
  return steps.reduce((at, step) => (at as Record<string, Schema>)[step] as Schema, steps.length > 0 ? schema : part);
}

/** The paths of values that a part of the schema does not describe. */
function undescribed(part: Schema, values: unknown, at: string): string[] {
  const here = resolved(part);
  const missing = at !== '' && !here.description ? [at] : [];
  if (typeof values !== 'object' || values === null || Array.isArray(values) || !here.properties) {
    return missing;
  }
  const { properties } = here;
  return [
    ...missing,
    ...Object.entries(values).flatMap(([key, value]) => {
      const child = properties[key];
      const place = `${at}/${key}`;
      return child ? undescribed(child, value, place) : here.additionalProperties ? [] : [place];
    }),
  ];
}

/** The paths of what the schema itself names and does not describe. */
function silent(part: Schema, at: string): string[] {
  const described = part.description || part.$ref || at === '' ? [] : [at];
  return [
    ...described,
    ...Object.entries(part.properties ?? {}).flatMap(([key, child]) => silent(child, `${at}/${key}`)),
  ];
}

suite('The values of the chart', () => {
  test('are each described by the schema', () => {
    assert.deepEqual(undescribed(schema, defaults, ''), []);
    assert.deepEqual(silent(schema, ''), []);
  });

  test('that are not described are found', () => {
    assert.deepEqual(undescribed(schema, { ...defaults, mood: 'good' }, ''), ['/mood']);
  });

  test('stand for the version of the program', () => {
    const chart = parse(read('Chart.yaml')) as { version: string; appVersion: string };
    assert.equal(chart.appVersion, version);
    assert.equal(chart.version, version);
  });

  test('are fine by helm lint', async () => {
    const { code, stdout } = await helm(['lint', '--strict', CHART, '--values', '-'], JSON.stringify(onePod));
    assert.equal(code, 0, stdout);
  });
});

const REFUSED: Readonly<Record<string, [values: unknown, told: RegExp]>> = {
  'without an Internet address': [{}, /INTERNET_ADDRESS must be set/],
  'with an address as Internet address': [
    { gateway: { settings: { INTERNET_ADDRESS: '192.0.2.1' } } },
    /INTERNET_ADDRESS.*does not match/,
  ],
  'with localhost as Internet address': [
    { gateway: { settings: { INTERNET_ADDRESS: 'localhost' } } },
    /INTERNET_ADDRESS.*does not match/,
  ],
  'with a value that there is not': [{ ...onePod, replicas: 3 }, /additional properties 'replicas' not allowed/],
  'with a mode that there is not': [{ ...onePod, mode: 'cluster' }, /\/mode/],
  'with two pods on one set of stores': [{ ...onePod, components: { single: { replicas: 2 } } }, /single\/replicas/],
  'with no replica of CogRPC': [{ ...split, components: { cogrpc: { replicas: 0 } } }, /cogrpc\/replicas/],
  'where PoWeb may be scaled to nothing': [
    { ...split, components: { poweb: { autoscaling: { minReplicas: 0 } } } },
    /minReplicas/,
  ],
  'with pods without a limit of memory': [{ ...onePod, pods: { resources: { limits: { memory: null } } } }, /memory/],
  'with a secret among the settings of one component': [
    { ...split, components: { worker: { settings: { REDIS_URL: 'redis://:planted-secret@redis' } } } },
    /components\.worker\.settings\.REDIS_URL is secret/,
  ],
  "with a setting that is the chart's": [
    { gateway: { settings: { ...ADDRESS, POWEB_PORT: 80 } } },
    /gateway\.settings\.POWEB_PORT is the chart's/,
  ],
  'split, without a project': [
    { ...split, gateway: { ...split.gateway, settings: { ...split.gateway.settings, GCP_PROJECT: '' } } },
    /GCP_PROJECT must be set/,
  ],
  'with a secret that is not by reference': [
    { ...split, gateway: { ...split.gateway, secrets: { REDIS_URL: 'redis://:planted-secret@redis' } } },
    /REDIS_URL/,
  ],
  'split, without a bucket': [
    { ...split, gateway: { ...split.gateway, settings: { ...split.gateway.settings, GCS_BUCKET: '' } } },
    /GCS_BUCKET must be set/,
  ],
  'split, without Redis': [{ ...split, gateway: { ...split.gateway, secrets: {} } }, /secrets\.REDIS_URL must name/],
  'split, with messages in each pod': [
    { ...split, gateway: { ...split.gateway, settings: { ...split.gateway.settings, OBJECT_STORE: 'local' } } },
    /OBJECT_STORE must be gcs/,
  ],
  'on GKE without TLS': [
    { ...onePod, exposure: { kind: 'gke', hosts: { poweb: 'a.example', pohttp: 'a.example', cogrpc: 'a.example' } } },
    /tls\.secretName must be set/,
  ],
  'exposed without hosts': [{ ...onePod, exposure: { kind: 'ingress' } }, /hosts\.cogrpc must be set/],
  'behind no Gateway': [
    {
      ...onePod,
      exposure: { kind: 'gatewayApi', hosts: { poweb: 'a.example', pohttp: 'a.example', cogrpc: 'a.example' } },
    },
    /parentRefs must name/,
  ],
  'with backups that nobody could open': [
    { ...onePod, backup: { schedule: '17 3 * * *', to: 'gs://backups/' } },
    /RECOVERY_PUBLIC_KEY must be set/,
  ],
  'with backups to its own volume': [
    { ...onePod, backup: { schedule: '17 3 * * *', to: '/data/backups' } },
    /backup\/to/,
  ],
  'with half of a digest': [{ ...onePod, image: { digest: 'sha256:1234' } }, /digest/],
};

suite('The chart refuses to be installed', { concurrency: 2 }, () => {
  for (const [how, [values, told]] of Object.entries(REFUSED)) {
    test(how, async () => {
      const { code, stdout, stderr } = await template({ values });
      assert.notEqual(code, 0);
      assert.equal(stdout, '');
      assert.match(stderr, told);
      assert.doesNotMatch(stderr, /planted-secret/);
    });
  }
});

for (const secret of SECRETS) {
  test(`The chart refuses ${secret} among the settings, and does not print it`, async () => {
    const { code, stderr } = await template({
      values: { gateway: { settings: { ...ADDRESS, [secret]: 'redis://:planted-secret@redis' } } },
    });
    assert.notEqual(code, 0);
    assert.match(stderr, new RegExp(`gateway.settings.${secret} is secret`));
    assert.doesNotMatch(stderr, /planted-secret/);
  });
}

/** The environment of each pod that serves, by component, as its container gets it. */
function environments(manifests: readonly Manifest[]): Record<string, Record<string, string>> {
  const shared = manifests.find(({ kind }) => kind === 'ConfigMap')?.['data'] as Record<string, string>;
  return Object.fromEntries(
    podsOf(manifests)
      .filter(({ isService }) => isService)
      .map(({ metadata, spec }) => [
        metadata.labels?.['app.kubernetes.io/component'] ?? '',
        {
          ...shared,
          ...Object.fromEntries(
            spec.containers[0]?.env?.map(({ name, value }) => [name, value ?? 'redis://redis']) ?? [],
          ),
        },
      ]),
  );
}

suite('Pods of the chart', () => {
  test('have an environment that the program accepts, on one machine and split', async () => {
    const single = environments(await render({ values: onePod }));
    assert.deepEqual(Object.keys(single), ['single']);
    assert.equal(readConfig(single['single'] ?? {}).internetAddress, 'gateway.example.org');

    const pods = environments(await render({ values: split }));
    assert.deepEqual(Object.keys(pods).sort(), ['cogrpc', 'collection', 'ops', 'pohttp', 'poweb', 'worker']);
    for (const [component, environment] of Object.entries(pods)) {
      assert.ok(readConfig(environment).services.includes(component as 'ops'), component);
    }
  });

  test('get large numbers in full, and settings of one component only there', async () => {
    const manifests = await render({
      values: {
        ...split,
        gateway: { ...split.gateway, settings: { ...split.gateway.settings, MAILBOX_PARCELS: 10_000_000 } },
        components: { worker: { settings: { DELIVERIES_PER_DESTINATION: 100 } } },
      },
    });
    const { worker, poweb } = environments(manifests);
    assert.equal(worker?.['MAILBOX_PARCELS'], '10000000');
    assert.equal(worker?.['DELIVERIES_PER_DESTINATION'], '100');
    assert.equal(poweb?.['DELIVERIES_PER_DESTINATION'], undefined);
  });

  test('restart when a setting changes, and only then', async () => {
    const checksums = async (settings: object) =>
      podsOf(await render({ values: { gateway: { settings: { ...ADDRESS, ...settings } } } }))
        .filter(({ isService }) => isService)
        .map(({ metadata }) => metadata.annotations?.['checksum/settings']);
    const before = await checksums({});
    assert.deepEqual(await checksums({}), before);
    assert.notDeepEqual(await checksums({ LOG_LEVEL: 'debug' }), before);
  });

  test('have secrets by reference only', async () => {
    const manifests = await render({ values: split });
    const references = podsOf(manifests)
      .filter(({ isService }) => isService)
      .flatMap(({ spec }) => spec.containers.flatMap(({ env = [] }) => env.filter(({ name }) => SECRETS.has(name))));
    assert.equal(references.length, 6);
    for (const reference of references) {
      assert.deepEqual(reference, {
        name: 'REDIS_URL',
        valueFrom: { secretKeyRef: { name: 'redis', key: 'url' } },
      });
    }
  });
});

/** The pod that a CronJob of this component makes. */
const regularPod = (manifests: readonly Manifest[], component: string) =>
  podsOf(manifests).find(
    ({ owner, metadata }) => owner.kind === 'CronJob' && metadata.labels?.['app.kubernetes.io/component'] === component,
  )?.spec;

test('Backups of one pod, and its next certificates, are made beside it, on its volume', async () => {
  const manifests = await render({ values: VALUE_SETS['one pod on a claim made by hand, watched and backed up'] });
  const commands = { backup: ['backup', '--to', 'gs://relay-backups/', '--json'], 'rotate-certificate': undefined };
  for (const [component, args = [component]] of Object.entries(commands)) {
    const pod = regularPod(manifests, component);
    const { volumes } = pod as unknown as { volumes: { persistentVolumeClaim?: { claimName: string } }[] };
    assert.deepEqual(
      volumes.map(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName),
      ['stores'],
    );
    assert.deepEqual(pod?.containers[0]?.args, args);
    assert.ok(JSON.stringify(pod?.affinity).includes('requiredDuringScheduling'));
  }
});

test('The next certificate of a split gateway is made with the rights of the workers, where it is asked for', async () => {
  const manifests = await render({ values: VALUE_SETS['split behind a Gateway, backed up'] });
  const pod = regularPod(manifests, 'rotate-certificate') as unknown as { serviceAccountName: string };
  assert.equal(pod.serviceAccountName, 'by-hand');
  assert.equal(regularPod(await render({ values: split }), 'rotate-certificate'), undefined);
});

suite('On GKE', () => {
  test('each door has its own time, health is asked for at the ops port, and CogRPC gets HTTP/2', async () => {
    const manifests = await render({ values: VALUE_SETS['split on GKE, scaled, watched and visited by the doctor'] });
    const name = 'gateway-relay-gateway';
    const spec = (kind: string, door: string) =>
      manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === `${name}-${door}`);
    const seconds = Object.fromEntries(
      ['poweb', 'collection', 'pohttp', 'cogrpc'].map((door) => {
        const backend = spec('BackendConfig', door)?.['spec'] as { timeoutSec: number; healthCheck: { port: number } };
        assert.equal(backend.healthCheck.port, 8090);
        const { annotations = {} } = spec('Service', door)?.metadata ?? {};
        assert.deepEqual(JSON.parse(annotations['cloud.google.com/backend-config'] ?? ''), {
          default: `${name}-${door}`,
        });
        assert.deepEqual(JSON.parse(annotations['cloud.google.com/app-protocols'] ?? ''), {
          [door]: door === 'cogrpc' ? 'HTTP2' : 'HTTPS',
        });
        return [door, backend.timeoutSec];
      }),
    );
    assert.ok((seconds['collection'] ?? 0) >= 7 * 86_400);
    assert.ok((seconds['poweb'] ?? 0) <= 60 && (seconds['pohttp'] ?? 0) <= 60);
  });

  test('the text of a log line is where Google Cloud Logging reads it, and nowhere else so', async () => {
    const gke = environments(await render({ values: VALUE_SETS['one pod on GKE'] }));
    assert.equal(readConfig({ ...gke['single'], TLS_CERT_FILE: '', TLS_KEY_FILE: '' }).logMessageKey, 'message');
    assert.equal(readConfig(environments(await render({ values: onePod }))['single'] ?? {}).logMessageKey, 'msg');
  });

  test('collection is a backend of its own under its path', async () => {
    const manifests = await render({ values: VALUE_SETS['one pod on GKE'] });
    const ingress = manifests.find(({ kind }) => kind === 'Ingress')?.['spec'] as {
      rules: { host: string; http: { paths: { path: string; backend: { service: { name: string } } }[] } }[];
    };
    assert.deepEqual(
      ingress.rules.map(({ host, http }) => [
        host,
        ...http.paths.map(({ path: at, backend }) => [at, backend.service.name]),
      ]),
      [
        [
          'poweb.example.org',
          ['/v1/parcel-collection', 'gateway-relay-gateway-collection'],
          ['/', 'gateway-relay-gateway-poweb'],
        ],
        ['pohttp.example.org', ['/', 'gateway-relay-gateway-pohttp']],
        ['cogrpc.example.org', ['/', 'gateway-relay-gateway-cogrpc']],
      ],
    );
  });
});
