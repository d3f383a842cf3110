/** The records of the reference implementation, taken over: its official private gateways go on without registering. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CertificateRotation, Parcel, ParcelCollectionAck } from '@relaycorp/relaynet-core';
import { migrateMongo } from '../../src/compose/migrate.ts';
import { readConfig } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { machineClock } from '../../src/machine.ts';
import type { MigrationReport } from '../../src/migration/report.ts';
import { startGcsEmulator } from '../emulators/gcs/gcs-emulator.ts';
import { projectRoot, startGateway, temporaryDirectory } from '../support/gateway.ts';
import { IDENTITY_KEY } from '../support/kms.ts';
import { arrayBuffer } from '../support/octets.ts';
import { OfficialChannel } from '../support/official-channel.ts';
import { newOfficialIdentity, OfficialPrivateGateway, officialClient } from '../support/official-client.ts';
import { collectOfficially, deliverOfficially, officialCourier } from '../support/official-courier.ts';
import { type ExtendedJsonForm, putWaitingParcel, ReferenceGateway } from '../support/reference-gateway.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

function newDirectory(context: TestContext): string {
  const directory = temporaryDirectory();
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A folder with an export, and stores that are to take it over. */
function setting(context: TestContext, environment: Readonly<Record<string, string>> = {}) {
  const directory = newDirectory(context);
  const folder = newDirectory(context);
  const all = { DATA_DIR: directory, ...environment };
  return {
    directory,
    environment: all,
    file(name: string, text: string): string {
      const file = path.join(folder, name);
      writeFileSync(file, text);
      return file;
    },
    migrate(files: readonly string[], options: { isDryRun?: boolean; bucket?: string } = {}): Promise<MigrationReport> {
      const logger = createLogger('silent', { write: () => undefined });
      const rest = { clock: machineClock, logger, onProgress: () => undefined };
      return migrateMongo(readConfig(all), { files, isDryRun: false, ...options, ...rest });
    },
  };
}

const codes = ({ skipped }: MigrationReport) => Object.fromEntries(skipped.map(({ code, count }) => [code, count]));

/** The same private gateway at another URL. */
const at = (peer: OfficialPrivateGateway, poweb: string) =>
  new OfficialPrivateGateway(officialClient(poweb), peer.identity, peer.registration);

suite('Migration from MongoDB', () => {
  for (const form of ['relaxed', 'canonical'] as const satisfies readonly ExtendedJsonForm[]) {
    test(`of a ${form} export lets a private gateway deliver and collect, by PoWeb and by courier, that registered there`, async (context) => {
      await using old = await ReferenceGateway.start(form);
      const registered = await old.register();
      const peerKeyId = await old.addPeerSessionKey(registered.identity.id);
      const { directory, environment, file, migrate } = setting(context, old.environment);
      const exported = file('old-gateway.ndjson', old.export());

      const taken = {
        'identity keys': 1,
        'own certificates': 1,
        'private gateways': 1,
        'session keys': 2,
        "peers' session keys": 1,
      };
      const dry = await migrate([exported], { isDryRun: true });
      assert.deepEqual([dry.isDryRun, dry.taken, dry.present, dry.skipped], [true, taken, {}, []]);
      const first = await migrate([exported]);
      assert.deepEqual(
        [first.isDryRun, first.taken, first.present, first.skipped, first.isComplete],
        [false, taken, {}, [], true],
      );
      assert.equal(first.nodeId, old.identity.id);
      const second = await migrate([exported]);
      assert.deepEqual([second.taken, second.present, second.isComplete], [{}, taken, true]);

      const opened = Promise.withResolvers<void>();
      const log = {
        write(line: string) {
          if (line.includes('"Cargo opened"')) {
            opened.resolve();
          }
        },
      };
      await using gateway = await startGateway({ directory, environment, log });
      assert.equal(gateway.nodeId, old.identity.id);
      const records = gateway.gateway.identity.allCertificates();
      assert.deepEqual(
        records.map(({ raw }) => raw),
        [Buffer.from(old.certificate.serialize())],
      );

      const peer = at(registered, gateway.poweb);
      const endpoint = await peer.newEndpoint();
      const sender = await endpoint.authorize(await newOfficialIdentity());
      const byPoWeb = Buffer.from(await endpoint.writeParcel(sender, Buffer.from('by PoWeb')));
      await peer.deliver(arrayBuffer(byPoWeb));
      assert.deepEqual(await peer.collectAll(), [byPoWeb]);

      const channel = await OfficialChannel.of(peer);
      const byCourier = Buffer.from(await endpoint.writeParcel(sender, Buffer.from('by courier')));
      const courier = await officialCourier(gateway.cogrpc);
      context.after(() => courier.close());
      assert.equal(await deliverOfficially(courier, [await channel.newCargo([byCourier])]), 1);
      await opened.promise;
      const cargoes = await collectOfficially(courier, await channel.newCca());
      const items = (await Promise.all(cargoes.map((cargo) => channel.open(cargo)))).flat();
      const of = (type: typeof Parcel | typeof ParcelCollectionAck | typeof CertificateRotation) =>
        items.filter(({ item }) => item instanceof type);
      assert.equal(of(ParcelCollectionAck).length, 1);
      assert.deepEqual(
        of(Parcel).map(({ bytes }) => bytes),
        [byCourier],
      );
      assert.equal(of(CertificateRotation).length, 0, 'it is not given another certificate before its time');
      assert.ok(peerKeyId.length > 0);
      // A new one may register as ever, for half a year at most, under the old certificate of a year.
      const newcomer = await OfficialPrivateGateway.register(gateway.poweb);
      const { startDate, expiryDate } = newcomer.certificate;
      assert.ok(expiryDate.getTime() - startDate.getTime() <= 180 * 86_400_000);
    });
  }

  test('takes an identity over that was in Vault, by two lines that tell where it was imported', async (context) => {
    await using old = await ReferenceGateway.start();
    const registered = await old.register();
    const { directory, environment, file, migrate } = setting(context, old.environment);
    // MongoDB has nothing of private keys then.
    const isOfKeys = (line: string) => /"kmsKeyVersion"|"privateKeyCiphertext"|"current_id"/.test(line);
    const lines = old.export().split('\n');
    const exported = file('old-gateway.ndjson', lines.filter((line) => !isOfKeys(line)).join('\n'));
    assert.deepEqual(codes(await migrate([exported], { isDryRun: true })), { KEY_UNKNOWN: 1 });
    const told = file(
      'identity.ndjson',
      `{"nodeId":"${old.identity.id}","kmsKey":"identity","kmsKeyVersion":1}\n{"key":"current_id","value":"${old.identity.id}"}\n`,
    );
    const report = await migrate([exported, told]);
    assert.deepEqual([report.nodeId, report.isComplete], [old.identity.id, true]);

    await using gateway = await startGateway({ directory, environment });
    assert.equal(gateway.nodeId, old.identity.id);
    const peer = at(registered, gateway.poweb);
    const endpoint = await peer.newEndpoint();
    const parcel = await endpoint.writeParcel(await endpoint.authorize(await newOfficialIdentity()), Buffer.from('a'));
    await peer.deliver(parcel);
    assert.deepEqual(await peer.collectAll(), [Buffer.from(parcel)]);
  });

  test('moves the parcels that wait in the old bucket, oldest first, and leaves what it cannot move', async (context) => {
    await using old = await ReferenceGateway.start();
    let time = Date.now();
    await using emulator = await startGcsEmulator({ bucket: 'old-parcels', now: () => ++time });
    const registered = await old.register();
    const endpoint = await registered.newEndpoint();
    const sender = await endpoint.authorize(await newOfficialIdentity());
    const ids = { peer: registered.identity.id, recipient: endpoint.identity.id, sender: sender.identity.id };
    const where = { url: emulator.url, bucket: 'old-parcels' };
    const parcels: Buffer[] = [];
    for (const id of ['one', 'two', 'three']) {
      const parcel = Buffer.from(await endpoint.writeParcel(sender, Buffer.from(id), { id }));
      parcels.push(parcel);
      await putWaitingParcel(where, parcel, { ...ids, parcel: id });
    }
    const stale = await endpoint.writeParcel(sender, Buffer.from('stale'), {
      id: 'stale',
      ttl: 1,
      creationDate: new Date(Date.now() - 3 * 3_600_000),
    });
    await putWaitingParcel(where, Buffer.from(stale), { ...ids, parcel: 'stale' });
    const rubbish = await putWaitingParcel(where, Buffer.from('no parcel'), { ...ids, parcel: 'rubbish' });

    process.env['STORAGE_EMULATOR_HOST'] = emulator.url;
    context.after(() => delete process.env['STORAGE_EMULATOR_HOST']);
    const { directory, environment, file, migrate } = setting(context, old.environment);
    const files = [file('old-gateway.ndjson', old.export())];
    const bucket = 'old-parcels';
    const dry = await migrate(files, { bucket, isDryRun: true });
    assert.deepEqual([dry.taken['waiting parcels'], dry.remaining], [5, 5]);
    assert.equal(emulator.bucket('old-parcels').size, 5);

    const moved = await migrate(files, { bucket });
    assert.deepEqual([moved.taken['waiting parcels'], moved.remaining], [3, 2]);
    assert.deepEqual(codes(moved), { EXPIRED: 1, PARCEL_REFUSED: 1 });
    assert.equal(moved.skipped.find(({ code }) => code === 'PARCEL_REFUSED')?.examples[0]?.object, rubbish);
    assert.equal(emulator.bucket('old-parcels').size, 2);
    const again = await migrate(files, { bucket });
    assert.deepEqual([again.taken['waiting parcels'], again.remaining], [undefined, 2]);
    assert.deepEqual(codes(again), codes(moved));

    await using gateway = await startGateway({ directory, environment });
    assert.deepEqual(await at(registered, gateway.poweb).collectAll(), parcels);
  });

  test('goes on where it was cut short: what KMS did not do the first time is done the next', async (context) => {
    await using old = await ReferenceGateway.start();
    await old.register();
    const { file, migrate } = setting(context, old.environment);
    const exported = file('old-gateway.ndjson', old.export());
    // Refused: this key alone is skipped, and said.
    old.kms.fail('Decrypt', { code: 3 });
    const first = await migrate([exported]);
    assert.deepEqual([codes(first), first.isComplete], [{ SESSION_KEY_UNREADABLE: 1 }, false]);
    assert.equal(first.taken['session keys'], 1);
    const second = await migrate([exported]);
    assert.deepEqual([second.taken['session keys'], second.present['session keys'], second.isComplete], [1, 1, true]);
  });

  // It is killed while it asks KMS: for the identity key, for a session key, and to wrap one anew.
  for (const method of ['GetPublicKey', 'Decrypt', 'Encrypt'] as const) {
    test(`that is killed in ${method} and run again is whole`, async (context) => {
      await using old = await ReferenceGateway.start();
      await old.register();
      const { directory, environment, file, migrate } = setting(context, old.environment);
      const exported = file('old-gateway.ndjson', old.export());
      old.kms.failAlways(method, { until: new Promise(() => {}) });
      const before = old.kms.counts.get(method) ?? 0;
      const child = spawn(process.execPath, ['src/cli/main.ts', 'migrate', 'mongo', exported], {
        cwd: projectRoot,
        env: { PATH: process.env['PATH'], ...environment },
        stdio: 'ignore',
      });
      const ended = once(child, 'exit');
      while ((old.kms.counts.get(method) ?? 0) === before) {
        assert.equal(child.exitCode, null, 'it ended before');
        await delay(20);
      }
      child.kill('SIGKILL');
      await ended;
      old.kms.recover();

      const report = await migrate([exported]);
      assert.ok(report.isComplete);
      for (const [kind, count] of [
        ['identity keys', 1],
        ['own certificates', 1],
        ['private gateways', 1],
        ['session keys', 2],
      ] as const) {
        assert.equal((report.taken[kind] ?? 0) + (report.present[kind] ?? 0), count, kind);
      }
      await using gateway = await startGateway({ directory, environment });
      assert.equal(gateway.nodeId, old.identity.id);
    });
  }

  test('reads on past lines that it cannot take, and tells each by its number', async (context) => {
    await using old = await ReferenceGateway.start();
    const { file, migrate } = setting(context, old.environment);
    const lines = [
      'not JSON',
      '[{"key":"current_id","value":"x"}]',
      '{"some":"thing"}',
      `{"_id":{"$oid":"000000000000000000000000"},"key":"x","value":"${'x'.repeat(300 * 1024)}"}`,
      '{"nodeId":"0abc","kmsKey":"identity","kmsKeyVersion":1}',
      `{"peerId":"0${'a'.repeat(64)}","keyId":{"$binary":{"base64":"AAAA","subType":"00"}},"keyDer":{"$binary":{"base64":"AAAA","subType":"00"}},"creationDate":{"$date":"2026-01-01T00:00:00Z"}}`,
      `{"peerId":"0${'a'.repeat(64)}","keyId":{"$binary":{"base64":"AAAA","subType":"00"}},"keyDer":{"$binary":{"base64":"AAAA","subType":"00"}},"creationDate":"yesterday"}`,
      `{"subjectId":"0${'a'.repeat(64)}","issuerId":"0${'a'.repeat(64)}","pathSerialized":{"$binary":{"base64":"MAA=","subType":"00"}},"expiryDate":{"$date":{"$numberLong":"0"}}}`,
      '{"__proto__":{"key":"current_id"},"constructor":1}',
      `${'['.repeat(100_000)}`,
    ];
    const report = await migrate([file('bad.ndjson', lines.join('\r\n')), file('good.ndjson', old.export())]);
    const told = report.skipped.flatMap(({ code, examples }) => examples.map(({ line }) => [line, code]));
    assert.deepEqual(
      told.sort(([one], [other]) => Number(one) - Number(other)),
      [
        [1, 'LINE_MALFORMED'],
        [2, 'LINE_MALFORMED'],
        [3, 'DOCUMENT_UNKNOWN'],
        [4, 'LINE_TOO_LONG'],
        [5, 'DOCUMENT_MALFORMED'],
        [6, 'DOCUMENT_MALFORMED'],
        [7, 'DOCUMENT_MALFORMED'],
        [8, 'DOCUMENT_MALFORMED'],
        [9, 'DOCUMENT_UNKNOWN'],
        [10, 'LINE_MALFORMED'],
      ],
    );
    assert.equal(report.nodeId, old.identity.id);
    assert.equal(report.taken['identity keys'], 1);
  });

  test('takes spent authorizations and owed acknowledgements, and what is past its time it does not', async (context) => {
    await using old = await ReferenceGateway.start();
    const peer = (await old.register()).identity.id;
    const [soon, past] = [new Date(Date.now() + 3_600_000), new Date(Date.now() - 1000)];
    const parcel = { privatePeerId: peer, senderEndpointId: '0a', recipientEndpointId: '0b' };
    old.add({ peerId: peer, ccaId: 'spent', ccaExpiryDate: soon });
    old.add({ peerId: peer, ccaId: 'long ago', ccaExpiryDate: past });
    old.add({ ...parcel, parcelId: 'owed', parcelExpiryDate: soon });
    old.add({ ...parcel, parcelId: 'long ago', parcelExpiryDate: past });
    const { file, migrate } = setting(context, old.environment);
    const exported = file('old-gateway.ndjson', old.export());
    const first = await migrate([exported]);
    assert.deepEqual([first.taken['spent authorizations'], first.taken['collected parcels']], [1, 1]);
    assert.deepEqual(codes(first), { EXPIRED: 2 });
    const second = await migrate([exported]);
    assert.deepEqual([second.present['spent authorizations'], second.present['collected parcels']], [1, 1]);
  });

  test('takes nothing of an identity that is kept elsewhere, and says so', async (context) => {
    await using old = await ReferenceGateway.start();
    await old.register();
    const { file, migrate } = setting(context);
    const report = await migrate([file('old-gateway.ndjson', old.export())]);
    assert.equal(report.isComplete, false);
    assert.equal(report.nodeId, undefined);
    assert.deepEqual(codes(report), { KEY_ELSEWHERE: 1, KEY_UNKNOWN: 3 });
  });

  test('is refused by stores that have another identity', async (context) => {
    await using old = await ReferenceGateway.start();
    await using other = await ReferenceGateway.start();
    const { file, migrate } = setting(context, old.environment);
    const elsewhere = file('other-gateway.ndjson', other.export().replaceAll('"identity"', '"another"'));
    const exported = file('old-gateway.ndjson', old.export());
    await migrate([exported]);
    old.kms.createKey(
      `${IDENTITY_KEY.slice(0, -'identity'.length)}another`,
      'ASYMMETRIC_SIGN',
      'RSA_SIGN_PSS_2048_SHA256',
    );
    const mistaken = old.export().replaceAll('"kmsKey":"identity"', '"kmsKey":"another"');
    await assert.rejects(migrate([file('mistaken.ndjson', mistaken)]), /identity of their own already/);
    // Not even the key is there.
    assert.deepEqual(codes(await migrate([elsewhere])), { KEY_UNKNOWN: 2, KEY_UNUSABLE: 1 });
  });

  test(': the example in its help works', async (context) => {
    await using old = await ReferenceGateway.start();
    const { file, environment } = setting(context, old.environment);
    const { stdout: help } = await runRelayGateway(['migrate', 'mongo', '--help']);
    const example = /\$ relay-gateway (.+)/.exec(help)?.[1]?.split(' ') ?? [];
    const exported = file(example.pop() ?? '', old.export());
    const { code, stdout, stderr } = await runRelayGateway([...example, exported], environment);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /identity keys +1 would be taken[\s\S]*bucket was not looked at[\s\S]*Nothing is missing/);
    const elsewhere = await runRelayGateway([...example, exported], { ...environment, KEYS: 'local' });
    assert.equal(elsewhere.code, 1);
    assert.match(elsewhere.stdout, /KEY_ELSEWHERE\n {2}\S+:2 {2}The identity key is in Cloud KMS/);
  });
});
