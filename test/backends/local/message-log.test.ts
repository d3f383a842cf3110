/** The log of messages: what a killed process and a failed power supply leave behind, and how room comes back. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { open as openFile, readdir, readFile, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { suite, test } from 'node:test';
import { type LocalBackends, openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import { PUT, writeRecordHead } from '../../../src/backends/local/log-records.ts';
import { copyOf, keysOf, temporaryDirectory } from '../../support/local-backends.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const clock = new ManualClock();
const expiry = clock.now() + 1e9;

class Warnings {
  readonly messages: string[] = [];
  warn(_details: object, message: string): void {
    this.messages.push(message);
  }
  error(_details: object, message: string): void {
    this.messages.push(message);
  }
}

function open(directory: string, log?: Warnings): Promise<LocalBackends> {
  return openLocalBackends({ directory, clock, random: randomBytes, log });
}

async function newestSegment(directory: string): Promise<string> {
  const names = (await readdir(join(directory, 'messages'))).sort();
  return join(directory, 'messages', names.at(-1) as string);
}

suite('After a kill', () => {
  test('the log has what the index does not have yet: puts, replacements and deletions', async () => {
    await using directory = await temporaryDirectory();
    await using running = await open(directory.path);
    const body = randomBytes(3000);
    await running.objects.put('m/a/1', body, { expiry, metadata: { parcel: 'p' } });
    await running.objects.put('m/a/2', Buffer.from('before'), { expiry });
    await running.objects.put('m/a/2', Buffer.from('after'), { expiry });
    await running.objects.put('m/a/3', Buffer.from('gone'), { expiry });
    await running.objects.delete('m/a/3');
    await using copy = await copyOf(directory.path);
    const index = new DatabaseSync(join(copy.path, 'objects.sqlite'));
    assert.equal(index.prepare('SELECT count(*) AS rows FROM entries').get()?.['rows'], 0, 'nothing is indexed yet');
    index.close();
    const log = new Warnings();
    await using backends = await open(copy.path, log);
    assert.deepEqual(await keysOf(backends), ['m/a/1', 'm/a/2']);
    const first = await backends.objects.get('m/a/1');
    assert.ok(first?.body.equals(body));
    assert.deepEqual(first?.metadata, { parcel: 'p' });
    assert.equal((await backends.objects.get('m/a/2'))?.body.toString(), 'after');
    assert.deepEqual(log.messages, []);
  });

  test('a record that was not written to its end is left out, and the next ones are kept', async () => {
    await using directory = await temporaryDirectory();
    await using running = await open(directory.path);
    await running.objects.put('m/a/1', randomBytes(2000), { expiry });
    await running.objects.put('m/a/2', randomBytes(2000), { expiry });
    await using killed = await copyOf(directory.path);
    const whole = (await stat(await newestSegment(killed.path))).size;
    for (const missing of [1, 1000, 1999, 2050]) {
      await using copy = await copyOf(killed.path);
      await truncate(await newestSegment(copy.path), whole - missing);
      {
        await using backends = await open(copy.path);
        assert.deepEqual(await keysOf(backends), ['m/a/1'], `${missing} octets are missing`);
        await backends.objects.put('m/a/3', Buffer.from('later'), { expiry });
      }
      await using again = await open(copy.path);
      assert.deepEqual(await keysOf(again), ['m/a/1', 'm/a/3']);
      assert.equal((await again.objects.get('m/a/3'))?.body.toString(), 'later');
    }
  });

  test('a record whose octets came to the disk in part only is left out', async () => {
    await using directory = await temporaryDirectory();
    await using running = await open(directory.path);
    await running.objects.put('m/a/1', Buffer.alloc(9000, 'first'), { expiry });
    await running.objects.put('m/a/2', Buffer.alloc(9000, 'second'), { expiry });
    await using copy = await copyOf(directory.path);
    const segment = await newestSegment(copy.path);
    const octets = await readFile(segment);
    const hole = octets.indexOf('second') + 4096;
    await using file = await openFile(segment, 'r+');
    await file.write(Buffer.alloc(4096), 0, 4096, hole);
    await using backends = await open(copy.path);
    assert.deepEqual(await keysOf(backends), ['m/a/1']);
    assert.equal(backends.damaged, 0, 'it was never acknowledged, so nothing is lost');
  });

  test('an index that lost its last commits with the power is brought up again', async () => {
    await using directory = await temporaryDirectory();
    await using running = await open(directory.path);
    await Promise.all(
      Array.from({ length: 50 }, (_, index) => running.objects.put(`m/a/${index}`, randomBytes(500), { expiry })),
    );
    await running.examine();
    await running.objects.delete('m/a/7');
    await running.examine();
    await using copy = await copyOf(directory.path);
    // Commits that were not yet emptied into the file.
    await rm(join(copy.path, 'objects.sqlite-wal'));
    await rm(join(copy.path, 'objects.sqlite-shm'), { force: true });
    await using backends = await open(copy.path);
    assert.equal((await keysOf(backends)).length, 49);
    assert.equal(await backends.objects.get('m/a/7'), undefined);
  });

  test('what a stranger put into a message does not pass for a record where the log is damaged', async () => {
    await using directory = await temporaryDirectory();
    await using running = await open(directory.path);
    const body = Buffer.from('evil');
    const head = JSON.stringify([PUT, 1, 'm/b/forged', expiry, body.length, '{}', 0, 0]);
    const forged = Buffer.concat([writeRecordHead(head, body.length), body]);
    const segment = await newestSegment(directory.path).catch(() => undefined);
    assert.equal(segment, undefined, 'there is no segment before the first message');
    await running.objects.put('m/a/1', Buffer.concat([randomBytes(100), forged, randomBytes(100)]), { expiry });
    await running.objects.put('m/a/2', Buffer.from('next'), { expiry });
    await using copy = await copyOf(directory.path);
    const file = await newestSegment(copy.path);
    await using handle = await openFile(file, 'r+');
    // The marker of the first record: its length is not to be trusted any more.
    await handle.write(Buffer.alloc(8), 0, 8, 16);
    const log = new Warnings();
    await using backends = await open(copy.path, log);
    assert.deepEqual(await keysOf(backends), ['m/a/2']);
    assert.deepEqual(log.messages, ['Octets of the log of messages cannot be read']);
  });
});

suite('A log that is shorter than the index', () => {
  test('takes new messages behind the place that the index has, so that a kill loses none', async () => {
    await using directory = await temporaryDirectory();
    {
      await using backends = await open(directory.path);
      await backends.objects.put('m/a/1', randomBytes(3000), { expiry });
      await backends.objects.put('m/a/2', randomBytes(3000), { expiry });
    }
    // What the disk had not kept of the newest segment, though the index knows of it.
    const segment = await newestSegment(directory.path);
    await truncate(segment, (await stat(segment)).size - 1000);
    await using running = await open(directory.path);
    await running.objects.put('m/a/3', Buffer.from('acknowledged'), { expiry });
    await using copy = await copyOf(directory.path);
    await using backends = await open(copy.path);
    assert.equal((await backends.objects.get('m/a/3'))?.body.toString(), 'acknowledged');
    assert.ok(await backends.objects.get('m/a/1'));
  });
});

suite('While the index follows the log', () => {
  test('a list tells each object once, whether it is indexed, changed since, or both meanwhile', async () => {
    await using directory = await temporaryDirectory();
    await using backends = await open(directory.path);
    const { objects } = backends;
    const keys = Array.from({ length: 700 }, (_, index) => `mailboxes/a/${String(index).padStart(3, '0')}`);
    await Promise.all(keys.map((key) => objects.put(key, Buffer.from('old'), { expiry })));
    await backends.examine();
    const recent = ['mailboxes/a/000', 'mailboxes/a/699', 'mailboxes/a/new'];
    await Promise.all(recent.map((key) => objects.put(key, Buffer.from('new'), { expiry })));
    await objects.delete('mailboxes/a/350');
    const listed: string[] = [];
    for await (const { key } of objects.list('mailboxes/a/')) {
      listed.push(key);
      if (listed.length === 10) {
        // All that was in memory is in the index from here on.
        await backends.examine();
        await objects.put('mailboxes/a/600', Buffer.from('newer'), { expiry });
      }
    }
    const expected = [...keys.filter((key) => key !== 'mailboxes/a/350'), 'mailboxes/a/new'];
    assert.deepEqual(listed.sort(), expected.sort());
    for (const prefix of ['mailboxes/', 'mailboxes/a', 'mailboxes/a/69', '']) {
      const own = expected.filter((key) => key.startsWith(prefix));
      assert.deepEqual(await keysOf(backends, prefix), own.sort(), prefix);
    }
  });

  test('what is put and deleted meanwhile never comes into it', async () => {
    await using directory = await temporaryDirectory();
    await using backends = await open(directory.path);
    const { objects } = backends;
    await objects.put('m/a/kept', Buffer.from('x'), { expiry });
    await objects.put('m/a/replaced', Buffer.from('old'), { expiry });
    await backends.examine();
    await objects.put('m/a/brief', Buffer.from('x'), { expiry });
    await objects.put('m/a/replaced', Buffer.from('new'), { expiry });
    await Promise.all([objects.delete('m/a/brief'), objects.delete('m/a/replaced')]);
    await backends.examine();
    assert.deepEqual(await keysOf(backends), ['m/a/kept']);
    const index = new DatabaseSync(join(directory.path, 'objects.sqlite'), { readOnly: true });
    assert.deepEqual(
      index
        .prepare('SELECT key FROM entries')
        .all()
        .map(({ key }) => key),
      ['m/a/kept'],
    );
    index.close();
  });
});
