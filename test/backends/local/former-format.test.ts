/** A data directory that a program of format 1 has written: bodies lay in SQLite. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open as openFile, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { checksum } from '../../../src/backends/local/checksum.ts';
import { type LocalBackends, openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import { temporaryDirectory } from '../../support/local-backends.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const clock = new ManualClock();
const expiry = clock.now() + 1e9;

/** As programs of format 1 made it. */
const TABLES = `
  PRAGMA page_size = 8192;
  PRAGMA auto_vacuum = INCREMENTAL;
  PRAGMA journal_mode = WAL;
  PRAGMA recursive_triggers = ON;
  CREATE TABLE entries (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, expiry INTEGER NOT NULL, size INTEGER NOT NULL,
    metadata TEXT NOT NULL, body_checksum INTEGER NOT NULL, checksum INTEGER NOT NULL
  );
  CREATE UNIQUE INDEX entries_by_key ON entries (key);
  CREATE INDEX entries_by_expiry ON entries (expiry);
  CREATE TABLE bodies (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
  CREATE TRIGGER bodies_go_with_entries AFTER DELETE ON entries BEGIN
    DELETE FROM bodies WHERE id = old.id;
  END;
  CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, found INTEGER NOT NULL, reason TEXT NOT NULL, entry TEXT, body BLOB
  );
  CREATE TABLE ticks (id INTEGER PRIMARY KEY, last INTEGER NOT NULL);
  CREATE TRIGGER ticks_outlast_rows AFTER DELETE ON entries BEGIN
    INSERT INTO ticks (id, last) SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM ticks);
    UPDATE ticks SET last = old.id WHERE last < old.id;
  END;
`;

function open(directory: string): Promise<LocalBackends> {
  return openLocalBackends({ directory, clock, random: randomBytes });
}

async function formerDirectory(bodies: ReadonlyMap<string, Buffer>): ReturnType<typeof temporaryDirectory> {
  const directory = await temporaryDirectory();
  await (await open(directory.path))[Symbol.asyncDispose]();
  await rm(join(directory.path, 'messages'), { recursive: true });
  const path = join(directory.path, 'objects.sqlite');
  await writeFile(path, '');
  const database = new DatabaseSync(path);
  database.exec(TABLES);
  const entry = database.prepare('INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)');
  const body = database.prepare('INSERT INTO bodies VALUES (?, ?)');
  let id = Math.floor(clock.now() * 1024);
  for (const [key, octets] of bodies) {
    const columns = [++id, key, expiry, octets.length, '{"parcel":"p"}', checksum(octets)] as const;
    entry.run(...columns, checksum(...columns));
    body.run(id, octets);
  }
  database.close();
  const format = join(directory.path, 'format.json');
  await writeFile(format, (await readFile(format, 'utf8')).replace('"format":2', '"format":1'));
  return directory;
}

test('A directory of format 1 is taken over: its messages are served, replaced, deleted and examined', async () => {
  const bodies = new Map(Array.from({ length: 300 }, (_, number) => [`mailboxes/a/${number}`, randomBytes(2000)]));
  await using directory = await formerDirectory(bodies);
  {
    await using backends = await open(directory.path);
    const { objects } = backends;
    const entries = await Array.fromAsync(objects.list('mailboxes/a/'));
    assert.deepEqual(entries.map(({ key }) => key).sort(), [...bodies.keys()].sort());
    for (const entry of entries) {
      assert.ok((await objects.get(entry.key, entry))?.body.equals(bodies.get(entry.key) as Buffer), entry.key);
    }
    assert.deepEqual((await objects.get('mailboxes/a/1'))?.metadata, { parcel: 'p' });
    const newer = await objects.put('mailboxes/a/2', Buffer.from('newer'), { expiry });
    assert.ok(newer.arrival > Math.max(...entries.map(({ arrival }) => arrival)));
    assert.equal(await objects.delete('mailboxes/a/3'), true);
    const found = await backends.examine();
    assert.deepEqual([found.objects, found.damaged, found.orphanedBodies, found.faults], [299, 0, 0, []]);
    await backends.compact();
  }
  assert.match(await readFile(join(directory.path, 'format.json'), 'utf8'), /"format":2/);
  await using again = await open(directory.path);
  assert.equal((await again.objects.get('mailboxes/a/2'))?.body.toString(), 'newer');
  assert.equal(await again.objects.get('mailboxes/a/3'), undefined);
  assert.ok((await again.objects.get('mailboxes/a/4'))?.body.equals(bodies.get('mailboxes/a/4') as Buffer));
});

test('Its file is still repaired when its first page is lost, before and after', async () => {
  const bodies = new Map(Array.from({ length: 200 }, (_, number) => [`mailboxes/a/${number}`, randomBytes(2000)]));
  await using directory = await formerDirectory(bodies);
  for (const round of ['as it was', 'taken over']) {
    await using file = await openFile(join(directory.path, 'objects.sqlite'), 'r+');
    await file.write(Buffer.alloc(8192), 0, 8192, 0);
    await using backends = await open(directory.path);
    for (const [key, body] of bodies) {
      assert.ok((await backends.objects.get(key))?.body.equals(body), `${key}, ${round}`);
    }
    const added = `mailboxes/b/${round}`;
    await backends.objects.put(added, Buffer.from(round), { expiry });
    bodies.set(added, Buffer.from(round));
    assert.ok(existsSync(join(directory.path, 'objects.sqlite.damaged-1')));
  }
});
