import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { storeFiles } from '../../../src/backends/local/directory.ts';
import { openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import type { TakenItem, Work, WorkQueue } from '../../../src/gateway/ports.ts';
import { copyOf, temporaryBackends, temporaryDirectory } from '../../support/local-backends.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const QUEUE = 'internet-delivery';
const HOUR = 3_600_000;

const work = (clock: ManualClock, key: string, group: string): Work => ({
  key,
  group,
  size: 1000,
  expiry: clock.now() + 24 * HOUR,
});

const take = (queue: WorkQueue, count = 100): Promise<TakenItem[]> =>
  queue.take(QUEUE, { count, lease: HOUR, room: () => count }, new AbortController().signal);

test('Schedules and rests survive a restart; what was in hand is taken again at once', async () => {
  await using directory = await temporaryDirectory();
  const clock = new ManualClock();
  const open = () => openLocalBackends({ directory: directory.path, clock, random: randomBytes });
  {
    await using backends = await open();
    for (const [key, group] of [
      ['postponed', 'a'],
      ['in hand', 'b'],
      ['resting', 'c'],
    ] as const) {
      await backends.work.add(QUEUE, work(clock, key, group));
    }
    const taken = await take(backends.work);
    const postponed = taken.find(({ key }) => key === 'postponed') as TakenItem;
    await backends.work.postpone(QUEUE, postponed, clock.now() + HOUR);
    await backends.work.rest(QUEUE, 'c', clock.now() + 2 * HOUR);
  }
  await using backends = await open();
  const [inHand, ...others] = await take(backends.work);
  assert.deepEqual([inHand?.key, others.length], ['in hand', 0]);
  clock.advance(HOUR);
  const [postponed, ...more] = await take(backends.work);
  assert.deepEqual([postponed?.key, postponed?.attempts, more.length], ['postponed', 1, 0]);
  clock.advance(HOUR);
  const keys = (await take(backends.work)).map(({ key }) => key);
  assert.ok(keys.includes('resting'), `${keys}`);
});

test('Among twenty thousand items of resting groups, one that is due is found at once', async () => {
  await using directory = await temporaryDirectory();
  const clock = new ManualClock();
  await using backends = await openLocalBackends({ directory: directory.path, clock, random: randomBytes });
  const many = Array.from({ length: 20_000 }, (_, number) => work(clock, `${number}`, `rests ${number % 100}`));
  await backends.work.addMissing(QUEUE, many);
  for (let number = 0; number < 100; number++) {
    await backends.work.rest(QUEUE, `rests ${number}`, clock.now() + HOUR);
  }
  const timeOf = async (action: () => Promise<{ key: string }[]>) => {
    const started = performance.now();
    const found = await action();
    return { keys: found.map(({ key }) => key), milliseconds: performance.now() - started };
  };
  // The fastest of several: the machine may do something else meanwhile.
  let fastest = Number.POSITIVE_INFINITY;
  for (const key of Array.from({ length: 20 }, (_, number) => `due ${number}`)) {
    await backends.work.add(QUEUE, work(clock, key, 'awake'));
    const taken = await timeOf(() => take(backends.work));
    assert.deepEqual(taken.keys, [key]);
    fastest = Math.min(fastest, taken.milliseconds);
  }
  const all = await timeOf(() => Array.fromAsync(backends.work.list(QUEUE)));
  assert.ok(fastest < all.milliseconds / 5, `${fastest} and ${all.milliseconds} ms`);
});

test('Expired items are deleted by housekeeping', async () => {
  await using directory = await temporaryDirectory();
  const clock = new ManualClock();
  await using backends = await openLocalBackends({ directory: directory.path, clock, random: randomBytes });
  await backends.work.addMissing(
    QUEUE,
    Array.from({ length: 2000 }, (_, number) => work(clock, `${number}`, `${number}`)),
  );
  clock.advance(25 * HOUR);
  await backends.housekeeping();
  clock.advance(-25 * HOUR);
  assert.deepEqual(await Array.fromAsync(backends.work.list(QUEUE)), []);
});

/** For so long an item is in memory only, in milliseconds. */
const FRESH_TIME = 5000;

/** Keys of the items on the disk. */
function onDisk(directory: string): string[] {
  const records = new DatabaseSync(storeFiles(directory).records, { readOnly: true });
  try {
    return records
      .prepare('SELECT key FROM work ORDER BY id')
      .all()
      .map(({ key }) => `${key}`);
  } finally {
    records.close();
  }
}

/** Resolves when something has come to the disk, and gives the keys of all that has. */
async function whenOnDisk(t: TestContext, directory: string): Promise<string[]> {
  const look = () => {
    const keys = onDisk(directory);
    assert.ok(keys.length > 0);
    return keys;
  };
  return await t.waitFor(look, { timeout: 60_000 });
}

test('What is done at once never comes to the disk', async () => {
  await using temporary = await temporaryBackends();
  const { work: queue } = temporary.backends;
  for (const key of ['1', '2']) {
    await queue.add(QUEUE, work(temporary.clock, key, 'a'));
  }
  assert.deepEqual(onDisk(temporary.directory), []);
  for (const item of await take(queue)) {
    assert.equal(await queue.finish(QUEUE, item), true);
  }
  await queue.add(QUEUE, work(temporary.clock, '3', 'a'));
  await queue.remove(QUEUE, '3');
  assert.deepEqual(await Array.fromAsync(queue.list(QUEUE)), []);
  assert.deepEqual(onDisk(temporary.directory), []);
});

test("What is not done within seconds comes to the disk, with all of its group, and is nobody else's meanwhile", async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  await using temporary = await temporaryBackends();
  const { clock, directory } = temporary;
  const { work: queue } = temporary.backends;
  await queue.add(QUEUE, work(clock, 'old', 'a'));
  const [inHand] = await take(queue);
  await queue.add(QUEUE, work(clock, 'waits', 'a'));
  clock.advance(FRESH_TIME);
  await queue.add(QUEUE, work(clock, 'young', 'a'));
  await queue.add(QUEUE, work(clock, 'another', 'b'));
  t.mock.timers.tick(FRESH_TIME);
  assert.deepEqual(await whenOnDisk(t, directory), ['old', 'waits', 'young']);
  // What comes of that group later follows it.
  await queue.add(QUEUE, work(clock, 'last', 'a'));
  assert.deepEqual(onDisk(directory), ['old', 'waits', 'young', 'last']);
  const listed = await Array.fromAsync(queue.list(QUEUE));
  assert.deepEqual(listed.map(({ key }) => key).sort(), ['another', 'last', 'old', 'waits', 'young']);

  const taken = await take(queue);
  const others = taken.length === 4 ? [] : await take(queue);
  const keys = [...taken, ...others].map(({ key }) => key);
  assert.deepEqual(
    keys.filter((key) => key !== 'another'),
    ['waits', 'young', 'last'],
  );
  assert.equal(await queue.finish(QUEUE, inHand as TakenItem), true);
  for (const item of [...taken, ...others]) {
    assert.equal(await queue.finish(QUEUE, item), true);
  }
  assert.deepEqual(onDisk(directory), []);
});

test('An item that was added again while it was in hand is not ended where it has come to the disk meanwhile', async () => {
  await using temporary = await temporaryBackends();
  const { clock } = temporary;
  const { work: queue } = temporary.backends;
  await queue.add(QUEUE, work(clock, '1', 'a'));
  await queue.add(QUEUE, work(clock, '2', 'a'));
  const [first, second] = (await take(queue)) as [TakenItem, TakenItem];
  await queue.add(QUEUE, work(clock, '1', 'a'));
  assert.equal(await queue.postpone(QUEUE, second, clock.now() + HOUR), true);
  assert.deepEqual(onDisk(temporary.directory), ['1', '2']);
  assert.equal(await queue.finish(QUEUE, first), false);
  assert.deepEqual(
    (await take(queue)).map(({ key, attempts }) => [key, attempts]),
    [['1', 0]],
  );
});

test('What a group gets while it goes to the disk, or while it is added to there, is given once and in its order', async () => {
  await using temporary = await temporaryBackends();
  const { clock } = temporary;
  const { work: queue } = temporary.backends;
  await Promise.all(['1', '2', '3'].map((key) => queue.add(QUEUE, work(clock, key, 'a'))));
  const [first] = await take(queue, 1);
  const all = ['1', '2', '3', '4', '5'].map((key) => work(clock, key, 'a'));
  await Promise.all([
    queue.rest(QUEUE, 'a', clock.now() + HOUR),
    queue.add(QUEUE, work(clock, '4', 'a')),
    queue.finish(QUEUE, first as TakenItem),
    queue.remove(QUEUE, '2'),
    queue.addMissing(QUEUE, all.slice(4)),
    queue.add(QUEUE, work(clock, '5', 'a')),
  ]);
  assert.deepEqual(onDisk(temporary.directory).sort(), ['3', '4', '5']);
  clock.advance(HOUR);
  const taken = await take(queue);
  assert.deepEqual(taken.map(({ key }) => key).sort(), ['3', '4', '5']);
  assert.equal(taken[0]?.key, '3');
});

test('What stops in order is on the disk; what a kill takes is found again by the newest objects', async () => {
  await using temporary = await temporaryBackends();
  const { clock, directory } = temporary;
  const { work: queue, objects } = temporary.backends;
  const put = (key: string) => objects.put(key, randomBytes(8), { expiry: clock.now() + HOUR });
  await put('outbox/old');
  clock.advance(61_000);
  await put('mailboxes/new');
  await put('outbox/new');
  await queue.add(QUEUE, work(clock, 'outbox/new', 'a'));
  await using afterKill = await copyOf(directory);
  {
    await using backends = await openLocalBackends({ directory: afterKill.path, clock, random: randomBytes });
    assert.deepEqual(await Array.fromAsync(backends.work.list(QUEUE)), []);
    const newest = await Array.fromAsync(backends.objects.listNewest?.('outbox/', 60_000) ?? []);
    assert.deepEqual(
      newest.map(({ key }) => key),
      ['outbox/new'],
    );
    await backends.work.addMissing(QUEUE, [work(clock, 'outbox/new', 'a')]);
    assert.deepEqual(
      (await take(backends.work)).map(({ key }) => key),
      ['outbox/new'],
    );
    await backends.work.add(QUEUE, work(clock, 'another', 'b'));
  }
  assert.deepEqual(onDisk(afterKill.path), ['outbox/new', 'another']);
});
