/** A disk that fails where the log of messages lies: what it does not give is passed over and kept, and the rest goes on. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { open as openFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { type LocalBackends, openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import { fileOf, replaceCall, systemError, unreadableOctets } from '../../support/failing-calls.ts';
import { copyOf, temporaryDirectory } from '../../support/local-backends.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const clock = new ManualClock();
const expiry = clock.now() + 1e9;
const COUNT = 150;
const BODY_OCTETS = 6000;
const keys = Array.from({ length: COUNT }, (_, index) => `m/a/${String(index).padStart(3, '0')}`);
const bodies = new Map(keys.map((key) => [key, Buffer.alloc(BODY_OCTETS, `${key}.`)]));

class TestLog {
  readonly errors: string[] = [];
  warn(): void {}
  error(_details: object, message: string): void {
    this.errors.push(message);
  }
}

const LEFT = 'The disk does not give what is stored: it is passed over, and left where it is';

function open(directory: string, log?: TestLog): Promise<LocalBackends> {
  return openLocalBackends({ directory, clock, random: randomBytes, log });
}

/** Messages in the log, of which the index knows nothing. */
async function notIndexed(
  more: (running: LocalBackends) => Promise<void> = async () => {},
): ReturnType<typeof temporaryDirectory> {
  await using directory = await temporaryDirectory();
  await using running = await open(directory.path);
  await Promise.all(keys.map((key) => running.objects.put(key, bodies.get(key) as Buffer, { expiry })));
  await more(running);
  const copy = await copyOf(directory.path);
  for (const file of ['', '-wal', '-shm']) {
    await rm(join(copy.path, `objects.sqlite${file}`), { force: true });
  }
  await writeFile(join(copy.path, 'objects.sqlite'), '', { mode: 0o600 });
  return copy;
}

function firstSegment(directory: string): string {
  return join(realpathSync(directory), 'messages', '00000001.log');
}

/** Where a body begins in a segment. */
function positionOf(segment: string, key: string): number {
  return readFileSync(segment).indexOf(bodies.get(key) as Buffer);
}

async function assertServes(backends: LocalBackends, expected: readonly string[]): Promise<void> {
  const listed = await Array.fromAsync(backends.objects.list('m/'));
  const each = await Promise.all(keys.map((key) => backends.objects.get(key)));
  const together = (await backends.objects.getAll?.(listed)) ?? [];
  for (const read of [each, together]) {
    const served = read.filter((stored) => stored !== undefined);
    assert.deepEqual(served.map(({ key }) => key).sort(), [...expected]);
    for (const { key, body } of served) {
      assert.ok(body.equals(bodies.get(key) as Buffer), key);
    }
  }
}

suite('Octets of the log that the disk does not give at a start', () => {
  for (const { what, from, octets } of [
    { what: 'a head', from: -60, octets: 10 },
    { what: 'a body', from: 1000, octets: 10 },
    { what: 'heads and bodies', from: -60, octets: 5 * BODY_OCTETS },
    { what: 'more than is looked at in one go', from: -60, octets: 60 * BODY_OCTETS },
  ]) {
    test(`cost what lies there until they can be read again, and nothing else: ${what}`, async () => {
      await using directory = await notIndexed();
      const segment = firstSegment(directory.path);
      const position = positionOf(segment, 'm/a/010') + from;
      let served: string[] = [];
      {
        using _ = unreadableOctets(segment, position, position + octets);
        for (let start = 0; start < 2; start++) {
          const log = new TestLog();
          await using backends = await open(directory.path, log);
          served = await readable(backends);
          assert.deepEqual(served.slice(0, 10), keys.slice(0, 10));
          assert.ok(!served.includes('m/a/010'));
          // A block of the disk is lost as a whole, and of many in a row twice as much.
          assert.ok(COUNT - served.length <= 2 + (2 * octets) / BODY_OCTETS, `${served.length} are served`);
          await assertServes(backends, served);
          assert.ok(backends.damaged > 0);
          assert.deepEqual(log.errors, Array(backends.damaged).fill(LEFT));
        }
        // All else leaves, and still nothing of what may come back is removed.
        await using backends = await open(directory.path);
        await Promise.all(served.map((key) => backends.objects.delete(key)));
        await backends.compact();
        await backends.objects.put('n/new', Buffer.from('new'), { expiry });
        await backends.compact();
        assert.ok(readdirSync(join(directory.path, 'messages')).includes('00000001.log'));
      }
      for (let start = 0; start < 2; start++) {
        await using backends = await open(directory.path);
        const back = keys.filter((key) => !served.includes(key));
        await assertServes(backends, back);
        assert.equal((await backends.objects.get('n/new'))?.body.toString(), 'new');
        assert.equal(backends.damaged, 0);
        await Promise.all(back.map((key) => backends.objects.delete(key)));
        served = keys;
      }
      await using backends = await open(directory.path);
      await backends.compact();
      assert.ok(!readdirSync(join(directory.path, 'messages')).includes('00000001.log'), 'its room comes back');
    });
  }
});

test('What comes back does not undo what the log tells of it further on', async () => {
  const [replaced, deleted, kept] = ['m/a/000', 'm/a/001', 'm/a/002'] as const;
  await using directory = await notIndexed(async ({ objects }) => {
    await objects.put(replaced, Buffer.from('newer'), { expiry });
    await objects.delete(deleted);
  });
  const segment = firstSegment(directory.path);
  {
    using _ = unreadableOctets(segment, positionOf(segment, replaced) - 60, positionOf(segment, kept) + 1);
    await using backends = await open(directory.path);
    assert.equal((await backends.objects.get(replaced))?.body.toString(), 'newer');
    assert.deepEqual(await Promise.all([deleted, kept].map((key) => backends.objects.find(key))), [
      undefined,
      undefined,
    ]);
  }
  for (let start = 0; start < 2; start++) {
    await using backends = await open(directory.path);
    assert.equal((await backends.objects.get(replaced))?.body.toString(), 'newer');
    assert.equal(await backends.objects.get(deleted), undefined);
    assert.ok((await backends.objects.get(kept))?.body.equals(bodies.get(kept) as Buffer));
  }
});

for (const [what, isOnDisk] of Object.entries({ 'cannot be read': false, 'are damaged': true })) {
  test(`A segment whose first octets ${what} stays, and its messages come back with them`, async () => {
    await using directory = await notIndexed();
    const segment = firstSegment(directory.path);
    await using file = await openFile(segment, 'r+');
    const first = Buffer.alloc(1);
    await file.read(first, 0, 1, 0);
    {
      using _ = isOnDisk ? undefined : unreadableOctets(segment, 0, 1);
      await file.write(isOnDisk ? Buffer.from('x') : first, 0, 1, 0);
      clock.advance(1);
      await using backends = await open(directory.path);
      await assertServes(backends, []);
      assert.equal(backends.damaged, 1);
      await backends.objects.put('n/new', Buffer.from('new'), { expiry });
      await backends.compact();
    }
    await file.write(first, 0, 1, 0);
    for (let start = 0; start < 2; start++) {
      await using backends = await open(directory.path);
      await assertServes(backends, keys);
      assert.equal((await backends.objects.get('n/new'))?.body.toString(), 'new');
      assert.equal(backends.damaged, 0);
    }
  });
}

test('Bodies that the disk does not give while it serves are passed over, not asked for all the time, and come back', async () => {
  await using directory = await temporaryDirectory();
  await using backends = await open(directory.path);
  const { objects } = backends;
  const sizes = { 'm/small': 2000, 'm/large': 200_000, 'm/other': 2000, 'm/dead': 500_000 };
  for (const [key, size] of Object.entries(sizes)) {
    await objects.put(key, Buffer.alloc(size, key), { expiry });
  }
  await objects.delete('m/dead');
  await backends.examine();
  const segment = firstSegment(directory.path);
  const octets = readFileSync(segment);
  const listed = await Array.fromAsync(objects.list('m/'));
  const served = async () => {
    const together = (await objects.getAll?.(listed)) ?? [];
    const each = await Promise.all(Object.keys(sizes).map((key) => objects.get(key)));
    const found = [each, together].map((all) => all.flatMap((stored) => stored?.key ?? []).sort());
    assert.deepEqual(found[0], found[1]);
    return found[0];
  };
  {
    const small = octets.indexOf('m/smallm/small') + 1000;
    const large = octets.indexOf('m/largem/large') + 100_000;
    using _small = unreadableOctets(segment, small, small + 1);
    using _large = unreadableOctets(segment, large, large + 1);
    assert.deepEqual(await served(), ['m/other']);
    assert.equal(backends.damaged, 2);
    {
      using _ = replaceCall('readSync', (original) => (...parameters: [number, Buffer, number, number, number]) => {
        assert.notEqual(parameters[4], small, 'it is tried again');
        return original(...parameters);
      });
      assert.deepEqual(await served(), ['m/other']);
    }
    // Most of the segment is dead, but what may come back stays.
    await backends.compact();
    await backends.housekeeping();
    clock.advance(60_000);
    assert.deepEqual(await served(), ['m/other']);
    assert.equal(backends.damaged, 2, 'each is counted once');
    assert.deepEqual((await Array.fromAsync(objects.list('m/'))).length, 3);
  }
  clock.advance(60_000);
  assert.deepEqual(await served(), ['m/large', 'm/other', 'm/small']);
  await backends.compact();
  assert.ok(!readdirSync(join(directory.path, 'messages')).includes('00000001.log'));
  assert.deepEqual(await served(), ['m/large', 'm/other', 'm/small']);
});

suite('A write to the log that the disk does not make durable', () => {
  for (const { failures, what } of [
    { failures: 1, what: 'but what undoes it' },
    { failures: 2, what: 'nor what is to undo it' },
  ]) {
    test(`is refused, ends its segment, and loses nothing that was acknowledged: ${what}`, async () => {
      await using directory = await temporaryDirectory();
      await using backends = await open(directory.path);
      const { objects } = backends;
      const put = (key: string) => objects.put(key, Buffer.from(key), { expiry });
      await put('m/before');
      await put('m/replaced');
      {
        let left = 0;
        using _ = replaceCall('fdatasync', (original) => (...[fd, done]: Parameters<typeof original>) => {
          if (left > 0 && fileOf(fd).includes('/messages/')) {
            left--;
            done(systemError('EIO'));
          } else {
            original(fd, done);
          }
        });
        for (const attempt of [() => put('m/refused'), () => put('m/replaced'), () => objects.delete('m/before')]) {
          left = failures;
          await assert.rejects(attempt, { code: 'STORE_AWAY' });
        }
        assert.equal(await objects.get('m/refused'), undefined);
        assert.ok(await objects.get('m/before'), 'it was not deleted');
      }
      await Promise.all([put('m/later'), put('m/latest')]);
      const segments = readdirSync(join(directory.path, 'messages'));
      assert.deepEqual(segments.sort(), ['00000001.log', '00000002.log']);
      await using copy = await copyOf(directory.path);
      for (const one of [backends, await open(copy.path)]) {
        await using _ = one === backends ? undefined : one;
        const found = (await Array.fromAsync(one.objects.list('m/'))).map(({ key }) => key).sort();
        assert.deepEqual(found, ['m/before', 'm/later', 'm/latest', 'm/replaced']);
        for (const key of found) {
          assert.equal((await one.objects.get(key))?.body.toString(), key);
        }
      }
    });
  }

  test('leaves a new segment behind that cannot even be removed, and the next one is made beside it', async () => {
    await using directory = await temporaryDirectory();
    await using backends = await open(directory.path);
    const put = (key: string) => backends.objects.put(key, Buffer.from(key), { expiry });
    {
      using _sync = replaceCall('fdatasync', () => (_fd: number, done: (error: Error) => void) => {
        done(systemError('EIO'));
      });
      using _remove = replaceCall('rmSync', () => () => {
        throw systemError('EIO');
      });
      await assert.rejects(put('m/refused'), { code: 'STORE_AWAY' });
    }
    await put('m/later');
    assert.deepEqual(readdirSync(join(directory.path, 'messages')).sort(), ['00000001.log', '00000002.log']);
    await using copy = await copyOf(directory.path);
    const log = new TestLog();
    await using again = await open(copy.path, log);
    assert.equal((await again.objects.get('m/later'))?.body.toString(), 'm/later');
    assert.deepEqual([again.damaged, log.errors], [0, []]);
  });
});

test('What a kill left of a segment that was being made is nothing to be told of', async () => {
  await using directory = await notIndexed();
  writeFileSync(join(directory.path, 'messages', '00000002.log'), 'mess');
  const lines: string[] = [];
  const log = {
    warn: (_: object, line: string) => lines.push(line),
    error: (_: object, line: string) => lines.push(line),
  };
  await using backends = await openLocalBackends({ directory: directory.path, clock, random: randomBytes, log });
  await assertServes(backends, keys);
  await backends.objects.put('n/new', Buffer.from('new'), { expiry });
  assert.deepEqual(lines, []);
});

async function readable(backends: LocalBackends): Promise<string[]> {
  const all = await Promise.all(keys.map((key) => backends.objects.get(key)));
  return all.flatMap((stored) => stored?.key ?? []);
}
