/** Objects that are read together are those that each by itself is, also by an index that another process made. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import { temporaryDirectory } from '../../support/local-backends.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const HOUR = 3_600_000;

test('Objects are found together after a restart, and while some of them change', async () => {
  await using directory = await temporaryDirectory();
  const clock = new ManualClock();
  const open = () => openLocalBackends({ directory: directory.path, clock, random: randomBytes });
  const expiry = clock.now() + HOUR;
  {
    await using backends = await open();
    for (let number = 0; number < 100; number++) {
      await backends.objects.put(`${number}`, randomBytes(number), { expiry: expiry + (number === 7 ? -1 : 0) });
    }
  }
  await using backends = await open();
  const { objects } = backends;
  const listed = await Array.fromAsync(objects.list(''));
  assert.equal(listed.length, 100);
  await objects.delete('3');
  await objects.put('4', Buffer.from('another'), { expiry });
  await objects.put('5', Buffer.from('another'), { expiry });
  assert.equal(await objects.delete('5'), true);
  assert.equal(await objects.delete('5'), false);
  clock.advance(HOUR);
  const each = await Promise.all(listed.map(({ key }) => objects.get(key)));
  assert.equal(each.filter(Boolean).length, 97);
  assert.deepEqual(await objects.getAll?.(listed), each);
});

test('What was put lately is found, deleted once, and found no more, once the index has it, too', async () => {
  await using directory = await temporaryDirectory();
  const clock = new ManualClock();
  await using backends = await openLocalBackends({ directory: directory.path, clock, random: randomBytes });
  const { objects } = backends;
  const expiry = clock.now() + HOUR;
  const first = await objects.put('a', Buffer.from('first'), { expiry });
  const second = await objects.put('a', Buffer.from('second'), { expiry });
  const other = await objects.put('b', Buffer.from('other'), { expiry });
  // Which has the index brought up to the log.
  await backends.examine();
  assert.deepEqual(await objects.getAll?.([first, other]), [
    { ...second, body: Buffer.from('second') },
    { ...other, body: Buffer.from('other') },
  ]);
  assert.equal(await objects.delete('a', first.version), false);
  assert.equal(await objects.delete('a', second.version), true);
  assert.equal(await objects.delete('a', second.version), false);
  await backends.examine();
  assert.equal(await objects.delete('a'), false);
  assert.deepEqual(await objects.getAll?.([second, other]), [undefined, { ...other, body: Buffer.from('other') }]);
  // What has expired is housekeeping's, and not to be deleted twice.
  clock.advance(HOUR + 1);
  await backends.housekeeping();
  assert.equal(await objects.delete('b', other.version), false);
});
