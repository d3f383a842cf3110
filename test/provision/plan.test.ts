/** The plan of an environment: what is there against what is wanted, and how it is shown. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { suite, test } from 'node:test';
import { table } from '../../src/cli/table.ts';
import { readEnvironment } from '../../src/provision/environment.ts';
import { COLLECTION_PARTS, type Found, type FoundBinding, isAsWanted, planOf } from '../../src/provision/plan.ts';
import { KEY_HEADINGS, keyRows, stepRows, summary } from '../../src/provision/report.ts';
import { type Want, wantsOf } from '../../src/provision/wants.ts';
import { projectRoot } from '../support/gateway.ts';

const environment = readEnvironment(
  'production.yaml',
  readFileSync(path.join(projectRoot, 'environments/production.yaml'), 'utf8'),
);
const wants = wantsOf(environment);
const golden = (name: string) => readFileSync(path.join(import.meta.dirname, 'golden', `${name}.txt`), 'utf8');

const NOTHING: Found = {
  keyRings: new Set(),
  keys: new Map(),
  buckets: new Map(),
  databases: new Map(),
  collections: new Map(),
  policies: new Map(),
};

/** All that is wanted, as it would be found once it is made. */
function everything(of: readonly Want[] = wants): { -readonly [Part in keyof Found]: Found[Part] } {
  const named = <Kind extends Want['kind']>(kind: Kind) =>
    of.filter((want): want is Extract<Want, { kind: Kind }> => want.kind === kind);
  const bindings = named('binding');
  return {
    keyRings: new Set(named('key ring').map(({ name }) => name)),
    keys: new Map(
      named('key').map(({ name, purpose, algorithm, protection, rotation, labels }) => [
        name,
        {
          ...{ purpose, algorithm, protection, rotation, labels },
          primary: purpose === 'ENCRYPT_DECRYPT' ? 'ENABLED' : undefined,
          versions: [
            {
              name: `${name}/cryptoKeyVersions/1`,
              state: 'ENABLED',
              algorithm,
              nodeId: purpose === 'ASYMMETRIC_SIGN' ? `0${'a1'.repeat(32)}` : undefined,
            },
          ],
        },
      ]),
    ),
    buckets: new Map(
      named('bucket').map(({ name, location, labels, lifecycleDays }) => [
        name,
        {
          ...{ labels, location: location.toUpperCase() },
          ...{ isUniform: true, publicAccessPrevention: 'enforced', softDelete: 0, isVersioned: false },
          ...{ lifecycleDays: [lifecycleDays], isEmptying: false, hasOtherRules: false },
        },
      ]),
    ),
    databases: new Map(named('database').map(({ name, location }) => [name, { location, type: 'FIRESTORE_NATIVE' }])),
    collections: new Map(named('collection').map(({ name }) => [name, new Set(COLLECTION_PARTS)])),
    policies: new Map(
      bindings.map(({ resource }) => [resource, bindings.filter((binding) => binding.resource === resource)]),
    ),
  };
}

const shown = (found: Found, of = wants) => {
  const plan = planOf(of, found);
  return `${table(stepRows(plan, environment))}\n\n${summary(plan)}\n`;
};

suite('The plan of an environment', () => {
  test('in an empty project has everything made, keys before the rights on them', () => {
    assert.equal(shown(NOTHING), golden('empty-project'));
  });

  test('where all is there has nothing to do, and tells the keys', () => {
    const plan = planOf(wants, everything());
    assert.ok(isAsWanted(plan));
    assert.equal(
      `${shown(everything())}\n${table([KEY_HEADINGS, ...keyRows(everything(), environment)])}\n`,
      golden('all-there'),
    );
  });

  test('tells what differs, and changes none of it', () => {
    const found = everything();
    const [[bucketName, bucket] = []] = [...found.buckets];
    const [[identity, key] = [], [wrapping, other] = []] = [...found.keys];
    const [[database] = []] = [...found.databases];
    assert.ok(bucketName && bucket && identity && key && wrapping && other && database);
    found.buckets = new Map([
      [
        bucketName,
        {
          ...bucket,
          ...{ isUniform: false, publicAccessPrevention: 'inherited', softDelete: 604_800, isVersioned: true },
          ...{ lifecycleDays: [30], hasOtherRules: true, labels: {}, location: 'US' },
        },
      ],
    ]);
    found.keys = new Map([
      [
        identity,
        {
          ...key,
          protection: 'SOFTWARE',
          versions: key.versions.map((version) => ({ ...version, state: 'DISABLED', nodeId: undefined })),
        },
      ],
      [wrapping, { ...other, rotation: undefined }],
    ]);
    found.databases = new Map([[database, { location: 'nam5', type: 'DATASTORE_MODE' }]]);
    const stranger = { role: 'roles/cloudkms.signerVerifier', members: ['user:eve@example.com'] };
    const byItself = { role: 'roles/storage.legacyBucketOwner', members: [`projectEditor:${environment.project}`] };
    found.policies = new Map<string, readonly FoundBinding[]>([
      ...found.policies,
      [identity, [...(found.policies.get(identity) ?? []), stranger]],
      [`gs://${bucketName}`, [...(found.policies.get(`gs://${bucketName}`) ?? []), byItself]],
    ]);
    const plan = planOf(wants, found);
    assert.equal(isAsWanted(plan), false);
    assert.ok(plan.steps.every(({ state }) => state !== 'missing'));
    assert.equal(shown(found), golden('drift'));
  });

  test('of keys whose versions were destroyed makes new ones', () => {
    const found = everything();
    const states = ['DESTROYED', 'DESTROY_SCHEDULED'];
    found.keys = new Map(
      [...found.keys].map(([name, key]) => [
        name,
        {
          ...key,
          primary: undefined,
          versions: states.map((state, index) => {
            return {
              name: `${name}/cryptoKeyVersions/${index + 1}`,
              state,
              algorithm: key.algorithm,
              nodeId: undefined,
            };
          }),
        },
      ]),
    );
    const missing = planOf(wants, found).steps.filter(({ state }) => state === 'missing');
    assert.deepEqual(
      missing.map(({ want }) => want.kind),
      ['key version', 'key version'],
    );
  });

  test('has a key encrypt whose new version was not made the primary one', () => {
    const found = everything();
    found.keys = new Map([...found.keys].map(([name, key]) => [name, { ...key, primary: undefined }]));
    const missing = planOf(wants, found).steps.filter(({ state }) => state === 'missing');
    assert.deepEqual(
      missing.map(({ details }) => details),
      [['none of those that can be used encrypts']],
    );
  });

  test('gives a role again where it is there under another condition only', () => {
    const found = everything();
    const project = `projects/${environment.project}`;
    const unbounded = (found.policies.get(project) ?? []).map(({ role, members }) => ({ role, members }));
    found.policies = new Map<string, readonly FoundBinding[]>([...found.policies, [project, unbounded]]);
    const missing = planOf(wants, found).steps.filter(({ state }) => state === 'missing');
    assert.deepEqual(
      missing.map(({ details }) => details.length),
      [8],
    );
  });

  test('lets an auditor look until a date, and later tells nothing of it', () => {
    const auditor = { principal: 'user:auditor@example.com', until: Date.UTC(2027, 0, 31, 23, 59, 59) };
    const withAuditor = wantsOf(environment, auditor);
    const steps = planOf(withAuditor, everything()).steps.filter(({ state }) => state === 'missing');
    const bindings = steps.flatMap(({ want }) => (want.kind === 'binding' ? [want] : []));
    assert.deepEqual(
      bindings.map(({ role }) => role),
      ['roles/cloudkms.viewer', 'roles/cloudkms.publicKeyViewer', 'roles/cloudasset.viewer'],
    );
    for (const { condition, members } of bindings) {
      assert.equal(condition?.expression, 'request.time < timestamp("2027-01-31T23:59:59Z")');
      assert.deepEqual(members, [auditor.principal]);
    }
    assert.deepEqual(planOf(wants, everything(withAuditor)).extras, []);
  });
});
