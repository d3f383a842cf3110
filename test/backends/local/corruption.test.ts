/** A disk that gives back other octets than it was given: what is damaged goes aside, the rest is served. */

import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { cp, open as openFile, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import { type LocalBackends, openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import { temporaryDirectory } from '../../support/local-backends.ts';
import { ManualClock } from '../../support/manual-clock.ts';

/** Random damage each time, so that the places tried add up over many runs of this series. */
const RUNS = 6;
const PAGE = 8192;
/** Where the log of messages begins. */
const SEGMENT = 'messages/00000001.log';
const SMALL_OBJECTS = 400;
const RECORDS = 200;
/** Entries of which a page of 8 KiB has room for no more. */
const ENTRIES_A_PAGE = 60;

const bodies = new Map<string, Buffer>();
const clock = new ManualClock();
let template: Awaited<ReturnType<typeof temporaryDirectory>>;

before(async () => {
  template = await temporaryDirectory();
  await using backends = await open(template.path);
  const puts: Promise<unknown>[] = [];
  for (let number = 0; number < SMALL_OBJECTS; number++) {
    bodies.set(`m/${number % 7}/${number}`, randomBytes(1024));
  }
  bodies.set('m/large/1', randomBytes(100_000));
  bodies.set('m/large/2', randomBytes(3_000_000));
  for (const [key, body] of bodies) {
    puts.push(backends.objects.put(key, body, { expiry: clock.now() + 1e9, metadata: { parcel: key } }));
  }
  for (let number = 0; number < RECORDS; number++) {
    puts.push(backends.records.put('private-gateways', `${number}`, { text: 'x'.repeat(500), number }));
  }
  await Promise.all(puts);
});

after(() => template[Symbol.asyncDispose]());

test('One changed octet in a body sets that object aside, counted and logged, and nothing else', async () => {
  await using damaged = await copy();
  const body = bodies.get('m/1/50') as Buffer;
  await flipWhereFound(join(damaged.path, SEGMENT), body.subarray(500, 532));
  const log = new TestLog();
  {
    await using backends = await open(damaged.path, log);
    assert.equal(await backends.objects.get('m/1/50'), undefined);
    assert.equal(backends.damaged, 1);
    await assertServed(backends, 1);
    assert.deepEqual(
      log.lines.map(({ message, details }) => [message, details['key']]),
      [['Damaged data was set aside', 'm/1/50']],
    );
  }
  await using reopened = await open(damaged.path, log);
  assert.deepEqual(await keys(reopened, 'm/1/50'), [], 'it is out of the way for good');
  await reopened.objects.put('m/1/50', body, { expiry: clock.now() + 1e9 });
  assert.deepEqual((await reopened.objects.get('m/1/50'))?.body, body, 'its key can be used again');
});

test('Of objects that are read in one go from a list, the damaged one alone goes aside', async () => {
  await using damaged = await copy();
  const body = bodies.get('m/1/50') as Buffer;
  await flipWhereFound(join(damaged.path, SEGMENT), body.subarray(500, 532));
  await using backends = await open(damaged.path);
  const entries = await Array.fromAsync(backends.objects.list('m/1/'));
  const each = Promise.all(entries.map((entry) => backends.objects.get(entry.key, entry)));
  for (const read of [await each, (await backends.objects.getAll?.(entries)) ?? []]) {
    for (const [index, { key }] of entries.entries()) {
      assert.deepEqual(read[index]?.body, key === 'm/1/50' ? undefined : bodies.get(key), key);
    }
  }
  assert.equal(backends.damaged, 1);
});

test('One changed octet in a record sets that one aside; in an entry it costs nothing, as the log has it, too', async () => {
  await using damaged = await copy();
  await flipWhereFound(join(damaged.path, 'objects.sqlite'), Buffer.from('{"parcel":"m/2/100"}'));
  await flipWhereFound(join(damaged.path, 'records.sqlite'), Buffer.from('"number":150}'));
  await using backends = await open(damaged.path);
  await assertServed(backends, 0);
  assert.equal(await backends.records.get('private-gateways', '150'), undefined);
  assert.equal((await Array.fromAsync(backends.records.list('private-gateways'))).length, RECORDS - 1);
  assert.equal(backends.damaged, 1);
});

for (const [column, damage] of Object.entries({
  key: "key || 'x'",
  expiry: '1',
  size: 'size * 1000000',
  metadata: "'{}'",
  body_checksum: 'body_checksum + 1',
  checksum: 'checksum + 1',
  place: "(SELECT place FROM entries WHERE key = 'm/3/10')",
})) {
  for (const first of ['read', 'housekeeping'] as const) {
    test(`An entry whose ${column} is damaged is made anew from the log by ${first}, and nothing else suffers`, async () => {
      await using damaged = await copy();
      const index = new DatabaseSync(join(damaged.path, 'objects.sqlite'));
      index.exec(`UPDATE entries SET ${column} = ${damage} WHERE key = 'm/1/50'`);
      index.close();
      const log = new TestLog();
      for (const round of ['at first', 'after reopening']) {
        await using backends = await open(damaged.path, log);
        if (first === 'housekeeping') {
          await backends.housekeeping();
          await backends.compact();
        }
        await assertServed(backends, 0);
        assert.equal(backends.damaged, 0, round);
      }
      assert.deepEqual(
        log.lines.map(({ message, details }) => [message, details['key']]),
        [['A damaged entry of the index was made anew from the log of messages', 'm/1/50']],
      );
    });
  }
}

test('A damaged place has housekeeping overwrite no other message when its own expires', async () => {
  await using directory = await temporaryDirectory();
  const later = clock.now() + 1e9;
  {
    await using backends = await open(directory.path);
    await backends.objects.put('m/gone', Buffer.alloc(1000, 'gone'), { expiry: clock.now() });
    await backends.objects.put('m/kept', Buffer.alloc(1000, 'kept'), { expiry: later });
  }
  const index = new DatabaseSync(join(directory.path, 'objects.sqlite'));
  index.exec("UPDATE entries SET place = (SELECT place FROM entries WHERE key = 'm/kept') WHERE key = 'm/gone'");
  index.close();
  await using backends = await openLocalBackends({
    directory: directory.path,
    clock: new ManualClock(clock.now() + 1),
    random: randomBytes,
  });
  await backends.housekeeping();
  assert.equal((await backends.objects.get('m/kept'))?.body.toString(), 'kept'.repeat(250));
});

test('A count that damage made too small has no segment removed in which messages are', async () => {
  await using damaged = await copy();
  const index = new DatabaseSync(join(damaged.path, 'objects.sqlite'));
  index.exec('UPDATE segments SET live = -1');
  index.close();
  for (let round = 0; round < 2; round++) {
    await using backends = await open(damaged.path);
    await backends.compact();
    await backends.compact();
    await assertServed(backends, 0);
    assert.equal(backends.damaged, 0);
  }
});

for (const file of ['objects.sqlite', 'records.sqlite']) {
  test(`Octets changed anywhere in ${file} cost what lay there at most`, { timeout: 120_000 }, async () => {
    for (let run = 0; run < RUNS; run++) {
      await using damaged = await copy();
      const path = join(damaged.path, file);
      const position = run === 0 ? randomInt(100) : randomInt((await stat(path)).size);
      await overwrite(path, position, randomBytes(run % 2 === 0 ? 1 : 64));
      const most = leadsToMany(Math.floor(position / PAGE)) ? Number.POSITIVE_INFINITY : ENTRIES_A_PAGE;
      await assertSurvives(damaged.path, most, `octets at ${position} of ${file}`);
    }
  });

  test(`A page of ${file} that is gone costs what lay there at most`, { timeout: 120_000 }, async () => {
    const pages = (await stat(join(template.path, file))).size / PAGE;
    // The first page tells where everything is; then some others.
    for (const page of [0, 1, 2, 3, ...Array.from({ length: RUNS - 4 }, () => randomInt(pages))]) {
      await using damaged = await copy();
      await overwrite(join(damaged.path, file), page * PAGE, Buffer.alloc(PAGE));
      const most = leadsToMany(page) ? Number.POSITIVE_INFINITY : SMALL_OBJECTS / 2;
      await assertSurvives(damaged.path, most, `page ${page}`);
    }
  });
}

for (const file of ['objects.sqlite', 'records.sqlite']) {
  for (const position of [18, 47]) {
    test(`Octet ${position} of ${file}, which tells of its format, costs nothing`, async () => {
      await using damaged = await copy();
      await overwrite(join(damaged.path, file), position, Buffer.of(0x57));
      await assertSurvives(damaged.path, 0, `octet ${position}`);
    });
  }
}

test('A large file whose index is damaged without any error is found out and repaired while it serves', async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, 'objects.sqlite');
  const keys = Array.from({ length: 2000 }, (_, number) => `m/${String(number).padStart(5, '0')}`);
  {
    await using backends = await open(directory.path);
    const expiry = clock.now() + 1e9;
    await Promise.all(keys.map((key) => backends.objects.put(key, randomBytes(9000), { expiry })));
  }
  // Each key stands in its row and in the index; whichever is changed, one of the two does not match any more.
  const hidden = 'm/01234';
  await changeLast(path, Buffer.from(hidden), Buffer.from('m/09999'));
  const log = new TestLog();
  await using backends = await open(directory.path, log);
  await log.until('Damaged store file was set aside and repaired');
  for (const key of keys.filter((each) => each !== hidden)) {
    assert.equal((await backends.objects.get(key))?.size, 9000, key);
  }
});

test('A file cut short is repaired, and the damaged one kept', async () => {
  await using damaged = await copy();
  const path = join(damaged.path, 'objects.sqlite');
  await truncate(path, Math.floor((await stat(path)).size / PAGE / 2) * PAGE);
  const log = new TestLog();
  await using backends = await open(damaged.path, log);
  await assertServed(backends, 0);
  assert.ok(log.lines.some(({ message }) => message === 'Damaged store file was set aside and repaired'));
  assert.ok((await readdir(damaged.path)).includes('objects.sqlite.damaged-1'));
});

test('Octets changed anywhere in the log of messages cost the message that lay there', {
  timeout: 120_000,
}, async () => {
  const size = (await stat(join(template.path, SEGMENT))).size;
  for (let run = 0; run < RUNS; run++) {
    await using damaged = await copy();
    const position = randomInt(size);
    await overwrite(join(damaged.path, SEGMENT), position, randomBytes(run % 2 === 0 ? 1 : 64));
    await assertSurvives(damaged.path, 2, `octets at ${position} of the log`);
  }
});

test('An index that is gone is made anew from the log, without what was deleted and what is damaged', async () => {
  await using damaged = await copy();
  {
    await using backends = await open(damaged.path);
    await backends.objects.delete('m/1/1');
    await backends.objects.put('m/1/8', Buffer.from('replaced'), { expiry: clock.now() + 1e9 });
  }
  const body = bodies.get('m/1/50') as Buffer;
  await flipWhereFound(join(damaged.path, SEGMENT), body.subarray(500, 532));
  for (const name of ['objects.sqlite', 'objects.sqlite-wal', 'objects.sqlite-shm']) {
    await rm(join(damaged.path, name), { force: true });
  }
  await writeFile(join(damaged.path, 'objects.sqlite'), '', { mode: 0o600 });
  const log = new TestLog();
  await using backends = await open(damaged.path, log);
  const expected = new Map(bodies);
  expected.delete('m/1/1');
  expected.delete('m/1/50');
  expected.set('m/1/8', Buffer.from('replaced'));
  assert.deepEqual((await keys(backends, 'm/')).sort(), [...expected.keys()].sort());
  for (const [key, expectedBody] of expected) {
    assert.ok((await backends.objects.get(key))?.body.equals(expectedBody), key);
  }
  assert.deepEqual(
    log.lines.map(({ message }) => message),
    ['Octets of the log of messages cannot be read'],
  );
});

/** The first pages hold the tables' roots: a few octets there lead to many rows. */
function leadsToMany(page: number): boolean {
  return page < 8;
}

/** The store opens, serves right bodies only, misses at most so many, and takes new ones, before and after reopening. */
async function assertSurvives(path: string, mostMissing: number, what: string): Promise<void> {
  for (const round of ['at first', 'after reopening']) {
    try {
      await using backends = await open(path);
      await assertServed(backends, mostMissing);
      const records = await Array.fromAsync(backends.records.list('private-gateways'));
      assert.ok(records.length >= RECORDS - mostMissing, `${records.length} records left`);
      for (const { key, fields } of records) {
        assert.equal(`${fields['number']}`, key);
      }
      await backends.objects.put('new', Buffer.from(what), { expiry: clock.now() + 1e9 });
      assert.equal((await backends.objects.get('new'))?.body.toString(), what);
      await backends.records.put('configuration', 'new', { what });
      assert.equal((await backends.records.get('configuration', 'new'))?.fields['what'], what);
      await backends.objects.delete('new');
      await backends.housekeeping();
    } catch (error) {
      throw new Error(`${what}, ${round}`, { cause: error });
    }
  }
}

async function assertServed(backends: LocalBackends, mostMissing: number): Promise<void> {
  const listed = await keys(backends, 'm/');
  assert.equal(new Set(listed).size, listed.length);
  let served = 0;
  for (const key of bodies.keys()) {
    const stored = await backends.objects.get(key);
    if (stored) {
      assert.ok(stored.body.equals(bodies.get(key) as Buffer), key);
      assert.equal(stored.metadata['parcel'], key);
      assert.ok(listed.includes(key), key);
      served++;
    }
  }
  assert.ok(served >= bodies.size - mostMissing, `${served} of ${bodies.size} served`);
}

async function keys(backends: LocalBackends, prefix: string): Promise<string[]> {
  return (await Array.fromAsync(backends.objects.list(prefix))).map(({ key }) => key);
}

async function copy(): ReturnType<typeof temporaryDirectory> {
  const directory = await temporaryDirectory();
  await cp(template.path, directory.path, { recursive: true, filter: (source) => !source.endsWith('reserve') });
  return directory;
}

async function flipWhereFound(path: string, octets: Buffer): Promise<void> {
  await using file = await openFile(path, 'r+');
  const position = (await file.readFile()).indexOf(octets);
  assert.notEqual(position, -1);
  await file.write(Buffer.of((octets[3] as number) ^ 1), 0, 1, position + 3);
}

/** Puts other octets in place of the last occurrence. */
async function changeLast(path: string, octets: Buffer, others: Buffer): Promise<void> {
  await using file = await openFile(path, 'r+');
  const position = (await file.readFile()).lastIndexOf(octets);
  assert.notEqual(position, -1);
  await file.write(others, 0, others.length, position);
}

async function overwrite(path: string, position: number, octets: Buffer): Promise<void> {
  await using file = await openFile(path, 'r+');
  const room = (await file.stat()).size - position;
  await file.write(octets.subarray(0, room), 0, undefined, position);
}

class TestLog {
  readonly lines: { message: string; details: Readonly<Record<string, unknown>> }[] = [];
  private readonly awaited = new Map<string, () => void>();

  warn(details: Readonly<Record<string, unknown>>, message: string): void {
    this.error(details, message);
  }

  error(details: Readonly<Record<string, unknown>>, message: string): void {
    this.lines.push({ message, details });
    this.awaited.get(message)?.();
  }

  /** Resolves when the message was or is logged. */
  until(message: string): Promise<void> {
    return new Promise((resolve) => {
      this.awaited.set(message, resolve);
      if (this.lines.some((line) => line.message === message)) {
        resolve();
      }
    });
  }
}

function open(directory: string, log?: TestLog): Promise<LocalBackends> {
  return openLocalBackends({ directory, clock, random: randomBytes, log });
}
