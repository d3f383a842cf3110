/** A backup is restored onto empty stores, whole or not at all. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type OpenBackup, openBackup } from '../../src/backup/read-backup.ts';
import { newRecoveryKey } from '../../src/backup/recovery-key.ts';
import { restoreBackup } from '../../src/backup/restore.ts';
import type { RecordCopy, Records } from '../../src/gateway/ports.ts';
import { RECORD_KINDS, StoreError } from '../../src/gateway/ports.ts';
import { requireRestored } from '../../src/gateway/restoration.ts';
import { encryptedBackup } from '../support/backups.ts';
import { temporaryBackends } from '../support/local-backends.ts';
import { manyRecords } from '../support/records.ts';

const KEY = await newRecoveryKey();

async function openOf(octets: Buffer): Promise<OpenBackup> {
  return openBackup(ReadableStream.from<Uint8Array>([octets]), KEY);
}

function backupOf(records: Iterable<RecordCopy>, instant: number): Promise<Buffer> {
  return encryptedBackup(records, { recipient: KEY.publicHalf, instant });
}

async function contentsOf(records: Records): Promise<RecordCopy[]> {
  const copies: RecordCopy[] = [];
  for (const kind of RECORD_KINDS) {
    for await (const { key, fields, expiry } of records.list(kind)) {
      copies.push({ kind, key, fields, ...(expiry !== undefined && { expiry }) });
    }
  }
  return copies.sort(byName);
}

function byName(one: RecordCopy, other: RecordCopy): number {
  return `${one.kind} ${one.key}` < `${other.kind} ${other.key}` ? -1 : 1;
}

/** Gives so many records, and fails then. */
function failingAfter(count: number, backup: OpenBackup): OpenBackup {
  return {
    header: backup.header,
    async *records() {
      let given = 0;
      for await (const record of backup.records()) {
        if (given++ === count) {
          throw new Error('the disk is gone');
        }
        yield record;
      }
    },
  };
}

suite('A restore', () => {
  test('writes every record as it was', async () => {
    await using temporary = await temporaryBackends();
    const { clock, backends } = temporary;
    const { records } = backends;
    const all = [...manyRecords(1234, clock.now())];
    const backup = await openOf(await backupOf(all, clock.now()));
    const report = await restoreBackup(backup, { records, now: clock.now() });
    assert.deepEqual(await contentsOf(records), all.sort(byName));
    assert.equal(report.records, all.length);
    assert.equal(report.leftOut, 0);
    await requireRestored(records);
  });

  test('leaves out what tells of messages in transit, of other stores, and what has expired since', async () => {
    await using temporary = await temporaryBackends();
    const { clock, backends } = temporary;
    const { records } = backends;
    const kept: RecordCopy = { kind: 'configuration', key: 'kept', fields: { a: 1 }, expiry: clock.now() };
    const others: RecordCopy[] = [
      { kind: 'collected-parcels', key: 'a/b', fields: {} },
      { kind: 'cca-progress', key: 'a/1/1', fields: {} },
      { kind: 'leases', key: 'housekeeping', fields: { holder: 'other' } },
      { kind: 'configuration', key: 'fleet', fields: { GCS_BUCKET: 'old' } },
      { kind: 'single-use-tokens', key: 'spent', fields: {}, expiry: clock.now() - 1 },
    ];
    // What the stores note of themselves stays.
    const note: RecordCopy = { kind: 'configuration', key: 'fleet', fields: { GCS_BUCKET: 'new' } };
    await records.put(note.kind, note.key, note.fields);
    const backup = await openOf(await backupOf([...others, kept], clock.now()));
    const report = await restoreBackup(backup, { records, now: clock.now() });
    assert.deepEqual(await contentsOf(records), [note, kept].sort(byName));
    assert.deepEqual(report, { counts: { configuration: 1 }, records: 1, leftOut: others.length });
  });

  test('that was cut short lets no gateway start, is gone on with, and gives way to no other', async () => {
    await using temporary = await temporaryBackends();
    const { clock, backends } = temporary;
    const { records } = backends;
    const all = [...manyRecords(2500, clock.now())];
    const octets = await backupOf(all, clock.now());
    const options = { records, objects: backends.objects, now: clock.now() };
    for (const count of [0, 1200, 2499]) {
      await assert.rejects(restoreBackup(failingAfter(count, await openOf(octets)), options), /the disk is gone/);
      await assert.rejects(requireRestored(records), { code: 'RESTORE_UNFINISHED' });
      await assert.rejects(backupOf(await contentsOf(records), clock.now()), { code: 'RESTORE_UNFINISHED' });
      const other = await openOf(await backupOf(all, clock.now()));
      await assert.rejects(restoreBackup(other, options), { code: 'STORES_NOT_EMPTY' });
    }
    await restoreBackup(await openOf(octets), options);
    assert.deepEqual(await contentsOf(records), all.sort(byName));
    await requireRestored(records);
    await assert.rejects(restoreBackup(await openOf(octets), options), { code: 'STORES_NOT_EMPTY' });
  });

  test('of a backup that turns out to be damaged does not count as one', async () => {
    await using temporary = await temporaryBackends();
    const { clock, backends } = temporary;
    const { records } = backends;
    const octets = await backupOf(manyRecords(1000, clock.now()), clock.now());
    const cut = await openOf(octets.subarray(0, -1));
    await assert.rejects(restoreBackup(cut, { records, now: clock.now() }), { code: 'BACKUP_DAMAGED' });
    await assert.rejects(requireRestored(records), { code: 'RESTORE_UNFINISHED' });
  });

  test('waits for a store that is away for a moment, and not for one that is full', async () => {
    await using temporary = await temporaryBackends();
    const { clock, backends } = temporary;
    const all = [...manyRecords(700, clock.now())];
    const octets = await backupOf(all, clock.now());
    const faults: StoreError[] = [];
    const records = Object.assign(Object.create(backends.records) as Records, {
      put: async (...parameters: Parameters<Records['put']>) => {
        const fault = parameters[0] === 'session-keys' ? faults.shift() : undefined;
        if (fault) {
          throw fault;
        }
        await backends.records.put(...parameters);
      },
    });
    faults.push(new StoreError('STORE_FULL', 'full'));
    const options = { records, now: clock.now() };
    await assert.rejects(restoreBackup(await openOf(octets), options), { code: 'STORE_FULL' });
    faults.push(new StoreError('STORE_AWAY', 'away'));
    await assert.rejects(restoreBackup(await openOf(octets), { ...options, patience: 0 }), { code: 'STORE_AWAY' });
    faults.push(new StoreError('STORE_AWAY', 'away'), new StoreError('STORE_AWAY', 'away'));
    await restoreBackup(await openOf(octets), options);
    assert.equal(faults.length, 0);
    assert.deepEqual(await contentsOf(backends.records), all.sort(byName));
  });

  test('writes nothing where there is a record or a message', async () => {
    await using temporary = await temporaryBackends();
    const { clock, backends } = temporary;
    const { records, objects } = backends;
    const octets = await backupOf([{ kind: 'configuration', key: 'new', fields: {} }], clock.now());
    const expiry = clock.now() + 1000;
    await objects.put('mailboxes/a/b', Buffer.from('parcel'), { expiry });
    const options = { records, objects, now: clock.now() };
    await assert.rejects(restoreBackup(await openOf(octets), options), { code: 'STORES_NOT_EMPTY' });
    await objects.delete('mailboxes/a/b');
    await records.put('blocked-peers', 'a', {});
    await assert.rejects(restoreBackup(await openOf(octets), options), { code: 'STORES_NOT_EMPTY' });
    assert.deepEqual(await contentsOf(records), [{ kind: 'blocked-peers', key: 'a', fields: {} }]);
  });
});
