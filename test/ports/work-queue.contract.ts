/** What a work queue promises to those who give work and to those who compete for it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TakenItem, TakeOptions, Work, WorkQueue } from '../../src/gateway/ports.ts';
import type { ManualClock } from '../support/manual-clock.ts';

export interface WorkQueueUnderTest extends AsyncDisposable {
  readonly work: WorkQueue;
  readonly clock: ManualClock;
}

const QUEUE = 'internet-delivery';
const LEASE = 10_000;
const LONG = 3_600_000;

export function workQueueContract(name: string, open: () => Promise<WorkQueueUnderTest>): void {
  const forever = new AbortController().signal;

  /** Takes what is due, with room for all unless told otherwise. */
  const take = (under: WorkQueueUnderTest, options: Partial<TakeOptions> = {}) =>
    under.work.take(QUEUE, { count: 100, lease: LEASE, room: () => 100, ...options }, forever);

  /** Takes one item, which must be there. */
  const takeOne = async (under: WorkQueueUnderTest): Promise<TakenItem> => {
    const [item] = await take(under, { count: 1 });
    assert.ok(item);
    return item;
  };

  /** That a look into the queue finds nothing: an item that is added afterwards is the first to come. */
  const assertNothingDue = async (under: WorkQueueUnderTest) => {
    const taking = take(under);
    await under.work.add(QUEUE, item(under, 'marker', 'marker'));
    const [marker, ...others] = await taking;
    assert.deepEqual([marker?.key, others.length], ['marker', 0]);
    await under.work.finish(QUEUE, marker as TakenItem);
  };

  const item = (under: WorkQueueUnderTest, key: string, group = 'a', expiry = under.clock.now() + LONG): Work => ({
    key,
    group,
    size: 1000,
    expiry,
  });

  const keysOf = (items: readonly { key: string }[]) => items.map(({ key }) => key);

  describe(`${name} as a work queue`, () => {
    test('gives each item to one taker, oldest first in a group', async () => {
      await using under = await open();
      for (const key of ['1', '2', '3', '4', '5']) {
        await under.work.add(QUEUE, item(under, key));
        under.clock.advance(1);
      }
      const taken = await Promise.all([
        take(under, { count: 2 }),
        take(under, { count: 2 }),
        take(under, { count: 2 }),
      ]);
      assert.deepEqual(keysOf(taken.flat()).sort(), ['1', '2', '3', '4', '5']);
      assert.deepEqual(keysOf(taken[0] ?? []), ['1', '2']);
      const [first] = taken.flat();
      assert.deepEqual(
        { size: first?.size, group: first?.group, attempts: first?.attempts },
        { size: 1000, group: 'a', attempts: 0 },
      );
    });

    test('wakes a taker that waits when an item comes, and lets it go when its signal aborts', async () => {
      await using under = await open();
      const taking = take(under);
      await under.work.add(QUEUE, item(under, '1'));
      assert.deepEqual(keysOf(await taking), ['1']);
      const end = new AbortController();
      const waiting = under.work.take(QUEUE, { count: 1, lease: LEASE, room: () => 1 }, end.signal);
      end.abort();
      assert.deepEqual(await waiting, []);
    });

    test('keeps queues apart', async () => {
      await using under = await open();
      await under.work.add('cargo', item(under, '1'));
      await assertNothingDue(under);
      assert.deepEqual(keysOf(await Array.fromAsync(under.work.list('cargo'))), ['1']);
    });

    test('has one item a key, however often it is added', async () => {
      await using under = await open();
      await under.work.add(QUEUE, item(under, '1'));
      await under.work.add(QUEUE, item(under, '1'));
      const taken = await take(under);
      assert.deepEqual(keysOf(taken), ['1']);
      assert.equal(await under.work.finish(QUEUE, taken[0] as TakenItem), true);
      await assertNothingDue(under);
    });

    test('gives an item again that was added while it was in hand', async () => {
      await using under = await open();
      await under.work.add(QUEUE, item(under, '1'));
      const first = await takeOne(under);
      await under.work.add(QUEUE, item(under, '1'));
      assert.equal(await under.work.finish(QUEUE, first), false);
      const second = await takeOne(under);
      assert.equal(second.key, '1');
      assert.equal(await under.work.finish(QUEUE, second), true);
      await assertNothingDue(under);
    });

    test('gives an item again when its lease has run out, and hears no more from who had it', async () => {
      await using under = await open();
      await under.work.add(QUEUE, item(under, '1'));
      const dead = await takeOne(under);
      under.clock.advance(LEASE - 1);
      await assertNothingDue(under);
      under.clock.advance(2);
      const heir = await takeOne(under);
      assert.equal(heir.key, '1');
      assert.equal(await under.work.finish(QUEUE, dead), false);
      assert.equal(await under.work.postpone(QUEUE, dead, under.clock.now() + LONG), false);
      assert.equal(await under.work.finish(QUEUE, heir), true);
      await assertNothingDue(under);
    });

    test('gives nobody what is renewed, for as long as it is', async () => {
      await using under = await open();
      await under.work.add(QUEUE, item(under, '1', 'a'));
      await under.work.add(QUEUE, item(under, '2', 'b'));
      const held = await take(under);
      for (let renewal = 0; renewal < 3; renewal++) {
        under.clock.advance(LEASE - 1);
        assert.deepEqual(await under.work.renew(QUEUE, held, LEASE), []);
      }
      under.clock.advance(LEASE - 1);
      await assertNothingDue(under);
      const [first, second] = held as [TakenItem, TakenItem];
      assert.equal(await under.work.finish(QUEUE, first), true);
      under.clock.advance(2);
      assert.deepEqual(keysOf(await take(under)), [second.key]);
      assert.deepEqual(await under.work.renew(QUEUE, [], LEASE), []);
    });

    test('renews what ran out and nobody has taken, or was added again, and leaves what it is as it was', async () => {
      await using under = await open();
      await under.work.add(QUEUE, item(under, '1'));
      const [start] = await Array.fromAsync(under.work.list(QUEUE));
      const held = await takeOne(under);
      under.clock.advance(LEASE + 1);
      await under.work.add(QUEUE, item(under, '1', 'a', start?.expiry));
      assert.deepEqual(await under.work.renew(QUEUE, [held], LEASE), []);
      await assertNothingDue(under);
      assert.deepEqual(await Array.fromAsync(under.work.list(QUEUE)), [start]);
      await under.work.release(QUEUE, held);
      assert.equal((await takeOne(under)).due, start?.due);
    });

    test('tells what is in this hand no longer, and renews the others', async () => {
      await using under = await open();
      for (const key of ['taken', 'removed', 'released', 'postponed', 'finished', 'held']) {
        await under.work.add(QUEUE, item(under, key));
        under.clock.advance(1);
      }
      const held = await take(under);
      const [taken, removed, released, postponed, finished, last] = held as [TakenItem, ...TakenItem[]];
      under.clock.advance(LEASE / 2);
      assert.deepEqual(await under.work.renew(QUEUE, held.slice(1), LEASE), []);
      under.clock.advance(LEASE / 2 + 1);
      const heir = await takeOne(under);
      assert.equal(heir.key, taken.key);
      await under.work.remove(QUEUE, 'removed');
      await under.work.release(QUEUE, released as TakenItem);
      await under.work.postpone(QUEUE, postponed as TakenItem, under.clock.now() + 2 * LEASE);
      await under.work.finish(QUEUE, finished as TakenItem);
      under.clock.advance(LEASE / 4);
      const lost = await under.work.renew(QUEUE, held, LEASE);
      assert.deepEqual(lost, [taken, removed, released, postponed, finished]);

      // What was not renewed is to be had when it was to be had, and the heir's lease is its own.
      assert.deepEqual(keysOf(await take(under)), ['released']);
      under.clock.advance((LEASE * 3) / 4 + 1);
      assert.deepEqual(keysOf(await take(under)), ['taken']);
      assert.equal(await under.work.finish(QUEUE, last as TakenItem), true);
    });

    test('renews more items than one command would bear', async () => {
      await using under = await open();
      const all = Array.from({ length: 600 }, (_, number) => item(under, `${number}`, `${number % 7}`));
      await under.work.addMissing(QUEUE, all);
      const held = await take(under, { count: 600, room: () => 600 });
      await under.work.remove(QUEUE, '599');
      under.clock.advance(LEASE);
      assert.deepEqual(keysOf(await under.work.renew(QUEUE, held, LEASE)), ['599']);
      under.clock.advance(LEASE);
      await assertNothingDue(under);
    });

    test('gives what was postponed when it is due, and counts the attempts', async () => {
      await using under = await open();
      await under.work.add(QUEUE, item(under, '1'));
      for (const attempts of [0, 1, 2]) {
        const taken = await takeOne(under);
        assert.deepEqual([taken.key, taken.attempts], ['1', attempts]);
        assert.equal(await under.work.postpone(QUEUE, taken, under.clock.now() + 5000), true);
        await under.work.add(QUEUE, item(under, '1'));
        under.clock.advance(4999);
        await assertNothingDue(under);
        under.clock.advance(1);
      }
    });

    test('gives what was released at once, as it was', async () => {
      await using under = await open();
      await under.work.add(QUEUE, item(under, '1'));
      await under.work.release(QUEUE, await takeOne(under));
      assert.deepEqual([(await takeOne(under)).attempts], [0]);
    });

    test('takes no more of a group than there is room for, and passes on to others', async () => {
      await using under = await open();
      for (let number = 0; number < 10; number++) {
        await under.work.add(QUEUE, item(under, `a${number}`, 'a'));
      }
      await under.work.add(QUEUE, item(under, 'b0', 'b'));
      await under.work.add(QUEUE, item(under, 'c0', 'c'));
      const taken = await take(under, { room: (group) => ({ a: 2, b: 0 })[group] ?? 5 });
      assert.deepEqual(keysOf(taken).sort(), ['a0', 'a1', 'c0']);
    });

    test('asks for room again when an item has been finished', async () => {
      await using under = await open();
      await under.work.add(QUEUE, item(under, '1'));
      await under.work.add(QUEUE, item(under, '2'));
      const first = await takeOne(under);
      let room = 0;
      const taking = take(under, { room: () => room });
      room = 1;
      await under.work.finish(QUEUE, first);
      assert.deepEqual(keysOf(await taking), ['2']);
    });

    test('gives every group its turn', async () => {
      await using under = await open();
      for (const group of ['a', 'b', 'c']) {
        for (let number = 0; number < 5; number++) {
          await under.work.add(QUEUE, item(under, `${group}${number}`, group));
        }
      }
      const groups: string[] = [];
      for (let turn = 0; turn < 6; turn++) {
        const taken = await under.work.take(QUEUE, { count: 1, lease: LEASE, room: () => 1 }, forever);
        groups.push(taken[0]?.group ?? '');
        await under.work.finish(QUEUE, taken[0] as TakenItem);
      }
      assert.deepEqual(groups.slice(0, 3).sort(), ['a', 'b', 'c']);
      assert.deepEqual(groups.slice(3), groups.slice(0, 3));
    });

    test('gives nothing of a group that rests, nor what is added to it, until it is over or hastened', async () => {
      await using under = await open();
      await under.work.add(QUEUE, item(under, '1'));
      await under.work.rest(QUEUE, 'a', under.clock.now() + 5000);
      await under.work.add(QUEUE, item(under, '2'));
      under.clock.advance(4999);
      await assertNothingDue(under);
      under.clock.advance(1);
      const taken = await take(under);
      assert.deepEqual(keysOf(taken), ['1', '2']);

      const [first, second] = taken as [TakenItem, TakenItem];
      await under.work.postpone(QUEUE, first, under.clock.now() + LONG / 2);
      await under.work.release(QUEUE, second);
      await under.work.rest(QUEUE, 'a', under.clock.now() + 5000);
      await assertNothingDue(under);
      await under.work.hasten(QUEUE, 'another');
      await assertNothingDue(under);
      await under.work.hasten(QUEUE, 'a');
      assert.deepEqual(keysOf(await take(under)).sort(), ['1', '2']);
    });

    test('follows an item that is added with another group', async () => {
      await using under = await open();
      await under.work.add(QUEUE, item(under, '1', 'a'));
      await under.work.rest(QUEUE, 'a', under.clock.now() + LONG);
      await under.work.add(QUEUE, item(under, '1', 'b'));
      assert.equal((await takeOne(under)).group, 'b');
    });

    test('never gives an item after its expiry', async () => {
      await using under = await open();
      await under.work.add(QUEUE, item(under, '1', 'a', under.clock.now() + 1000));
      under.clock.advance(1001);
      await assertNothingDue(under);
      assert.deepEqual(await Array.fromAsync(under.work.list(QUEUE)), []);
      assert.deepEqual(await Array.fromAsync(under.work.groups(QUEUE)), []);
    });

    test('adds what is missing and leaves the rest as it is', async () => {
      await using under = await open();
      await under.work.add(QUEUE, item(under, 'waits'));
      await under.work.postpone(QUEUE, await takeOne(under), under.clock.now() + 5000);
      await under.work.add(QUEUE, item(under, 'in hand'));
      const inHand = await takeOne(under);
      const all = ['waits', 'in hand', 'lost'].map((key) => item(under, key));
      assert.equal(await under.work.addMissing(QUEUE, all), 1);
      assert.equal(await under.work.addMissing(QUEUE, all), 0);
      assert.deepEqual(keysOf(await take(under)), ['lost']);
      assert.equal(await under.work.finish(QUEUE, inHand), true);
    });

    test('adds many that are missing at once', async () => {
      await using under = await open();
      const all = Array.from({ length: 1000 }, (_, number) => item(under, `${number}`, `${number % 7}`));
      assert.equal(await under.work.addMissing(QUEUE, all), 1000);
      assert.equal(await under.work.addMissing(QUEUE, all), 0);
      assert.equal((await take(under, { count: 2000, room: () => 2000 })).length, 1000);
    });

    test('tells since when the oldest item has been due that nobody has in hand', async () => {
      await using under = await open();
      const start = Math.floor(under.clock.now());
      assert.equal(await under.work.oldestDue(QUEUE), undefined);
      await under.work.add(QUEUE, item(under, 'old', 'a'));
      under.clock.advance(2000);
      await under.work.add(QUEUE, item(under, 'young', 'b'));
      under.clock.advance(1000);
      assert.equal(await under.work.oldestDue(QUEUE), start);
      assert.equal(await under.work.oldestDue('cargo'), undefined);

      const inHand = await takeOne(under);
      assert.equal(inHand.key, 'old');
      assert.equal(await under.work.oldestDue(QUEUE), start + 2000);
      await under.work.postpone(QUEUE, inHand, start + 60_000);
      assert.equal(await under.work.oldestDue(QUEUE), start + 2000);
      await under.work.rest(QUEUE, 'b', start + 10_000);
      assert.equal(await under.work.oldestDue(QUEUE), undefined);
      under.clock.advance(8000);
      assert.equal(await under.work.oldestDue(QUEUE), start + 10_000);
      await under.work.finish(QUEUE, await takeOne(under));
      assert.equal(await under.work.oldestDue(QUEUE), undefined);
    });

    test('lists items and groups, and takes single items out', async () => {
      await using under = await open();
      const now = under.clock.now();
      for (const [key, group] of [
        ['1', 'a'],
        ['2', 'a'],
        ['3', 'b'],
      ] as const) {
        await under.work.add(QUEUE, item(under, key, group));
      }
      await under.work.rest(QUEUE, 'b', now + 5000);
      assert.deepEqual(keysOf(await Array.fromAsync(under.work.list(QUEUE))).sort(), ['1', '2', '3']);
      assert.deepEqual(keysOf(await Array.fromAsync(under.work.list(QUEUE, 'a'))).sort(), ['1', '2']);
      const groups = await Array.fromAsync(under.work.groups(QUEUE));
      assert.deepEqual(
        groups.sort((one, other) => one.group.localeCompare(other.group)),
        [
          { group: 'a', count: 2, due: now, rest: 0 },
          { group: 'b', count: 1, due: now + 5000, rest: now + 5000 },
        ],
      );
      await under.work.remove(QUEUE, '1');
      await under.work.remove(QUEUE, 'nothing');
      assert.deepEqual(keysOf(await take(under)), ['2']);
    });
  });
}
