/** A data directory's records are copied as of one instant, while a gateway writes to it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { suite, test } from 'node:test';
import { openLocalSnapshot } from '../../../src/backends/local/snapshot.ts';
import type { RecordCopy } from '../../../src/gateway/ports.ts';
import { temporaryBackends, temporaryDirectory } from '../../support/local-backends.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const byKey = (one: RecordCopy, other: RecordCopy) => (one.key < other.key ? -1 : 1);

suite('A snapshot of a data directory', () => {
  test('has what was there when it was opened, whatever is written, replaced and deleted meanwhile', async () => {
    await using temporary = await temporaryBackends();
    const { backends, clock, directory } = temporary;
    const { records } = backends;
    const numbers = [...Array(3000).keys()];
    await Promise.all(numbers.map((number) => records.put('private-gateways', `key-${number}`, { number })));
    await records.put('configuration', 'octets', { octets: Buffer.from('octets') }, clock.now() + 1000);
    await using snapshot = await openLocalSnapshot(directory, clock, randomBytes);
    const copies: RecordCopy[] = [];
    let touched = false;
    for await (const copy of snapshot.records.read()) {
      copies.push(copy);
      if (copies.length === 100 && !touched) {
        touched = true;
        await records.put('private-gateways', 'key-2999', { number: -1 });
        await records.put('private-gateways', 'key-later', { number: -1 });
        await records.delete('private-gateways', 'key-2998');
        await records.delete('configuration', 'octets');
      }
    }
    assert.ok(touched);
    const expected: RecordCopy[] = numbers.map((number) => ({
      ...{ kind: 'private-gateways', key: `key-${number}`, fields: { number } },
    }));
    expected.push({
      ...{ kind: 'configuration', key: 'octets', fields: { octets: Buffer.from('octets') } },
      expiry: clock.now() + 1000,
    });
    assert.deepEqual(copies.sort(byKey), expected.sort(byKey));
    assert.equal(snapshot.records.count, expected.length);
    assert.equal(snapshot.records.damaged, 0);
  });

  test('leaves out what has expired, and what is damaged, which it counts', async () => {
    await using temporary = await temporaryBackends();
    const { backends, clock, directory } = temporary;
    await backends.records.put('configuration', 'stays', {});
    await backends.records.put('configuration', 'goes', {}, clock.now() + 10);
    await backends.records.put('configuration', 'damaged', {});
    clock.advance(11);
    const database = new DatabaseSync(path.join(directory, 'records.sqlite'));
    database.exec("UPDATE records SET fields = '{\"a\":1}' WHERE key = 'damaged'");
    database.close();
    await using snapshot = await openLocalSnapshot(directory, clock, randomBytes);
    const copies = await Array.fromAsync(snapshot.records.read());
    assert.deepEqual(
      copies.map(({ key }) => key),
      ['stays'],
    );
    assert.equal(snapshot.records.damaged, 1);
  });

  test('has the keys beside the records, and not among them', async () => {
    await using temporary = await temporaryBackends();
    const { backends, clock, directory } = temporary;
    const { reference } = await backends.identityKeys.create();
    await using snapshot = await openLocalSnapshot(directory, clock, randomBytes);
    assert.deepEqual(await Array.fromAsync(snapshot.records.read()), []);
    const { masterKey, privateKeys } = await snapshot.keys();
    assert.equal(masterKey.length, 32);
    assert.deepEqual(Object.keys(privateKeys), [reference]);
  });

  test('is not had of a directory in which there is no gateway, and makes none', async () => {
    await using directory = await temporaryDirectory();
    const nowhere = path.join(directory.path, 'nowhere');
    await assert.rejects(openLocalSnapshot(nowhere, new ManualClock(), randomBytes), { code: 'DATA_DIR_UNUSABLE' });
  });
});
