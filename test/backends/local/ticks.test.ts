/** Versions and arrivals across restarts, whatever the clock does meanwhile. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { type LocalBackends, openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import { temporaryDirectory } from '../../support/local-backends.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const HOUR = 3_600_000;

const open = (directory: string, clock: ManualClock) => openLocalBackends({ directory, clock, random: randomBytes });

const put = (backends: LocalBackends, key: string) =>
  backends.objects.put(key, Buffer.from('body'), { expiry: Date.now() + 1000 * HOUR });

test('A deleted object’s version is never given again, though the clock was set back across a restart', async () => {
  await using directory = await temporaryDirectory();
  const clock = new ManualClock(Date.now());
  let last: { version: string; arrival: number };
  {
    await using backends = await open(directory.path, clock);
    await put(backends, 'kept');
    last = await put(backends, 'gone');
    assert.equal(await backends.objects.delete('gone'), true);
  }
  clock.advance(-HOUR);
  await using backends = await open(directory.path, clock);
  const next = await put(backends, 'gone');
  assert.ok(next.arrival > last.arrival, `arrived ${next.arrival - last.arrival} ms later`);
  assert.equal(await backends.objects.delete('gone', last.version), false);
});

test('Replacing rows, and deleting older ones, does not bring the greatest tick down', async () => {
  await using directory = await temporaryDirectory();
  const clock = new ManualClock(Date.now());
  let last: { arrival: number };
  {
    await using backends = await open(directory.path, clock);
    await put(backends, 'older');
    await put(backends, 'oldest');
    last = await put(backends, 'newest');
    await backends.objects.delete('newest');
    await backends.objects.delete('oldest');
    clock.advance(-HOUR);
  }
  {
    await using backends = await open(directory.path, clock);
    // A replacement deletes the row that it replaces, which has a smaller tick.
    last = await put(backends, 'older');
    await backends.objects.delete('older');
  }
  clock.advance(-HOUR);
  await using backends = await open(directory.path, clock);
  assert.ok((await put(backends, 'newest')).arrival > last.arrival);
});

test('A deleted record’s version is never given again, though the clock was set back across a restart', async () => {
  await using directory = await temporaryDirectory();
  const clock = new ManualClock(Date.now());
  let version: string | undefined;
  {
    await using backends = await open(directory.path, clock);
    await backends.records.put('configuration', 'name', { is: 'first' });
    version = (await backends.records.get('configuration', 'name'))?.version;
    await backends.records.delete('configuration', 'name');
  }
  clock.advance(-HOUR);
  await using backends = await open(directory.path, clock);
  await backends.records.put('configuration', 'name', { is: 'second' });
  const second = await backends.records.get('configuration', 'name');
  assert.ok(version !== undefined && second);
  assert.ok(Number.parseInt(second.version, 36) > Number.parseInt(version, 36));
});
