/** The index of messages is repaired, at a start or while it serves: nothing is lost, nothing comes back. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { copyFileSync, renameSync } from 'node:fs';
import { open as openFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { type LocalBackends, openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import { replaceCall, systemError } from '../../support/failing-calls.ts';
import { keysOf, temporaryDirectory } from '../../support/local-backends.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const PAGE = 8192;
const TABLE_LEAF = 13;
const clock = new ManualClock();
const expiry = clock.now() + 1e9;

function open(directory: string): Promise<LocalBackends> {
  return openLocalBackends({ directory, clock, random: randomBytes });
}

class TestLog {
  readonly messages: string[] = [];
  warn(_details: object, message: string): void {
    this.messages.push(message);
  }
  error(_details: object, message: string): void {
    this.messages.push(message);
  }
}

/** Spoils the page that holds an entry, and gives the rows on it up. */
async function spoilPageOf(directory: string, key: string): Promise<void> {
  const path = join(directory, 'objects.sqlite');
  const database = new DatabaseSync(path);
  database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  database.close();
  await using file = await openFile(path, 'r+');
  const pages = (await stat(path)).size / PAGE;
  const octets = Buffer.alloc(PAGE);
  for (let page = 1; page < pages; page++) {
    await file.read(octets, 0, PAGE, page * PAGE);
    if (octets[0] === TABLE_LEAF && octets.includes(`"${key}"`)) {
      await file.write(Buffer.alloc(64, 0xff), 0, 64, page * PAGE);
      return;
    }
  }
  assert.fail(`no page has ${key}`);
}

/** An index that is too large to be checked before it is opened. */
async function largeIndex(): Promise<{ directory: Awaited<ReturnType<typeof temporaryDirectory>>; keys: string[] }> {
  const directory = await temporaryDirectory();
  await using backends = await open(directory.path);
  const keys = Array.from({ length: 16_000 }, (_, number) => `m/a/${number}`);
  for (let start = 0; start < keys.length; start += 1000) {
    await Promise.all(
      keys.slice(start, start + 1000).map((key) => {
        const metadata = { parcel: key, more: 'x'.repeat(900) };
        return backends.objects.put(key, Buffer.from(key), { expiry, metadata });
      }),
    );
  }
  await backends.examine();
  assert.ok((await stat(join(directory.path, 'objects.sqlite'))).size > 16 * 1024 * 1024);
  return { directory, keys: keys.sort() };
}

test('A damaged page that is found while messages are read costs none of them', async () => {
  const { directory, keys } = await largeIndex();
  await using _directory = directory;
  await spoilPageOf(directory.path, 'm/a/8000');
  {
    await using backends = await open(directory.path);
    // Whoever reads while the index is brought up again waits for it, and no message is taken for gone.
    const some = keys.filter((_, index) => index % 7 === 0);
    const read = await Promise.all(some.map((key) => backends.objects.get(key)));
    assert.deepEqual(
      read.map((stored) => stored?.body.toString()),
      some,
    );
    assert.equal(await backends.objects.delete('m/a/8000'), true);
  }
  for (let start = 0; start < 2; start++) {
    await using backends = await open(directory.path);
    assert.deepEqual(
      await keysOf(backends),
      keys.filter((key) => key !== 'm/a/8000'),
    );
  }
});

test('A repaired index that cannot be opened yet is opened by a later read, and the gateway lives on', async () => {
  const { directory, keys } = await largeIndex();
  await using _directory = directory;
  await spoilPageOf(directory.path, 'm/a/8000');
  await using backends = await open(directory.path);
  const path = join(directory.path, 'objects.sqlite');
  let refused = 0;
  {
    using _ = replaceCall('existsSync', (original) => (file: string) => {
      refused += file === path ? 1 : 0;
      return file !== path && original(file);
    });
    await assert.rejects(backends.objects.get('m/a/8000'), { name: 'StoreError', code: 'STORE_AWAY' });
  }
  assert.ok(refused > 0);
  assert.deepEqual(await keysOf(backends), keys);
});

test('A rebuild of the index that fails while it serves is tried again until it is done', async () => {
  const { directory, keys } = await largeIndex();
  await using _directory = directory;
  await spoilPageOf(directory.path, 'm/a/8000');
  const log = new TestLog();
  await using backends = await openLocalBackends({ directory: directory.path, clock, random: randomBytes, log });
  const messages = join(directory.path, 'messages');
  let refusals = 2;
  using _ = replaceCall('openSync', (original) => (...[file, ...rest]: Parameters<typeof original>) => {
    if (refusals > 0 && `${file}`.startsWith(messages)) {
      refusals--;
      throw systemError('EMFILE');
    }
    return original(file, ...rest);
  });
  // Whoever asks while it fails waits until it is done.
  const read = await Promise.all(keys.map((key) => backends.objects.find(key)));
  assert.deepEqual(
    read.map((entry) => entry?.key),
    keys,
  );
  assert.equal(refusals, 0);
  assert.equal(log.messages.filter((message) => message === 'The index cannot be rebuilt').length, 2);
  assert.deepEqual(await keysOf(backends), keys);
});

test('A repair that is killed between its two renames is finished by the next start', async () => {
  await using directory = await temporaryDirectory();
  {
    await using backends = await open(directory.path);
    await backends.objects.put('m/a/1', Buffer.from('x'), { expiry });
    await backends.records.put('configuration', 'a', { n: 1 });
  }
  for (const name of ['objects.sqlite', 'records.sqlite']) {
    const path = join(directory.path, name);
    copyFileSync(path, `${path}.repaired`);
    renameSync(path, `${path}.damaged-1`);
  }
  await using backends = await open(directory.path);
  assert.deepEqual(await keysOf(backends), ['m/a/1']);
  assert.deepEqual((await backends.records.get('configuration', 'a'))?.fields, { n: 1 });
});

test('Versions go on growing after the newest message is gone from index and log, and the clock was set back', async () => {
  await using directory = await temporaryDirectory();
  const { objects, ...first } = await open(directory.path);
  const newest = await objects.put('m/a/1', Buffer.from('x'), { expiry });
  await objects.delete('m/a/1');
  await first.compact();
  await first[Symbol.asyncDispose]();
  // Its first page: the index is repaired at the start.
  await using file = await openFile(join(directory.path, 'objects.sqlite'), 'r+');
  await file.write(Buffer.alloc(100, 0xff), 0, 100, 0);
  await file.close();
  clock.advance(-60_000);
  await using backends = await open(directory.path);
  const next = await backends.objects.put('m/a/1', Buffer.from('y'), { expiry });
  assert.ok(next.arrival > newest.arrival, `${next.arrival} after ${newest.arrival}`);
});
