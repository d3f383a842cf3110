/** What expired goes from the disk, too, while the event loop and other writers go on. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryBackends } from '../../support/local-backends.ts';

const OBJECTS = 5000;

/** Puts that are served at least while they go; it is hundreds where nothing holds them up. */
const SERVED = 50;

test('Housekeeping removes expired objects and records from the disk, and no others', async () => {
  await using temporary = await temporaryBackends();
  const { backends, clock, directory } = temporary;
  const soon = clock.now() + 1000;
  const later = clock.now() + 100_000;
  const marks = { small: randomBytes(600), large: randomBytes(200_000), record: randomBytes(40).toString('hex') };
  await backends.objects.put('m/small', marks.small, { expiry: soon });
  await backends.objects.put('m/large', marks.large, { expiry: soon });
  await backends.objects.put('m/kept', Buffer.from('kept'), { expiry: later });
  await backends.records.put('configuration', 'gone', { text: marks.record }, soon);
  await backends.records.put('configuration', 'kept', {}, later);
  await backends.records.put('configuration', 'for good', {});
  await backends.housekeeping();
  assert.ok((await backends.objects.get('m/large'))?.body.equals(marks.large), 'not expired yet');
  clock.advance(1001);
  await backends.housekeeping();
  const names = await readdir(directory, { recursive: true });
  assert.ok(names.includes('messages/00000001.log'));
  for (const name of names.filter((each) => each !== 'messages')) {
    const content = await readFile(join(directory, name));
    assert.ok(!content.includes(marks.small.subarray(100, 140)), name);
    assert.ok(!content.includes(marks.large.subarray(150_000, 150_040)), name);
    assert.ok(!content.includes(marks.record), name);
  }
  assert.equal((await backends.objects.get('m/kept'))?.body.toString(), 'kept');
  assert.deepEqual(
    (await Array.fromAsync(backends.records.list('configuration'))).map(({ key }) => key),
    ['for good', 'kept'],
  );
});

test('Housekeeping of many objects gives their room back, and holds up neither event loop nor writers', async () => {
  await using temporary = await temporaryBackends();
  const { backends, clock, directory } = temporary;
  const file = join(directory, 'objects.sqlite');
  const expiry = clock.now() + 1000;
  await Promise.all(
    Array.from({ length: OBJECTS }, (_, number) => backends.objects.put(`m/${number}`, randomBytes(2048), { expiry })),
  );
  clock.advance(1001);
  let done = false;
  const housekeeping = backends.housekeeping().finally(() => {
    done = true;
  });
  let puts = 0;
  for (; !done; puts++) {
    await backends.objects.put(`n/${puts % 10}`, randomBytes(1024), { expiry: clock.now() + 1000 });
  }
  await housekeeping;
  // Each takes several turns of the event loop, and a place among the writes.
  assert.ok(puts >= SERVED, `only ${puts} puts meanwhile`);
  await backends.housekeeping();
  assert.ok((await stat(file)).size < 1024 * 1024, 'the index shrank');
  const segments = await readdir(join(directory, 'messages'));
  const sizes = await Promise.all(segments.map((name) => stat(join(directory, 'messages', name))));
  const octets = sizes.reduce((sum, { size }) => sum + size, 0);
  assert.ok(octets < 10 * 1024 * 1024, `the log has ${octets} octets`);
});
