/** A disk that fails where the log of messages lies: what it does not give is passed over and kept, and the rest goes on. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { type LocalBackends, openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import { unreadableOctets } from '../../support/failing-calls.ts';
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
async function notIndexed(): ReturnType<typeof temporaryDirectory> {
  await using directory = await temporaryDirectory();
  await using running = await open(directory.path);
  for (const key of keys) {
    await running.objects.put(key, bodies.get(key) as Buffer, { expiry });
  }
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

async function readable(backends: LocalBackends): Promise<string[]> {
  const all = await Promise.all(keys.map((key) => backends.objects.get(key)));
  return all.flatMap((stored) => stored?.key ?? []);
}
