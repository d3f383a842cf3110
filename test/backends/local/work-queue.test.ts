import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import type { TakenItem, Work, WorkQueue } from '../../../src/gateway/ports.ts';
import { temporaryDirectory } from '../../support/local-backends.ts';
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
