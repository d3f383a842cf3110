/** One gateway as many processes, or with any mixture of backends in one; and what is refused. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { type Labels, ownerLabels } from '../../src/backends/gcp/kms/key-labels.ts';
import { openDatabase } from '../../src/compose/firestore.ts';
import { readConfig } from '../../src/config.ts';
import { type Cloud, needsCloud, startCloud } from '../support/cloud.ts';
import { FREE_PORTS, type SpawnedGateway, spawnGateway, startGateway, temporaryDirectory } from '../support/gateway.ts';
import { IDENTITY_KEY } from '../support/kms.ts';
import { OfficialPrivateGateway } from '../support/official-client.ts';
import { type CommandOutcome, runRelayGateway } from '../support/relay-gateway.ts';

/** The settings of each kind of store, of those that `Cloud` gives. */
const KINDS = {
  OBJECT_STORE: ['OBJECT_STORE', 'GCS_BUCKET', 'STORAGE_EMULATOR_HOST'],
  RECORDS: ['RECORDS', 'GCP_PROJECT', 'FIRESTORE_EMULATOR_HOST'],
  KEYS: ['KEYS', 'KMS_KEY_RING', 'KMS_ENDPOINT'],
  SIGNALS: ['SIGNALS', 'REDIS_URL'],
} as const;

type Kind = keyof typeof KINDS;

suite('A gateway on cloud backends', needsCloud(), () => {
  let cloud: Cloud;

  before(async () => {
    cloud = await startCloud();
  });

  after(() => cloud?.[Symbol.asyncDispose]());

  const kinds = Object.keys(KINDS) as Kind[];
  const mixtures = [...kinds.map((kind) => [kind]), ...kinds.map((kind) => kinds.filter((other) => other !== kind))];
  for (const elsewhere of mixtures) {
    test(`delivers in one process with ${elsewhere.join(', ')} elsewhere and the rest local`, async () => {
      // A fleet of its own: what is noted of one is not for another.
      await using own = await startCloud({ firestore: cloud.firestore, redis: cloud.redis });
      const names = elsewhere.flatMap((kind) => KINDS[kind]);
      const environment = Object.fromEntries(names.map((name) => [name, own.environment[name] as string]));
      await using gateway = await startGateway({ environment });
      const owner = await OfficialPrivateGateway.register(gateway.poweb);
      const endpoint = await owner.newEndpoint();
      const sender = await endpoint.authorize((await owner.newEndpoint()).identity);
      const parcel = await endpoint.writeParcel(sender, randomBytes(500));
      await owner.deliver(parcel);
      assert.deepEqual(await owner.collectAll(), [Buffer.from(parcel)]);
      assert.equal((await fetch(`${gateway.ops}/ping`)).status, 200);
    });
  }

  suite('of which one process runs', () => {
    const directory = temporaryDirectory();
    let first: SpawnedGateway;

    before(async () => {
      const environment = { ...cloud.environment, SERVICES: 'poweb,ops', HOUSEKEEPING_PERIOD: '1s' };
      first = await spawnGateway({ directory, environment });
    });

    after(async () => {
      await first?.[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    });

    /** Has the program start, which it must not. */
    async function refused(environment: Readonly<Record<string, string>>): Promise<CommandOutcome> {
      const own = temporaryDirectory();
      try {
        const all = { ...FREE_PORTS, DATA_DIR: own, ...cloud.environment, ...environment };
        return await runRelayGateway(['serve'], all);
      } finally {
        rmSync(own, { recursive: true, force: true });
      }
    }

    test('keeps no store in its data directory', async () => {
      await OfficialPrivateGateway.register(first.poweb);
      const names = readdirSync(directory).filter((name) => name !== 'journal');
      assert.deepEqual(names, ['control.sock']);
    });

    test('takes no second process on its data directory', async () => {
      const { code, stderr } = await refused({ DATA_DIR: directory });
      assert.equal(code, 1);
      assert.equal(stderr, `relay-gateway: Another gateway is running on data directory ${directory}\n`);
      assert.equal((await fetch(first.poweb)).status, 200);
      // Its control socket is still its own.
      assert.equal((await runRelayGateway(['identity'], { ...cloud.environment, DATA_DIR: directory })).code, 0);
    });

    test('lets nobody with another Internet address have its identity', async () => {
      const { code, stderr } = await refused({ INTERNET_ADDRESS: 'other.example' });
      assert.equal(code, 2, stderr);
      assert.match(stderr, /INTERNET_ADDRESS is other\.example here, but gateway\.test by the fleet's note/);
    });

    test('nor with another bucket', async () => {
      await using other = await startCloud(cloud, 'other');
      const { STORAGE_EMULATOR_HOST = '' } = other.environment;
      const { code, stderr } = await refused({ STORAGE_EMULATOR_HOST, GCS_BUCKET: 'other' });
      assert.equal(code, 2, stderr);
      assert.match(stderr, /GCS_BUCKET is other here, but messages by the fleet's note in the records/);
    });

    test('nor with another database', async () => {
      const { code, stderr } = await refused({ FIRESTORE_DATABASE: 'other' });
      assert.equal(code, 2, stderr);
      const { GCP_PROJECT: project } = cloud.environment;
      assert.ok(
        stderr.includes(`FIRESTORE_DATABASE is ${project}/other here, but ${project}/(default) by the fleet's`),
      );
    });

    suite('and whose key has labels', () => {
      let elsewhere: Readonly<Record<string, string>>;
      let other: Cloud;
      let labels: Labels;

      before(async () => {
        const { GCP_PROJECT: project = '' } = cloud.environment;
        const database = { project, id: '(default)' };
        labels = ownerLabels({ internetAddress: 'gateway.test', bucket: 'messages', database });
        cloud.kms.labelKey(IDENTITY_KEY, { environment: 'test', ...labels });
        other = await startCloud(cloud, 'other.messages');
        const { STORAGE_EMULATOR_HOST = '' } = other.environment;
        elsewhere = { STORAGE_EMULATOR_HOST, GCS_BUCKET: 'other.messages', FIRESTORE_DATABASE: 'others' };
      });

      after(() => other?.[Symbol.asyncDispose]());

      test('lets nobody have its identity with another bucket and another database, and leaves both as they are', async () => {
        const { code, stderr } = await refused(elsewhere);
        assert.equal(code, 2, stderr);
        assert.match(
          stderr,
          /GCS_BUCKET makes label bucket other_messages here, but it is messages on projects\/test\//,
        );
        assert.match(
          stderr,
          /FIRESTORE_DATABASE makes label database others here, but it is -default--[0-9a-f]{16} on/,
        );
        assert.doesNotMatch(stderr, /GCP_PROJECT|INTERNET_ADDRESS/);
        assert.deepEqual(other.gcs.bucket('other.messages').list(new URLSearchParams()).items, []);
      });

      test('nor with another Internet address and another project besides', async () => {
        const more = { INTERNET_ADDRESS: 'other.example', GCP_PROJECT: 'another-project' };
        const { code, stderr } = await refused({ ...elsewhere, ...more });
        assert.equal(code, 2, stderr);
        assert.match(
          stderr,
          /INTERNET_ADDRESS makes label internet-address other_example here, but it is gateway_test/,
        );
        assert.match(stderr, /GCP_PROJECT makes label project another-project here/);
      });

      test('nor with all but its keys on the machine', async () => {
        const { code, stderr } = await refused({ OBJECT_STORE: 'local', RECORDS: 'local', SIGNALS: 'local' });
        assert.equal(code, 2, stderr);
        assert.match(stderr, /GCS_BUCKET makes label bucket _local here/);
        assert.match(stderr, /FIRESTORE_DATABASE makes label database _local here/);
      });

      test('starts its own as ever, and says which labels are missing', async () => {
        const warnings = async () => {
          const lines: string[] = [];
          const log = { write: (line: string) => void lines.push(line) };
          await using _gateway = await startGateway({ environment: cloud.environment, log });
          return lines.map((line) => JSON.parse(line)).filter(({ level }) => level >= 40);
        };
        assert.deepEqual(await warnings(), []);
        cloud.kms.labelKey(IDENTITY_KEY, { 'internet-address': 'gateway_test', bucket: 'messages' });
        const [{ msg, labels: missing }, ...others] = await warnings();
        assert.match(msg, /no labels that say whose it is/);
        assert.equal(missing, `project=${labels['project']},database=${labels['database']}`);
        assert.deepEqual(others, []);
      });
    });

    test('lets nobody migrate another gateway into its stores while it runs', async () => {
      const own = temporaryDirectory();
      try {
        const migrate = ['migrate', 'mongo', '/dev/null'];
        const { code, stderr } = await runRelayGateway(migrate, { ...cloud.environment, DATA_DIR: own });
        assert.equal(code, 1);
        assert.match(stderr, /The gateway is at work on these stores \(poweb,ops \([0-9a-f]{16}\)\): stop all/);
      } finally {
        rmSync(own, { recursive: true, force: true });
      }
    });

    test('lets no process look after all that may not sign, even where the lease has run out', async () => {
      await using other = await startGateway({
        environment: { ...cloud.environment, HOUSEKEEPING_PERIOD: '1s' },
        services: ['pohttp', 'ops'],
        clock: { now: () => Date.now() + 10 * 60_000 },
      });
      const environment = { ...cloud.environment, DATA_DIR: other.directory };
      const refused = await runRelayGateway(['rotate-certificate'], environment);
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /no right to sign certificates: ask one that has poweb, cogrpc or worker/);
      // It tells that it lives, each round anew.
      await using records = await openDatabase(readConfig(environment), undefined, { now: Date.now });
      const leases = async () =>
        new Map((await Array.fromAsync(records.list('leases'))).map((each) => [each.key, each]));
      const lives = new Set<number | undefined>();
      while (lives.size < 3) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        for (const { fields, expiry } of (await leases()).values()) {
          if (`${fields['holder']}`.startsWith('pohttp,ops (')) {
            lives.add(expiry);
          }
        }
      }
      const keeper = `${(await leases()).get('housekeeping')?.fields['holder']}`;
      assert.match(keeper, /^poweb,ops \([0-9a-f]{16}\)$/);
    });

    test('leaves the work for all to another when it is killed, after a while', async () => {
      let ahead = 0;
      const told = Promise.withResolvers<void>();
      let rounds = 0;
      await using second = await startGateway({
        environment: { ...cloud.environment, HOUSEKEEPING_PERIOD: '1s', LOG_LEVEL: 'debug' },
        services: ['worker'],
        clock: { now: () => Date.now() + ahead },
        log: {
          write(line: string) {
            const { msg } = JSON.parse(line);
            if (msg === 'Housekeeping for all processes is done by this one') {
              told.resolve();
            } else if (msg === 'Housekeeping for all processes is done by another') {
              rounds++;
            }
          },
        },
      });
      assert.ok(second.nodeId);
      while (rounds < 2) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await first.end('SIGKILL');
      ahead = 2 * 1000 + 60_000 + 1000;
      await told.promise;
    });
  });
});
