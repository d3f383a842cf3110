/** What goes into a backup comes out of it, and nothing else ever does. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Encrypter } from 'age-encryption';
import fc from 'fast-check';
import { BackupError } from '../../src/backup/errors.ts';
import { openBackup } from '../../src/backup/read-backup.ts';
import { newRecoveryKey, type RecoveryKey } from '../../src/backup/recovery-key.ts';
import { RECORD_KINDS, type RecordCopy } from '../../src/gateway/ports.ts';
import { encryptedBackup } from '../support/backups.ts';
import { manyRecords } from '../support/records.ts';

const NOW = 1_764_000_000_000;

/** Octets of age's chunks, with their tags. */
const CHUNK = 64 * 1024 + 16;

const KEY = await newRecoveryKey();
const LOCAL_KEYS = { masterKey: Buffer.alloc(32, 7), privateKeys: { 'a-key': Buffer.from('wrapped') } };

const backupOf = (records: Iterable<RecordCopy>, recipient = KEY.publicHalf) =>
  encryptedBackup(records, { recipient, instant: NOW, localKeys: LOCAL_KEYS });

/** @param piece octets that come at once */
async function contentsOf(backup: Buffer, { key = KEY, piece = 50_000 } = {}): Promise<RecordCopy[]> {
  const pieces = function* () {
    for (let at = 0; at < backup.length; at += piece) {
      yield backup.subarray(at, at + piece);
    }
  };
  const opened = await openBackup(ReadableStream.from<Uint8Array>(pieces()), key);
  return Array.fromAsync(opened.records());
}

/** What anybody can make who knows the public half. */
async function forged(text: string): Promise<Buffer> {
  const encrypter = new Encrypter();
  encrypter.addRecipient(KEY.publicHalf);
  return Buffer.from(await encrypter.encrypt(text));
}

async function refused(backup: Buffer, code: BackupError['code'], key: RecoveryKey = KEY): Promise<void> {
  await assert.rejects(contentsOf(backup, { key }), (error) => {
    assert.ok(error instanceof BackupError, `${error}`);
    assert.equal(error.code, code);
    assert.ok(!error.message.includes(key.privateHalf));
    return true;
  });
}

/** Without their prototypes, and octets as buffers, so that they compare. */
function plain(records: Iterable<RecordCopy>): RecordCopy[] {
  return [...records].map(({ fields, ...rest }) => ({
    ...rest,
    fields: Object.fromEntries(
      Object.entries(fields).map(([name, value]) => [name, value instanceof Uint8Array ? Buffer.from(value) : value]),
    ),
  }));
}

const arbitraryRecord: fc.Arbitrary<RecordCopy> = fc.record(
  {
    kind: fc.constantFrom(...RECORD_KINDS),
    key: fc.stringMatching(/^[\x20-\x7e]{1,60}$/),
    fields: fc.dictionary(
      fc.stringMatching(/^[a-z]\w{0,20}$/),
      fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null), fc.uint8Array()),
    ),
    expiry: fc.integer({ min: 1 }),
  },
  { requiredKeys: ['kind', 'key', 'fields'] },
);

suite('A backup', () => {
  test('gives back exactly the records that went into it, whatever is in them', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(arbitraryRecord), fc.integer({ min: 1, max: 5000 }), async (records, piece) => {
        assert.deepEqual(plain(await contentsOf(await backupOf(records), { piece })), plain(records));
      }),
      { numRuns: 50 },
    );
  });

  test('of many records comes back whole', async () => {
    const records = [...manyRecords(2000, NOW)];
    const backup = await backupOf(records);
    assert.deepEqual(plain(await contentsOf(backup)), plain(records));
    const { header } = await openBackup(ReadableStream.from<Uint8Array>([backup]), KEY);
    assert.deepEqual(header.localKeys, LOCAL_KEYS);
    assert.equal(header.instant, NOW);
  });

  test('that was cut off is refused, wherever that was', async () => {
    const backup = await backupOf(manyRecords(1500, NOW));
    assert.ok(backup.length > 4 * CHUNK);
    const head = backup.length % CHUNK;
    for (const length of [0, 1, head, head + CHUNK, head + 2 * CHUNK, 3 * CHUNK, backup.length - 1]) {
      await refused(backup.subarray(0, length), 'BACKUP_DAMAGED');
    }
  });

  test('of which any octet was changed is refused', async () => {
    const backup = await backupOf(manyRecords(10, NOW));
    // Of the recipient's stanza, another one cannot tell a wrong key from a wrong octet.
    const head = backup.indexOf('\n--- ');
    for (let at = head + 5; at < backup.length; at += 97) {
      const changed = Buffer.from(backup);
      changed[at] = (changed[at] as number) ^ 1;
      await refused(changed, 'BACKUP_DAMAGED');
    }
  });

  test('is opened by its own recovery key only', async () => {
    await refused(await backupOf([], (await newRecoveryKey()).publicHalf), 'RECOVERY_KEY_WRONG');
    await refused(Buffer.from('no backup at all'), 'BACKUP_DAMAGED');
  });

  test('that somebody else made up is refused, and nothing of it taken', async () => {
    const header = JSON.stringify({ backup: 1, id: 'x', instant: 1, internetAddress: 'a.test', keys: 'gcp-kms' });
    const record = JSON.stringify({ kind: 'configuration', key: 'x', fields: {} });
    const end = JSON.stringify({ end: { counts: { configuration: 1 }, sha256: '0'.repeat(64) } });
    for (const text of [
      '',
      '\n',
      'null\n',
      '{}\n',
      `${record}\n`,
      `${header}`,
      `${header}\n`,
      `${header}\n${record}\n`,
      `${header}\n${record}\n${end}\n`,
      `${header}\n{"kind":"configuration","key":"x","fields":{"a":[1]}}\n`,
      `${header}\n{"kind":"configuration","key":"x","fields":{"a":{}}}\n`,
      `${header}\n{"kind":"configuration","key":"x","fields":[]}\n`,
      `${header}\n{"kind":"configuration","key":1,"fields":{}}\n`,
      `${header}\n${' '.repeat(1024 * 1024)}`,
      `${header.replace('}', ',"localKeys":{"masterKey":"AAAA","privateKeys":{}}}')}\n`,
    ]) {
      await assert.rejects(
        contentsOf(await forged(text)),
        (error) => error instanceof BackupError && error.code === 'BACKUP_DAMAGED',
        text.slice(0, 200),
      );
    }
  });

  test('of a later version, or with records that this program does not know, says so', async () => {
    await refused(await forged('{"backup":2}\n'), 'BACKUP_UNSUPPORTED');
    const header = JSON.stringify({ backup: 1, id: 'x', instant: 1, internetAddress: 'gateway.test', keys: 'local' });
    await refused(await forged(`${header}\n{"kind":"pigeons","key":"x","fields":{}}\n`), 'BACKUP_UNSUPPORTED');
  });

  test('is not begun for a public half that is damaged', async () => {
    const wrong = KEY.publicHalf.replace(/.$/, (last) => (last === 'q' ? 'p' : 'q'));
    await assert.rejects(
      backupOf([], wrong),
      (error) => error instanceof BackupError && error.code === 'RECOVERY_KEY_INVALID',
    );
  });
});
