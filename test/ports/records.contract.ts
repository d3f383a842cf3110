/** What every keeper of records promises. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Records } from '../../src/gateway/ports.ts';
import type { ManualClock } from '../support/manual-clock.ts';

export interface RecordsUnderTest extends AsyncDisposable {
  readonly records: Records;
  readonly clock: ManualClock;
}

/** Characters and names that a store may have a meaning of its own for. */
const ODD_KEYS = [
  ...[
    '.',
    '..',
    '/',
    '//',
    './',
    '../a',
    '__a__',
    '__',
    '~',
    ' ',
    ' a',
    'a ',
    '%2F',
    '%',
    '*',
    '`',
    '"',
    "'",
    '\\',
    '#',
    '?',
  ],
  ...['a', 'a.', 'a.0', 'a.1', 'a/', 'a/b', 'a.b', 'a-b', 'a0', 'a.1b', 'a/1', 'a~', 'A', 'b'],
];

export function recordsContract(name: string, open: () => Promise<RecordsUnderTest>): void {
  describe(`${name} as a keeper of records`, () => {
    test('gives back fields of each type', async () => {
      await using store = await open();
      const fields = { text: 'é"\0', number: 1.5, big: 2 ** 53 - 1, yes: true, no: false, nothing: null };
      await store.records.put('configuration', 'a', { ...fields, octets: Buffer.from([0, 1, 255]) });
      const record = await store.records.get('configuration', 'a');
      const { octets, ...others } = record?.fields ?? {};
      assert.deepEqual(others, fields);
      assert.ok(octets instanceof Uint8Array);
      assert.deepEqual([...octets], [0, 1, 255]);
    });

    test('keeps records of 60 KiB and records without fields', async () => {
      await using store = await open();
      await store.records.put('configuration', 'large', { text: 'x'.repeat(60 * 1024) });
      await store.records.put('configuration', 'empty', {});
      assert.equal(`${(await store.records.get('configuration', 'large'))?.fields['text']}`.length, 60 * 1024);
      assert.deepEqual((await store.records.get('configuration', 'empty'))?.fields, {});
    });

    test('writes many at once, where it can, and gives many at once, as it does each', async () => {
      await using store = await open();
      const { records, clock } = store;
      const expiry = clock.now() + 1000;
      await records.put('sent-parcels', 'there', { octets: 'before' });
      const written = [
        { key: 'there', fields: { octets: 'é"\\\0\n', number: 1.5, nothing: null }, expiry },
        { key: 'stays', fields: { octets: Buffer.from([0, 255]), yes: true } },
        { key: 'goes', fields: {}, expiry: clock.now() + 10 },
      ];
      await (records.putAll?.('sent-parcels', written) ??
        Promise.all(written.map(({ key, fields, expiry }) => records.put('sent-parcels', key, fields, expiry))));
      clock.advance(11);
      const keys = ['goes', 'there', 'missing', 'stays'];
      const each = await Promise.all(keys.map((key) => records.get('sent-parcels', key)));
      assert.deepEqual(
        each.map((record) => record?.key),
        [undefined, 'there', undefined, 'stays'],
      );
      assert.deepEqual(each[1]?.fields, written[0]?.fields);
      assert.equal(each[1]?.expiry, Math.floor(expiry));
      assert.deepEqual(each[3]?.fields['octets'] && [...(each[3].fields['octets'] as Uint8Array)], [0, 255]);
      assert.deepEqual((await records.getAll?.('sent-parcels', keys)) ?? each, each);
      assert.equal(await records.get('configuration', 'stays'), undefined);
    });

    test('keeps kinds apart', async () => {
      await using store = await open();
      await store.records.put('configuration', 'a', { kind: 1 });
      await store.records.put('session-keys', 'a', { kind: 2 });
      assert.equal(await store.records.get('private-gateways', 'a'), undefined);
      await store.records.delete('session-keys', 'a');
      assert.deepEqual((await store.records.get('configuration', 'a'))?.fields, { kind: 1 });
    });

    test('creates only where there is nothing', async () => {
      await using store = await open();
      assert.equal(await store.records.create('single-use-tokens', 'a', { n: 1 }), true);
      assert.equal(await store.records.create('single-use-tokens', 'a', { n: 2 }), false);
      assert.deepEqual((await store.records.get('single-use-tokens', 'a'))?.fields, { n: 1 });
    });

    test('lets one of many creators at once win, and keeps what the winner wrote', async () => {
      await using store = await open();
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, n) => store.records.create('single-use-tokens', 'a', { n })),
      );
      assert.equal(results.filter(Boolean).length, 1);
      assert.deepEqual((await store.records.get('single-use-tokens', 'a'))?.fields, { n: results.indexOf(true) });
    });

    test('creates again what expired', async () => {
      await using store = await open();
      const expiry = store.clock.now() + 1000;
      assert.equal(await store.records.create('single-use-tokens', 'a', { n: 1 }, expiry), true);
      store.clock.advance(1000);
      assert.equal(await store.records.create('single-use-tokens', 'a', { n: 2 }, expiry), false);
      store.clock.advance(1);
      assert.equal(await store.records.get('single-use-tokens', 'a'), undefined);
      assert.equal(await store.records.create('single-use-tokens', 'a', { n: 3 }), true);
      assert.deepEqual((await store.records.get('single-use-tokens', 'a'))?.fields, { n: 3 });
    });

    test('replaces only the version that the writer has seen', async () => {
      await using store = await open();
      await store.records.put('configuration', 'a', { n: 1 });
      const seen = (await store.records.get('configuration', 'a'))?.version as string;
      assert.equal(await store.records.replace('configuration', 'a', seen, { n: 2 }), true);
      assert.equal(await store.records.replace('configuration', 'a', seen, { n: 3 }), false);
      assert.equal(await store.records.replace('configuration', 'b', seen, { n: 4 }), false);
      assert.equal(await store.records.replace('configuration', 'a', 'no version', { n: 5 }), false);
      const now = await store.records.get('configuration', 'a');
      assert.deepEqual(now?.fields, { n: 2 });
      assert.notEqual(now?.version, seen);
    });

    test('lets one of many replacers at once win', async () => {
      await using store = await open();
      await store.records.put('configuration', 'a', { n: -1 });
      const { version } = (await store.records.get('configuration', 'a')) as { version: string };
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, n) => store.records.replace('configuration', 'a', version, { n })),
      );
      assert.equal(results.filter(Boolean).length, 1);
      assert.deepEqual((await store.records.get('configuration', 'a'))?.fields, { n: results.indexOf(true) });
    });

    test('does not take a version for current after the record was deleted and made anew', async () => {
      await using store = await open();
      await store.records.put('configuration', 'a', { n: 1 });
      const { version } = (await store.records.get('configuration', 'a')) as { version: string };
      await store.records.delete('configuration', 'a');
      await store.records.put('configuration', 'a', { n: 1 });
      assert.equal(await store.records.replace('configuration', 'a', version, { n: 2 }), false);
      assert.equal(await store.records.delete('configuration', 'a', version), false);
    });

    test('does not replace or find what expired, nor delete it by version', async () => {
      await using store = await open();
      await store.records.put('configuration', 'a', { n: 1 }, store.clock.now() + 1000);
      const { version } = (await store.records.get('configuration', 'a')) as { version: string };
      store.clock.advance(1001);
      assert.equal(await store.records.replace('configuration', 'a', version, { n: 2 }), false);
      assert.equal(await store.records.delete('configuration', 'a', version), false);
      assert.equal(await store.records.get('configuration', 'a'), undefined);
      assert.deepEqual(await Array.fromAsync(store.records.list('configuration')), []);
    });

    test('takes the expiry of the last write, or none', async () => {
      await using store = await open();
      await store.records.put('configuration', 'a', { n: 1 }, store.clock.now() + 1000);
      await store.records.put('configuration', 'a', { n: 2 });
      store.clock.advance(2000);
      assert.deepEqual((await store.records.get('configuration', 'a'))?.fields, { n: 2 });
    });

    test('tells when each record expires', async () => {
      await using store = await open();
      const expiry = store.clock.now() + 1500;
      await store.records.put('configuration', 'goes', {}, expiry);
      await store.records.put('configuration', 'stays', {});
      assert.equal((await store.records.get('configuration', 'goes'))?.expiry, expiry);
      const listed = await Array.fromAsync(store.records.list('configuration'));
      assert.deepEqual(
        listed.map((record) => [record.key, record.expiry]),
        [
          ['goes', expiry],
          ['stays', undefined],
        ],
      );
    });

    test('copies all records as of one instant, whatever is written meanwhile', async () => {
      await using store = await open();
      const { records, clock } = store;
      const expiry = clock.now() + 1000;
      await records.put('private-gateways', 'a', { octets: Buffer.from([1]) }, expiry);
      await records.put('configuration', 'b', { text: 'before' });
      await records.put('session-keys', 'c/d', {});
      assert.ok(records.snapshot);
      await using snapshot = await records.snapshot();
      await records.put('configuration', 'b', { text: 'after' });
      await records.delete('session-keys', 'c/d');
      await records.put('leases', 'later', {});
      const copies = await Array.fromAsync(snapshot.read());
      const byKey = copies.toSorted((one, other) => (one.key < other.key ? -1 : 1));
      assert.deepEqual(byKey, [
        { kind: 'private-gateways', key: 'a', fields: { octets: Buffer.from([1]) }, expiry },
        { kind: 'configuration', key: 'b', fields: { text: 'before' } },
        { kind: 'session-keys', key: 'c/d', fields: {} },
      ]);
      assert.equal(snapshot.damaged, 0);
    });

    test('deletes with and without a version', async () => {
      await using store = await open();
      assert.equal(await store.records.delete('configuration', 'a'), true);
      await store.records.put('configuration', 'a', { n: 1 });
      const { version } = (await store.records.get('configuration', 'a')) as { version: string };
      await store.records.put('configuration', 'a', { n: 2 });
      assert.equal(await store.records.delete('configuration', 'a', version), false);
      const current = (await store.records.get('configuration', 'a')) as { version: string };
      assert.equal(await store.records.delete('configuration', 'a', current.version), true);
      assert.equal(await store.records.get('configuration', 'a'), undefined);
    });

    test('gives each write a version of its own, also one that changes nothing', async () => {
      await using store = await open();
      const versions = new Set<string | undefined>();
      for (let n = 0; n < 3; n++) {
        await store.records.put('configuration', 'a', { n: 1 });
        versions.add((await store.records.get('configuration', 'a'))?.version);
      }
      const [latest] = [...versions].slice(-1);
      assert.equal(await store.records.replace('configuration', 'a', latest as string, { n: 1 }), true);
      versions.add((await store.records.get('configuration', 'a'))?.version);
      assert.equal(versions.size, 4);
    });

    test('keeps apart, finds and orders keys of whatever characters', async () => {
      await using store = await open();
      const keys = [...ODD_KEYS, 'x'.repeat(512), `${'./'.repeat(255)}x`].sort();
      await Promise.all(keys.map((key) => store.records.put('configuration', key, { key })));
      for (const key of keys) {
        assert.deepEqual((await store.records.get('configuration', key))?.fields, { key });
      }
      for (const prefix of ['', '.', '/', 'a', 'a.', 'a/', 'a.0', 'a.1', '_', ' ', '~', 'x', './', 'nothing']) {
        const listed = await Array.fromAsync(store.records.list('configuration', prefix));
        assert.deepEqual(
          listed.map(({ key }) => key),
          keys.filter((key) => key.startsWith(prefix)),
          `prefix "${prefix}"`,
        );
        assert.ok(listed.every(({ key, fields }) => fields['key'] === key));
      }
    });

    test('refuses keys, sizes and numbers that cannot be kept', async () => {
      await using store = await open();
      for (const key of ['', 'x'.repeat(513), 'é', 'a\nb', 'a\x7f']) {
        await assert.rejects(store.records.put('configuration', key, {}), TypeError);
      }
      await assert.rejects(store.records.put('configuration', 'a', { text: 'x'.repeat(65 * 1024) }), TypeError);
      await assert.rejects(store.records.put('configuration', 'a', { n: Number.NaN }), TypeError);
      assert.deepEqual(await Array.fromAsync(store.records.list('configuration')), []);
    });

    test('lists a kind in key order, by prefix, over pages', async () => {
      await using store = await open();
      const keys = Array.from({ length: 300 }, (_, n) => `p/${n}`);
      await Promise.all([
        ...keys.map((key) => store.records.put('private-gateways', key, { key })),
        store.records.put('private-gateways', 'q', {}),
        store.records.put('configuration', 'p/x', {}),
      ]);
      const listed = await Array.fromAsync(store.records.list('private-gateways', 'p/'));
      assert.deepEqual(
        listed.map((record) => record.key),
        [...keys].sort(),
      );
      assert.ok(listed.every((record) => record.fields['key'] === record.key));
      assert.equal((await Array.fromAsync(store.records.list('private-gateways'))).length, 301);
    });
  });
}
