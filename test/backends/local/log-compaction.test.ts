/** The log of messages gives the room of deleted messages back, and loses none of the others. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { open as openFile, readdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { DataDirectory } from '../../../src/backends/local/directory.ts';
import { type LocalBackends, openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import { compactLog } from '../../../src/backends/local/log-compaction.ts';
import { MOVE } from '../../../src/backends/local/log-records.ts';
import { MessageLog } from '../../../src/backends/local/message-log.ts';
import { LocalObjectStore } from '../../../src/backends/local/object-store.ts';
import { Quarantine } from '../../../src/backends/local/quarantine.ts';
import { readSegment } from '../../../src/backends/local/segment-reader.ts';
import { StoreFiles } from '../../../src/backends/local/store-files.ts';
import { copyOf, keysOf, temporaryDirectory } from '../../support/local-backends.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { needsSmallVolume, smallVolume } from '../../support/small-volume.ts';

const clock = new ManualClock();
const expiry = clock.now() + 1e9;
const MIB = 1024 * 1024;

function open(directory: string): Promise<LocalBackends> {
  return openLocalBackends({ directory, clock, random: randomBytes });
}

suite('Compaction of the log', () => {
  test('moves what is alive while it is read, replaced and deleted, and loses nothing', async () => {
    await using directory = await temporaryDirectory();
    const expected = new Map<string, Buffer>();
    {
      await using backends = await open(directory.path);
      const { objects } = backends;
      const keys = Array.from({ length: 3000 }, (_, index) => `m/${index % 5}/${index}`);
      for (let start = 0; start < keys.length; start += 500) {
        await Promise.all(
          keys.slice(start, start + 500).map(async (key) => {
            const body = randomBytes(12_000);
            expected.set(key, body);
            await objects.put(key, body, { expiry });
          }),
        );
      }
      const dead = keys.filter((_, index) => index % 4 !== 0);
      await Promise.all(dead.map((key) => objects.delete(key)));
      for (const key of dead) {
        expected.delete(key);
      }
      let isDone = false;
      const compaction = backends.compact().finally(() => {
        isDone = true;
      });
      const left = [...expected.keys()];
      for (let turn = 0; !isDone || turn < 50; turn++) {
        const [read, replaced, deleted] = [turn, turn * 7 + 1, turn * 11 + 2].map(
          (at) => left[at % left.length] as string,
        );
        const before = expected.get(read as string);
        const stored = await objects.get(read as string);
        assert.equal(stored?.body.equals(before as Buffer) ?? false, before !== undefined, `${read}`);
        const body = randomBytes(500);
        await objects.put(replaced as string, body, { expiry });
        expected.set(replaced as string, body);
        if (deleted !== replaced) {
          await objects.delete(deleted as string);
          expected.delete(deleted as string);
        }
      }
      await compaction;
      await assertHas(backends, expected);
      const { octetsAfter } = await backends.compact();
      assert.ok(octetsAfter < 12 * MIB, `${octetsAfter} octets`);
      await assertHas(backends, expected);
    }
    await using copy = await copyOf(directory.path);
    await using reopened = await open(copy.path);
    await assertHas(reopened, expected);
    assert.equal(reopened.damaged, 0);
  });

  test('moves each message once, however many ask for it at once', async () => {
    await using directory = await temporaryDirectory();
    await using backends = await open(directory.path);
    const keys = Array.from({ length: 400 }, (_, index) => `m/a/${index}`);
    await Promise.all(keys.map((key) => backends.objects.put(key, Buffer.alloc(2000, key), { expiry })));
    const kept = keys.filter((_, index) => index % 4 === 0);
    await Promise.all(keys.filter((key) => !kept.includes(key)).map((key) => backends.objects.delete(key)));
    await Promise.all([backends.compact(), backends.housekeeping(), backends.compact()]);
    assert.deepEqual(await movedKeys(directory.path), [...kept].sort());
  });

  test('leaves a segment alone that comes alive and into the index between two of its looks', async () => {
    await using directory = await temporaryDirectory();
    const data = await DataDirectory.open(directory.path, randomBytes);
    const report = { warn() {}, error() {} };
    const places = { directory: data.path, reserve: data.reserveFile, files: data.storeFiles };
    const files = await StoreFiles.open(places, report);
    const log = new MessageLog(data.messages, { random: randomBytes, room: files });
    const quarantine = new Quarantine({ files, log: report, clock });
    const objects = await LocalObjectStore.open({ files, log, quarantine, clock, report });
    let count = 0;
    const arrive = async () => {
      await objects.put(`m/a/${count++}`, Buffer.from('acknowledged'), { expiry });
      await log.seal();
      await objects.feed.flush();
    };
    // Whatever the compaction asks of the index, something comes before and something after the answer.
    const busyFiles = new Proxy(files, {
      get(target, name: keyof StoreFiles) {
        const value = target[name];
        return typeof value !== 'function'
          ? value
          : async (...parameters: never[]) => {
              await arrive();
              const result = await (value as (...all: never[]) => unknown).apply(target, parameters);
              await arrive();
              return result;
            };
      },
    });
    await objects.put('m/dead', Buffer.from('dead'), { expiry });
    await objects.delete('m/dead');
    await log.seal();
    for (let round = 0; round < 3; round++) {
      await compactLog({ files: busyFiles, log, feed: objects.feed, emptied: new Set() }, true);
    }
    assert.ok(!(await readdir(data.messages)).includes('00000001.log'), 'something was removed');
    assert.ok(count > 10);
    for (let number = 0; number < count; number++) {
      assert.equal((await objects.get(`m/a/${number}`))?.body.toString(), 'acknowledged', `${number}`);
    }
    await log.close();
    await objects.feed.close();
    await files.close();
    data.release();
  });

  test('goes on where a kill cut it short', async () => {
    await using directory = await temporaryDirectory();
    await using running = await open(directory.path);
    const keys = Array.from({ length: 1000 }, (_, index) => `m/a/${index}`);
    const expected = new Map<string, Buffer>();
    await Promise.all(
      keys.map(async (key, index) => {
        const body = randomBytes(9000);
        await running.objects.put(key, body, { expiry });
        if (index % 3 === 0) {
          expected.set(key, body);
        } else {
          await running.objects.delete(key);
        }
      }),
    );
    const compaction = running.compact();
    for (const wait of [0, 5, 10, 20, 40]) {
      await new Promise((resolve) => setTimeout(resolve, wait));
      await using copy = await copyOf(directory.path).catch(() => undefined as never);
      if (copy) {
        await using backends = await open(copy.path);
        await assertHas(backends, expected);
        await backends.compact();
        await assertHas(backends, expected);
      }
    }
    await compaction;
    await assertHas(running, expected);
  });

  test('never gives the number of a segment that is gone to another, so that a kill loses nothing', async () => {
    await using directory = await temporaryDirectory();
    {
      await using backends = await open(directory.path);
      await backends.objects.put('m/a/old', Buffer.from('old'), { expiry });
      await backends.objects.delete('m/a/old');
      await backends.compact();
      assert.deepEqual(await readdir(join(directory.path, 'messages')), []);
    }
    for (const round of [1, 2]) {
      await using running = await open(directory.path);
      await running.objects.put('m/a/new', Buffer.from(`acknowledged ${round}`), { expiry });
      await using copy = await copyOf(directory.path);
      await using backends = await open(copy.path);
      assert.equal((await backends.objects.get('m/a/new'))?.body.toString(), `acknowledged ${round}`);
    }
  });

  test('lets a deletion win that comes while the body is being moved, also after a kill', async () => {
    await using directory = await temporaryDirectory();
    await using backends = await open(directory.path);
    const { objects } = backends;
    const keys = Array.from({ length: 60 }, (_, index) => `m/a/${index}`);
    await Promise.all(keys.map((key) => objects.put(key, Buffer.alloc(100, key), { expiry })));
    const dead = Array.from({ length: 300 }, (_, index) => `m/x/${index}`);
    await Promise.all(dead.map((key) => objects.put(key, randomBytes(2000), { expiry })));
    await Promise.all(dead.map((key) => objects.delete(key)));
    // In every microtask of the compaction there is somebody who deletes.
    let isDone = false;
    const compaction = backends.compact().finally(() => {
      isDone = true;
    });
    const deleted: string[] = [];
    for (const key of keys) {
      for (let microtask = 0; microtask < 40 && !isDone; microtask++) {
        await undefined;
      }
      if (await objects.delete(key)) {
        deleted.push(key);
      }
    }
    await compaction;
    assert.equal(deleted.length, keys.length);
    await using copy = await copyOf(directory.path);
    await using reopened = await open(copy.path);
    assert.deepEqual(await keysOf(reopened), []);
  });

  test('works on a volume that is full, where most of what is stored is dead', {
    ...needsSmallVolume(),
    timeout: 60_000,
  }, async () => {
    using volume = smallVolume(220);
    await using backends = await open(volume.path);
    const { objects } = backends;
    const kept: string[] = [];
    for (let number = 0; ; number++) {
      const keys = Array.from({ length: 8 }, (_, index) => `m/a/${number}/${index}`);
      const puts = await Promise.allSettled(keys.map((key) => objects.put(key, randomBytes(200_000), { expiry })));
      kept.push(...keys.filter((_, index) => puts[index]?.status === 'fulfilled'));
      if (puts.some(({ status }) => status === 'rejected')) {
        break;
      }
    }
    const dead = kept.filter((_, index) => index % 2 === 1);
    for (const key of dead) {
      await objects.delete(key);
    }
    await backends.housekeeping();
    await backends.housekeeping();
    const { bavail, bsize } = await statfs(volume.path);
    assert.ok(bavail * bsize > 40 * MIB, `${bavail * bsize} octets are free`);
    await objects.put('m/a/again', randomBytes(MIB), { expiry });
    assert.equal((await keysOf(backends)).length, kept.length - dead.length + 1);
  });

  test('removes files while a crowd reads, and leaves none open', async () => {
    await using directory = await temporaryDirectory();
    await using backends = await open(directory.path);
    const { objects } = backends;
    const keys = Array.from({ length: 160 }, (_, index) => `m/a/${index}`);
    for (const key of keys) {
      await objects.put(key, randomBytes(MIB), { expiry });
    }
    const openFiles = async () => (await readdir('/proc/self/fd')).length;
    const before = await openFiles();
    let isOver = false;
    // Reads that overlap, so that there is always one under way.
    const readers = [0, 1, 2].map(async (reader) => {
      for (let turn = reader; !isOver; turn++) {
        await objects.get(keys[turn % keys.length] as string);
      }
    });
    for (const key of keys.slice(0, 100)) {
      await objects.delete(key);
    }
    await backends.compact();
    isOver = true;
    await Promise.all(readers);
    assert.ok((await openFiles()) < before + 20, `${await openFiles()} files are open, before ${before}`);
  });
});

/** The keys of the records in the log that tell of a move. */
async function movedKeys(directory: string): Promise<string[]> {
  const messages = join(directory, 'messages');
  const keys: string[] = [];
  for (const name of await readdir(messages)) {
    await using file = await openFile(join(messages, name));
    for (const record of readSegment(file.fd, { from: 0, end: (await file.stat()).size })) {
      keys.push(...(record?.head[0] === MOVE ? [record.head[2]] : []));
    }
  }
  return keys.sort();
}

async function assertHas(backends: LocalBackends, expected: ReadonlyMap<string, Buffer>): Promise<void> {
  assert.deepEqual(await keysOf(backends), [...expected.keys()].sort());
  for (const [key, body] of expected) {
    assert.ok((await backends.objects.get(key))?.body.equals(body), key);
  }
}
