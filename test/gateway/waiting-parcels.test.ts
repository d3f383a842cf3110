/** Parcels of a mailbox in the order of their arrival, whatever its size. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Mailboxes } from '../../src/gateway/mailbox.ts';
import type { ObjectEntry, StoredObject } from '../../src/gateway/ports.ts';
import { type FoundParcel, oldestFirst, readParcels } from '../../src/gateway/waiting-parcels.ts';

const entryOf = (key: string, arrival: number, size = 10): ObjectEntry => ({
  key,
  arrival,
  size,
  version: key,
  expiry: Number.POSITIVE_INFINITY,
  metadata: {},
});

/** In batches of no particular size. */
async function* listed(entries: readonly ObjectEntry[]) {
  for (let start = 0; start < entries.length; start += 7) {
    yield entries.slice(start, start + 7);
  }
}

async function* paged(entries: readonly ObjectEntry[]) {
  yield entries;
}

test('a mailbox is gone through oldest first, in pages of any size, each parcel once', async () => {
  const arrivals = fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(arrivals, fc.integer({ min: 1, max: 70 }), async (times, page) => {
      const entries = times.map((arrival, index) => entryOf(`key ${index}`, arrival));
      const isWanted = ({ key }: ObjectEntry) => !key.endsWith('3');
      const ordered = await Array.fromAsync(oldestFirst(() => listed(entries), isWanted, page));
      const expected = entries
        .filter(isWanted)
        .sort((one, other) => one.arrival - other.arrival || (one.key < other.key ? -1 : 1));
      assert.deepEqual(ordered.flat(), expected);
    }),
  );
});

test('what arrives while a page is gone through comes last', async () => {
  const entries = [entryOf('b', 2), entryOf('a', 1), entryOf('c', 3)];
  const seen: string[] = [];
  for await (const page of oldestFirst(
    () => listed([...entries]),
    () => true,
    2,
  )) {
    seen.push(...page.map(({ key }) => key));
    if (seen.length === 2) {
      entries.push(entryOf('d', 4));
    }
  }
  assert.deepEqual(seen, ['a', 'b', 'c', 'd']);
});

/** A store whose reads end in the order that the test says. */
function slowMailboxes(gone: ReadonlySet<string>) {
  const reads: { key: string; end: () => void }[] = [];
  const mailboxes = {
    readAll: (entries: readonly ObjectEntry[]) =>
      Promise.all(
        entries.map(
          ({ key }) =>
            new Promise<StoredObject | undefined>((resolve) => {
              const stored = { ...entryOf(key, 0), body: Buffer.from(key) };
              reads.push({ key, end: () => resolve(gone.has(key) ? undefined : stored) });
            }),
        ),
      ),
  } as unknown as Mailboxes;
  return { mailboxes, reads };
}

test('parcels are read ahead and given in order, without those that are gone', async () => {
  const { mailboxes, reads } = slowMailboxes(new Set(['b']));
  const given = Array.fromAsync(readParcels(mailboxes, paged(['a', 'b', 'c'].map((key) => entryOf(key, 0)))));
  while (reads.length < 3) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (const { end } of reads.toReversed()) {
    end();
  }
  assert.deepEqual(
    (await given).flat().map(({ stored }) => stored.key),
    ['a', 'c'],
  );
});

test('large parcels are not read before their turn', async () => {
  const { mailboxes, reads } = slowMailboxes(new Set());
  const large = ['a', 'b', 'c'].map((key) => entryOf(key, 0, 900_000));
  const parcels = readParcels(mailboxes, paged(large));
  for (const key of ['a', 'b', 'c']) {
    const next = parcels.next();
    while (reads.at(-1)?.key !== key) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    reads.at(-1)?.end();
    assert.deepEqual(
      (await next).value?.map(({ stored }: FoundParcel) => stored.key),
      [key],
    );
  }
  assert.equal(reads.length, 3);
});
