import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { suite, test } from 'node:test';
import { type LocalBackends, openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import { temporaryDirectory } from '../../support/local-backends.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const clock = new ManualClock();
const expiry = clock.now() + 1e9;
const MIB = 1024 * 1024;
/** The body of one object. */
const SEVENTH = Buffer.alloc(100, 'seventh');

function open(directory: string): Promise<LocalBackends> {
  return openLocalBackends({ directory, clock, random: randomBytes });
}

/** Changes a store's file behind the gateway's back. */
function damage(directory: string, file: 'objects' | 'records', sql: string): void {
  const database = new DatabaseSync(join(directory, `${file}.sqlite`));
  database.exec(sql);
  database.close();
}

async function fill(backends: LocalBackends): Promise<void> {
  for (let number = 0; number < 300; number++) {
    await backends.objects.put(`outbox/a/${number}`, number === 7 ? SEVENTH : randomBytes(100), { expiry });
  }
  await backends.records.put('private-gateways', 'a', { registered: 1 });
}

suite('An examination of the data directory', () => {
  test('finds nothing wrong with stores that are well, and counts what is there', async () => {
    await using directory = await temporaryDirectory();
    await using backends = await open(directory.path);
    await fill(backends);
    await backends.work.add('internet-delivery', { key: 'outbox/a/1', group: 'example.com', size: 100, expiry });
    const { records, ...others } = await backends.examine();
    assert.ok(records >= 1);
    assert.deepEqual(others, {
      faults: [],
      objects: 300,
      liveOctets: 30_000,
      damaged: 0,
      damagedObjects: [],
      damagedRecords: [],
      orphanedBodies: 0,
      orphanedWork: 0,
      setAside: 0,
    });
  });

  test('finds damaged entries, bodies and records, and what belongs to nothing; mends or sets aside what is damaged', async () => {
    await using directory = await temporaryDirectory();
    {
      await using backends = await open(directory.path);
      await fill(backends);
      await backends.work.add('internet-delivery', { key: 'outbox/a/299', group: 'example.com', size: 1, expiry });
    }
    damage(
      directory.path,
      'objects',
      `UPDATE entries SET expiry = expiry + 1 WHERE key = 'outbox/a/8';
       UPDATE entries SET place = 99 << 30 WHERE key = 'outbox/a/9';
       DELETE FROM entries WHERE key = 'outbox/a/299';
       INSERT OR REPLACE INTO bodies (id, body) VALUES (1, x'00');`,
    );
    const segment = join(directory.path, 'messages', '00000001.log');
    const log = readFileSync(segment);
    log.fill('x', log.indexOf(SEVENTH), log.indexOf(SEVENTH) + 1);
    writeFileSync(segment, log);
    damage(directory.path, 'records', `UPDATE records SET fields = '{}' WHERE kind = 'private-gateways' AND key = 'a'`);
    await using backends = await open(directory.path);
    const found = await backends.examine();
    assert.equal(found.damaged, 4);
    assert.deepEqual([...found.damagedObjects].sort(), ['outbox/a/7', 'outbox/a/8', 'outbox/a/9']);
    assert.deepEqual(found.damagedRecords, [{ kind: 'private-gateways', key: 'a' }]);
    assert.equal(found.orphanedBodies, 1);
    assert.equal(found.orphanedWork, 1);
    // Two were made anew from the log.
    assert.equal(backends.damaged, 2);

    assert.equal((await backends.compact()).orphanedBodies, 1);
    const after = await backends.examine();
    assert.deepEqual([after.damaged, after.orphanedBodies, after.setAside, after.objects], [0, 0, 2, 298]);
  });

  test('passes over a segment of the log that goes between the look at its name and that into it', async () => {
    await using directory = await temporaryDirectory();
    await using backends = await open(directory.path);
    await fill(backends);
    symlinkSync(join(directory.path, 'gone'), join(directory.path, 'messages', '00000099.log'));
    const { objects, damaged } = await backends.examine();
    assert.deepEqual([objects, damaged], [300, 0]);
  });

  test('is given up when the gateway stops meanwhile', async () => {
    await using directory = await temporaryDirectory();
    const backends = await open(directory.path);
    await fill(backends);
    const examination = backends.examine();
    const outcome = examination.then(
      () => 'done',
      (error: { code: string }) => error.code,
    );
    await backends[Symbol.asyncDispose]();
    assert.ok(['done', 'STORE_AWAY'].includes(await outcome));
  });
});

suite('A compaction', () => {
  test('leaves the directory, its reserve aside, under twice its live data after a drain in any order', async () => {
    await using directory = await temporaryDirectory();
    await using backends = await open(directory.path);
    const octets = 12_000;
    const keys = Array.from({ length: 4000 }, (_, number) => `mailboxes/a/${randomBytes(16).toString('hex')}${number}`);
    await Promise.all(keys.map((key) => backends.objects.put(key, randomBytes(octets), { expiry })));
    const kept = keys.filter((_, number) => number % 10 === 0);
    await Promise.all(keys.filter((_, number) => number % 10 !== 0).map((key) => backends.objects.delete(key)));
    const { octetsBefore, octetsAfter } = await backends.compact();
    const live = kept.length * octets;
    assert.ok(octetsBefore > 40 * MIB, `${octetsBefore} octets before`);
    assert.ok(octetsAfter < 2 * live, `${octetsAfter} octets for ${live}`);
    const sizes = readdirSync(directory.path, { recursive: true, encoding: 'utf8' })
      .filter((file) => !file.startsWith('reserve') && file !== 'messages')
      .map((file) => statSync(join(directory.path, file)).size);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    assert.ok(total < 2 * live, `${total} octets in the directory for ${live}`);
    for (const key of kept) {
      assert.equal((await backends.objects.get(key))?.size, octets);
    }
  });
});
