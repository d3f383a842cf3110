/** What every object store promises. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, describe, test as nodeTest } from 'node:test';
import type { ObjectEntry, ObjectStore } from '../../src/gateway/ports.ts';
import type { ManualClock } from '../support/manual-clock.ts';

export interface ObjectStoreUnderTest extends AsyncDisposable {
  readonly objects: ObjectStore;
  readonly clock: ManualClock;
}

const HOUR = 3_600_000;

/** By the name of a case, why the server that is below the store fails it, and with which error. */
export type Departures = Readonly<Record<string, { readonly label: string; readonly match: object }>>;

/** @param departures cases that must fail, since they ask for what this server cannot do */
export function objectStoreContract(
  name: string,
  open: () => Promise<ObjectStoreUnderTest>,
  departures: Departures = {},
): void {
  describe(`${name} as an object store`, () => {
    const unmet = new Set(Object.keys(departures));
    after(() => assert.deepEqual([...unmet], [], 'departures from cases that there are not'));
    const test = (promise: string, check: () => Promise<void>) => {
      unmet.delete(promise);
      const expectFailure = departures[promise];
      return nodeTest(promise, expectFailure ? { expectFailure } : {}, check);
    };

    test('gives back what was put, with its metadata', async () => {
      await using store = await open();
      const expiry = store.clock.now() + HOUR;
      const entry = await store.objects.put('mailboxes/a/1', Buffer.from('parcel'), {
        expiry,
        metadata: { trace: 't1', parcel: 'id "with" ünïcode' },
      });
      const stored = await store.objects.get('mailboxes/a/1');
      assert.deepEqual(stored, { ...entry, body: Buffer.from('parcel') });
      assert.equal(entry.key, 'mailboxes/a/1');
      assert.equal(entry.size, 6);
      assert.equal(entry.expiry, expiry);
      assert.deepEqual(entry.metadata, { trace: 't1', parcel: 'id "with" ünïcode' });
    });

    test('gives many from a list at once, where it can, as it gives each', async () => {
      await using store = await open();
      const { objects, clock } = store;
      const expiry = clock.now() + HOUR;
      const sizes = [1000, 0, 5000, 70_000, 12, ...Array.from({ length: 60 }, (_, index) => index)];
      for (const [index, size] of sizes.entries()) {
        // The last one does not live as long.
        await objects.put(`many/${index}`, randomBytes(size), { expiry: index === 64 ? expiry - 1 : expiry });
      }
      const listed = (await all(objects, 'many/')).toReversed();
      await objects.put('many/2', Buffer.from('newer'), { expiry });
      await objects.delete('many/4');
      clock.advance(HOUR);
      const each = await Promise.all(listed.map((entry) => objects.get(entry.key, entry)));
      assert.equal(each.filter(Boolean).length, 63);
      assert.equal(each[listed.findIndex(({ key }) => key === 'many/2')]?.body.toString(), 'newer');
      // Some have all of a look, others lack some.
      for (const some of [listed, listed.slice(0, 20), listed.slice(0, 1), []]) {
        assert.deepEqual((await objects.getAll?.(some)) ?? each.slice(0, some.length), each.slice(0, some.length));
      }
    });

    test('lists what was put last, where it can, and nothing else', async () => {
      await using store = await open();
      const { objects, clock } = store;
      const put = (key: string) => objects.put(key, Buffer.from(key), { expiry: clock.now() + HOUR });
      await put('a/old');
      await put('a/replaced');
      clock.advance(60_000);
      const wanted = [await put('a/1'), await put('a/replaced')];
      await put('a/deleted');
      await objects.delete('a/deleted');
      await put('b/1');
      clock.advance(60_000);
      const newest = await Array.fromAsync(objects.listNewest?.('a/', 30_000) ?? wanted);
      assert.deepEqual(newest, wanted);
    });

    test('puts unless what is there stays, which it is asked of the newest version', async () => {
      await using store = await open();
      const { objects, clock } = store;
      const expiry = clock.now() + HOUR;
      const options = { expiry, metadata: {} };
      const asked: (string | undefined)[] = [];
      const putUnless = (body: string, stays: boolean) =>
        objects.putUnless('a/1', Buffer.from(body), options, ({ version }) => {
          asked.push(version);
          return stays;
        });
      const first = await putUnless('first', true);
      assert.deepEqual(asked, []);
      assert.equal(await putUnless('second', true), undefined);
      assert.equal((await objects.get('a/1'))?.body.toString(), 'first');
      const third = await putUnless('third', false);
      assert.deepEqual(asked, [first?.version, first?.version]);
      assert.equal((await objects.find('a/1'))?.version, third?.version);
      await objects.delete('a/1');
      assert.notEqual(await putUnless('fourth', true), undefined);
      assert.equal(asked.length, 2);
      // What has expired is not there, though the disk may have it.
      clock.advance(HOUR + 1);
      const later = await objects.putUnless('a/1', Buffer.from('fifth'), { expiry: expiry + 2 * HOUR }, () => true);
      assert.equal((await objects.find('a/1'))?.version, later?.version);
    });

    test('puts under one key at once so that what is to stay stays', async () => {
      await using store = await open();
      const { objects, clock } = store;
      const ranks = [3, 7, 1, 9, 2, 8, 5, 6, 4, 0];
      const put = (rank: number) => {
        const options = { expiry: clock.now() + HOUR, metadata: { rank: `${rank}` } };
        const stays = ({ metadata }: ObjectEntry) => Number(metadata['rank']) > rank;
        return objects.putUnless('a/1', Buffer.from(`${rank}`), options, stays);
      };
      // What is put without a condition is seen by those that come later, also while it is under way.
      const plain = objects.put('a/1', Buffer.from('11'), { expiry: clock.now() + HOUR, metadata: { rank: '11' } });
      const outcomes = await Promise.all(ranks.slice(0, 3).map(put));
      await plain;
      assert.deepEqual(outcomes, [undefined, undefined, undefined]);
      await objects.delete('a/1');
      await Promise.all(ranks.map(put));
      assert.equal((await objects.get('a/1'))?.body.toString(), '9');
    });

    test('has nothing under a key that was never put', async () => {
      await using store = await open();
      assert.equal(await store.objects.get('mailboxes/a/1'), undefined);
      assert.deepEqual(await all(store.objects, 'mailboxes/'), []);
    });

    test('keeps empty bodies and bodies of 9 MiB byte for byte', async () => {
      await using store = await open();
      const expiry = store.clock.now() + HOUR;
      const large = randomBytes(9 * 1024 * 1024);
      await store.objects.put('empty', Buffer.alloc(0), { expiry });
      await store.objects.put('large', large, { expiry });
      assert.equal((await store.objects.get('empty'))?.body.length, 0);
      assert.ok((await store.objects.get('large'))?.body.equals(large));
    });

    test('does not see what the caller does to its buffer after the put', async () => {
      await using store = await open();
      const body = Buffer.from('before');
      await store.objects.put('a', body, { expiry: store.clock.now() + HOUR });
      body.write('after!');
      assert.equal((await store.objects.get('a'))?.body.toString(), 'before');
    });

    test('gives a body of its own to each reader', async () => {
      await using store = await open();
      await store.objects.put('a', Buffer.from('body'), { expiry: store.clock.now() + HOUR });
      const first = await store.objects.get('a');
      first?.body.fill(0);
      assert.equal((await store.objects.get('a'))?.body.toString(), 'body');
    });

    test('gives to whoever has listed an object what it gives to others', async () => {
      await using store = await open();
      const expiry = store.clock.now() + HOUR;
      const metadata = { parcel: 'id' };
      const kept = await store.objects.put('kept', Buffer.from('kept'), { expiry, metadata });
      const replaced = await store.objects.put('replaced', Buffer.from('before'), { expiry });
      const deleted = await store.objects.put('deleted', Buffer.from('deleted'), { expiry });
      const expiring = await store.objects.put('expiring', Buffer.from('expiring'), { expiry: expiry - 1 });
      const after = await store.objects.put('replaced', Buffer.from('after'), { expiry });
      await store.objects.delete('deleted');
      assert.deepEqual(await store.objects.get('kept', kept), { ...kept, body: Buffer.from('kept') });
      assert.deepEqual(await store.objects.get('replaced', replaced), { ...after, body: Buffer.from('after') });
      assert.equal(await store.objects.get('deleted', deleted), undefined);
      store.clock.advance(HOUR);
      assert.equal(await store.objects.get('expiring', expiring), undefined);
    });

    test('replaces what is under a key by a new version with a later arrival', async () => {
      await using store = await open();
      const expiry = store.clock.now() + HOUR;
      const first = await store.objects.put('a', Buffer.from('first'), { expiry });
      const second = await store.objects.put('a', Buffer.from('second'), { expiry: expiry + 1 });
      assert.notEqual(first.version, second.version);
      assert.ok(second.arrival > first.arrival);
      assert.equal((await store.objects.get('a'))?.body.toString(), 'second');
      assert.deepEqual(await all(store.objects, ''), [second]);
    });

    test('lets arrivals grow strictly, also within a millisecond and when the clock is set back', async () => {
      await using store = await open();
      const expiry = store.clock.now() + HOUR;
      const arrivals: number[] = [];
      for (let number = 0; number < 20; number++) {
        if (number === 10) {
          store.clock.advance(-1000);
        }
        arrivals.push((await store.objects.put(`a/${number}`, Buffer.from('x'), { expiry })).arrival);
      }
      for (const [index, arrival] of arrivals.entries()) {
        assert.ok(index === 0 || arrival > (arrivals[index - 1] as number));
      }
    });

    test('of puts at once on one key, keeps the one with the latest arrival', async () => {
      await using store = await open();
      const expiry = store.clock.now() + HOUR;
      const entries = await Promise.all(
        Array.from({ length: 10 }, (_, number) => store.objects.put('a', Buffer.from(`${number}`), { expiry })),
      );
      const latest = entries.reduce((best, entry) => (entry.arrival > best.arrival ? entry : best));
      const stored = await store.objects.get('a');
      assert.equal(stored?.version, latest.version);
      assert.equal(stored?.body.toString(), `${entries.indexOf(latest)}`);
    });

    test('tells of one object what a listing tells, and of nothing beside it', async () => {
      await using store = await open();
      const { objects, clock } = store;
      const expiry = clock.now() + HOUR;
      assert.equal(await objects.find('a/1'), undefined);
      await objects.put('a/10', Buffer.from('longer key'), { expiry });
      assert.equal(await objects.find('a/1'), undefined);
      await objects.put('a/1', Buffer.from('older'), { expiry });
      const newer = await objects.put('a/1', Buffer.from('newer'), { expiry, metadata: { trace: 't' } });
      assert.deepEqual(await objects.find('a/1'), newer);
      assert.deepEqual(
        (await all(objects, 'a/')).find(({ key }) => key === 'a/1'),
        newer,
      );
      assert.equal(await objects.find('a/'), undefined);
      await objects.delete('a/1');
      assert.equal(await objects.find('a/1'), undefined);
      clock.advance(HOUR + 1);
      assert.equal(await objects.find('a/10'), undefined);
    });

    test('lists by prefix and nothing beside it', async () => {
      await using store = await open();
      const expiry = store.clock.now() + HOUR;
      const keys = ['m/a/1', 'm/a/2', 'm/a~', 'm/ab/1', 'm/b/1', 'm/a', 'n'];
      await putAll(store.objects, keys, expiry);
      assert.deepEqual(await listedKeys(store.objects, 'm/a/'), ['m/a/1', 'm/a/2']);
      assert.deepEqual(await listedKeys(store.objects, 'm/'), keys.filter((key) => key.startsWith('m/')).sort());
      assert.deepEqual(await listedKeys(store.objects, ''), [...keys].sort());
    });

    test('lists more than a page, each object once', async () => {
      await using store = await open();
      const expiry = store.clock.now() + HOUR;
      const keys = Array.from({ length: 1000 }, (_, number) => `m/${number}`);
      await putAll(store.objects, keys, expiry);
      assert.deepEqual(await listedKeys(store.objects, 'm/'), keys.sort());
    });

    test('lists many together, where it can, as it lists each', async () => {
      await using store = await open();
      const { objects, clock } = store;
      const expiry = clock.now() + HOUR;
      await putAll(
        objects,
        Array.from({ length: 300 }, (_, number) => `m/${number}`),
        expiry,
      );
      await objects.put('m/soon', Buffer.alloc(1), { expiry: expiry - 1 });
      clock.advance(HOUR);
      const each = await all(objects, 'm/');
      assert.equal(each.length, 300);
      const pages = objects.listPages && (await Array.fromAsync(objects.listPages('m/')));
      assert.deepEqual(pages?.flat() ?? each, each);
      assert.ok(pages?.every(({ length }) => length > 0) ?? true);
      assert.deepEqual(objects.listPages && (await Array.fromAsync(objects.listPages('n/'))), pages && []);
    });

    test('lists on while the listed objects are deleted', async () => {
      await using store = await open();
      const expiry = store.clock.now() + HOUR;
      const keys = Array.from({ length: 600 }, (_, number) => `m/${number}`);
      await putAll(store.objects, keys, expiry);
      const seen: string[] = [];
      for await (const { key, version } of store.objects.list('m/')) {
        seen.push(key);
        await store.objects.delete(key, version);
      }
      assert.deepEqual(seen.sort(), keys.sort());
      assert.deepEqual(await listedKeys(store.objects, 'm/'), []);
    });

    test('deletes, and again without complaint', async () => {
      await using store = await open();
      const { version } = await store.objects.put('a', Buffer.from('x'), { expiry: store.clock.now() + HOUR });
      assert.equal(await store.objects.delete('a'), true);
      assert.equal(await store.objects.delete('a'), false);
      assert.equal(await store.objects.delete('a', version), false);
      assert.equal(await store.objects.get('a'), undefined);
      assert.deepEqual(await all(store.objects, ''), []);
    });

    test('of several that delete the same version at once, tells one that it did', async () => {
      await using store = await open();
      const { version } = await store.objects.put('a', Buffer.from('x'), { expiry: store.clock.now() + HOUR });
      const removed = await Promise.all([1, 2, 3].map(() => store.objects.delete('a', version)));
      assert.deepEqual(removed.sort(), [false, false, true]);
    });

    test('with a version, deletes that version only', async () => {
      await using store = await open();
      const expiry = store.clock.now() + HOUR;
      const old = await store.objects.put('a', Buffer.from('old'), { expiry });
      const other = await store.objects.put('b', Buffer.from('other'), { expiry });
      const newer = await store.objects.put('a', Buffer.from('new'), { expiry });
      assert.equal(await store.objects.delete('a', old.version), false);
      assert.equal(await store.objects.delete('a', other.version), false);
      assert.equal(await store.objects.delete('a', 'no such version'), false);
      assert.equal((await store.objects.get('a'))?.body.toString(), 'new');
      assert.equal(await store.objects.delete('a', newer.version), true);
      assert.equal(await store.objects.get('a'), undefined);
      assert.equal((await store.objects.get('b'))?.body.toString(), 'other');
    });

    test('never gives an object back after its expiry', async () => {
      await using store = await open();
      const now = store.clock.now();
      await store.objects.put('m/soon', Buffer.from('x'), { expiry: now + 1000 });
      await store.objects.put('m/later', Buffer.from('y'), { expiry: now + 2000 });
      store.clock.advance(1000);
      assert.deepEqual(await listedKeys(store.objects, 'm/'), ['m/later', 'm/soon']);
      store.clock.advance(1);
      assert.equal(await store.objects.get('m/soon'), undefined);
      assert.deepEqual(await listedKeys(store.objects, 'm/'), ['m/later']);
    });

    test('takes keys of 512 characters', async () => {
      await using store = await open();
      const key = `m/${'k'.repeat(510)}`;
      await store.objects.put(key, Buffer.from('x'), { expiry: store.clock.now() + HOUR });
      assert.deepEqual(await listedKeys(store.objects, key), [key]);
    });
  });
}

async function all(objects: ObjectStore, prefix: string): Promise<ObjectEntry[]> {
  return Array.fromAsync(objects.list(prefix));
}

/** Puts a body under each key, so many at once that each is done within the time that a client would wait. */
async function putAll(objects: ObjectStore, keys: readonly string[], expiry: number): Promise<void> {
  for (let done = 0; done < keys.length; done += 50) {
    await Promise.all(keys.slice(done, done + 50).map((key) => objects.put(key, Buffer.from(key), { expiry })));
  }
}

async function listedKeys(objects: ObjectStore, prefix: string): Promise<string[]> {
  return (await all(objects, prefix)).map((entry) => entry.key).sort();
}
