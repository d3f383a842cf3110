/** Stores that are damaged are looked at first and mended then, while no gateway is at work on them. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { suite, type TestContext, test } from 'node:test';
import { openLocalBackends } from '../../src/backends/local/local-backends.ts';
import { examineStores, recoverStores } from '../../src/compose/recovery.ts';
import { readConfig } from '../../src/config.ts';
import { beginRestore } from '../../src/gateway/restoration.ts';
import { createLogger } from '../../src/log.ts';
import { FREE_PORTS, startGateway, temporaryDirectory } from '../support/gateway.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { newOfficialIdentity, OfficialPrivateGateway } from '../support/official-client.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

/** Nothing listens there: parcels for the Internet wait. */
const ENVIRONMENT = { RESOLVER_URL: 'http://127.0.0.1:1/', ALLOW_PRIVATE_DESTINATIONS: 'true' };

const HOUR = 3_600_000;

interface Damaged {
  readonly directory: string;
  readonly clock: ManualClock;
  readonly peer: OfficialPrivateGateway;
  readonly nodeId: string;
  file(name: string): string;
  /** Changes a store behind the gateway's back. */
  sql(name: 'objects' | 'records', statement: string): void;
  examine(): Promise<string[]>;
  apply(): ReturnType<typeof recoverStores>;
}

/** A directory in which a parcel waits for a private gateway, and one for the Internet, and no gateway runs. */
async function damagedDirectory(context: TestContext): Promise<Damaged> {
  const directory = temporaryDirectory();
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  await using gateway = await startGateway({ directory, environment: ENVIRONMENT });
  const peer = await OfficialPrivateGateway.register(gateway.poweb);
  const endpoint = await peer.newEndpoint();
  const sender = await endpoint.authorize(await newOfficialIdentity());
  await peer.deliver(await endpoint.writeParcel(sender, Buffer.from('for the mailbox')));
  const internetAddress = 'elsewhere.example.com';
  await peer.deliver(await endpoint.writeParcel(sender, Buffer.from('for the Internet'), { internetAddress }));
  const config = readConfig({ ...FREE_PORTS, ...ENVIRONMENT, DATA_DIR: directory });
  const clock = new ManualClock(Date.now());
  const parts = { clock, logger: createLogger('silent', { write: () => undefined }) };
  const file = (name: string) => path.join(directory, name);
  return {
    ...{ directory, clock, peer, nodeId: gateway.nodeId, file },
    sql(name, statement) {
      const database = new DatabaseSync(file(`${name}.sqlite`));
      database.exec(statement);
      database.close();
    },
    async examine() {
      return (await examineStores(config, parts)).faults.map(({ code, mend }) => `${code} ${mend}`);
    },
    apply: () => recoverStores(config, parts),
  };
}

/** What must stay as it is while somebody only looks: SQLite's own notes and the lock are not the stores. */
function digestOf(directory: string): string {
  const digest = createHash('sha256');
  for (const name of readdirSync(directory).sort()) {
    const file = path.join(directory, name);
    const isOwnNote =
      /^lock|-shm$|^recovery\.json$|^reserve/.test(name) || (name.endsWith('-wal') && statSync(file).size === 0);
    if (statSync(file).isFile() && !isOwnNote) {
      digest.update(`${name}\0`).update(readFileSync(file));
    }
  }
  return digest.digest('hex');
}

async function overwrite(file: string, position: number, octets: Buffer): Promise<void> {
  await using handle = await open(file, 'r+');
  await handle.write(octets, 0, octets.length, position);
}

suite('relay-gateway recover', () => {
  test('is refused while a gateway runs', async (context) => {
    const directory = temporaryDirectory();
    context.after(() => rmSync(directory, { recursive: true, force: true }));
    await using _gateway = await startGateway({ directory });
    for (const parameters of [['recover'], ['recover', '--apply']]) {
      const { code, stderr } = await runRelayGateway(parameters, { DATA_DIR: directory });
      assert.equal(code, 1);
      assert.match(stderr, /Another gateway is running/);
    }
  });

  test('finds nothing wrong with sound stores, and changes nothing; the example of its help does that', async (context) => {
    const { directory, apply, examine, nodeId } = await damagedDirectory(context);
    const before = digestOf(directory);
    const { stdout: help } = await runRelayGateway(['recover', '--help']);
    const example = /\nExample:\n +relay-gateway ([^\n]+)/.exec(help)?.[1] ?? '';
    const { code, stdout } = await runRelayGateway(example.split(' '), { DATA_DIR: directory });
    assert.equal(code, 0);
    assert.match(stdout, /Nothing is wrong/);
    assert.equal(digestOf(directory), before);
    assert.deepEqual(await examine(), []);
    const { setAside, nodeId: recovered } = await apply();
    assert.equal(setAside, 0);
    assert.equal(recovered, nodeId);
  });

  test('mends only what was examined, and lapses after 24 hours', async (context) => {
    const { examine, apply, clock } = await damagedDirectory(context);
    await assert.rejects(apply(), { code: 'EXAMINATION_MISSING' });
    await examine();
    clock.advance(24 * HOUR + 1);
    await assert.rejects(apply(), { code: 'EXAMINATION_LAPSED' });
    // By a clock that was wrong then.
    clock.advance(-48 * HOUR);
    await assert.rejects(apply(), { code: 'EXAMINATION_LAPSED' });
    await examine();
    clock.advance(24 * HOUR);
    await apply();
    await assert.rejects(apply(), { code: 'EXAMINATION_MISSING' });
  });

  test('mends damaged contents or sets them aside, repairs pages, and queues again what waits', async (context) => {
    const { directory, examine, apply, sql, file, peer, nodeId } = await damagedDirectory(context);
    sql('objects', "UPDATE entries SET size = size - 1 WHERE key LIKE 'mailboxes/%'");
    sql('records', "UPDATE records SET checksum = checksum + 1 WHERE kind = 'single-use-tokens'");
    sql('records', 'DELETE FROM work; DELETE FROM work_groups;');
    const before = digestOf(directory);
    assert.deepEqual(await examine(), ['CONTENTS_DAMAGED recover']);
    assert.equal(digestOf(directory), before);
    const { setAside } = await apply();
    assert.equal(setAside, 1, 'the log has what the entry is to be made of');
    assert.deepEqual(await examine(), []);
    const { stdout } = await runRelayGateway(['queue', 'list', '--json'], { ...ENVIRONMENT, DATA_DIR: directory });
    assert.equal(JSON.parse(stdout).destinations[0].parcels, 1);

    // Its first page, without which a file cannot be opened at all.
    await overwrite(file('objects.sqlite'), 0, Buffer.alloc(8192, 0xff));
    assert.deepEqual(await examine(), ['FILE_DAMAGED recover']);
    await apply();
    assert.deepEqual(await examine(), []);
    assert.ok(existsSync(file('objects.sqlite.damaged-1')), 'what was damaged is kept');
    await using gateway = await startGateway({ directory, environment: ENVIRONMENT });
    assert.equal(gateway.nodeId, nodeId);
    assert.equal((await peer.at(gateway.poweb).collectAll()).length, 1, 'nothing of it is lost');
  });

  test('makes the index of messages and the format anew where their files are gone', async (context) => {
    const { directory, examine, apply, file, peer, nodeId } = await damagedDirectory(context);
    rmSync(file('objects.sqlite'));
    rmSync(file('format.json'));
    assert.deepEqual(await examine(), ['OBJECTS_MISSING recover', 'FORMAT_MISSING recover']);
    assert.equal((await apply()).nodeId, nodeId);
    await using gateway = await startGateway({ directory, environment: ENVIRONMENT });
    assert.equal(gateway.nodeId, nodeId);
    assert.equal((await peer.at(gateway.poweb).collectAll()).length, 1, 'the log has the messages');
  });

  test('says what only a backup or the operator mends, and touches nothing then', async (context) => {
    const { directory, examine, apply, sql, file } = await damagedDirectory(context);
    const refused = async (...faults: string[]) => {
      const before = digestOf(directory);
      assert.deepEqual(await examine(), faults);
      await assert.rejects(apply(), { code: 'NOT_MENDABLE' });
      assert.equal(digestOf(directory), before);
    };
    renameSync(file('master.key'), file('elsewhere'));
    await refused('KEY_MISSING restore');
    renameSync(file('elsewhere'), file('master.key'));
    chmodSync(file('master.key'), 0o644);
    await refused('KEY_EXPOSED operator');
    chmodSync(file('master.key'), 0o600);
    const key = readFileSync(file('master.key'));
    await overwrite(file('master.key'), 0, Buffer.from(key[0] === 48 ? '1' : '0'));
    await refused('KEY_WRONG restore', 'IDENTITY_KEY_MISSING restore');
    await overwrite(file('master.key'), 0, key.subarray(0, 1));
    renameSync(file('records.sqlite'), file('elsewhere'));
    await refused('RECORDS_MISSING restore');
    renameSync(file('elsewhere'), file('records.sqlite'));
    sql('records', "UPDATE records SET kind = 'lost' WHERE kind = 'local-private-keys'");
    await refused('CONTENTS_DAMAGED recover', 'IDENTITY_KEY_MISSING restore');
  });

  test('sends to the restore that was begun on these stores, and to a backup where there is no gateway', async (context) => {
    const { examine, apply, directory } = await damagedDirectory(context);
    {
      await using backends = await openLocalBackends({ directory, clock: Date, random: randomBytes });
      await beginRestore(backends.records, 'a-backup', Date.now());
    }
    await assert.rejects(startGateway({ directory }), { code: 'RESTORE_UNFINISHED' });
    assert.deepEqual(await examine(), ['RESTORE_UNFINISHED operator']);
    await assert.rejects(apply(), { code: 'NOT_MENDABLE' });
    rmSync(directory, { recursive: true });
    assert.deepEqual(await examine(), ['DIRECTORY_EMPTY restore']);
    await assert.rejects(apply(), { code: 'EXAMINATION_MISSING' });
    assert.ok(!existsSync(directory));
  });
});
