/** 100,000 records are backed up and restored well within their time, and in as much memory as any number would take. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BackupAnswer, fillDirectory, openVault, type RestoreAnswer } from '../support/backups.ts';

const RECORDS = 100_000;

/** A million may take 15 minutes. */
const LONGEST = (15 * 60_000) / 10;

test('100,000 records are restored within 90 seconds', { timeout: 600_000 }, async (context) => {
  using vault = await openVault();
  const DATA_DIR = await fillDirectory(vault, 'data', RECORDS);
  const file = vault.file('a.backup');
  const { records, counts } = await vault.ask<BackupAnswer>(['backup', '--to', file], { DATA_DIR }, LONGEST);
  assert.ok(records > RECORDS);
  const start = performance.now();
  const restored = await vault.ask<RestoreAnswer>(
    ['restore', '--from', file, '--recovery-key', vault.keyFile],
    { DATA_DIR: vault.file('new') },
    LONGEST,
  );
  const took = performance.now() - start;
  // Whoever takes longer is killed.
  context.diagnostic(`restored in ${(took / 1000).toFixed(1)} s`);
  assert.deepEqual(restored.counts, counts);
});
