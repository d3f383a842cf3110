/** A restore that is killed in its middle, again and again, is run again, and until then no gateway starts. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type BackupAnswer, fillDirectory, openVault, type RestoreAnswer, startCommand } from '../support/backups.ts';

const execute = promisify(execFile);

test('a restore that is killed at any of three moments is run again, and until then no gateway starts', async () => {
  using vault = await openVault();
  const source = await fillDirectory(vault, 'data', 4000);
  const file = vault.file('a.backup');
  const { records } = await vault.ask<BackupAnswer>(['backup', '--to', file], { DATA_DIR: source });
  const octets = readFileSync(file);
  const pipe = vault.file('pipe');
  await execute('mkfifo', [pipe]);
  const DATA_DIR = vault.file('new');
  const restore = (from: string) => ['restore', '--from', from, '--recovery-key', vault.keyFile];
  for (const share of [0.3, 0.6, 0.9]) {
    // It waits in the middle of the backup, for octets that do not come.
    const killed = startCommand(vault, restore(pipe), { DATA_DIR });
    const writer = await open(pipe, 'w');
    await writer.writeFile(octets.subarray(0, octets.length * share));
    await hasRecords(DATA_DIR);
    killed.kill('SIGKILL');
    await once(killed, 'close');
    await writer.close();
    const { code, stderr } = await vault.run(['identity'], { DATA_DIR });
    assert.equal(code, 1);
    assert.match(stderr, /run the same relay-gateway restore again/);
  }
  const restored = await vault.ask<RestoreAnswer>(restore(file), { DATA_DIR });
  assert.equal(restored.records, records);
  const { nodeId } = await vault.ask<{ nodeId: string }>(['identity'], { DATA_DIR });
  assert.equal(nodeId, restored.nodeId);
  // Done is done.
  assert.equal((await vault.run(restore(file), { DATA_DIR })).code, 1);
});

/** Resolves when a restore has written records: they are read beside it. */
async function hasRecords(directory: string): Promise<void> {
  for (;;) {
    try {
      const database = new DatabaseSync(path.join(directory, 'records.sqlite'), { readOnly: true });
      const row = database.prepare("SELECT count(*) AS count FROM records WHERE kind = 'session-keys'").get();
      database.close();
      if (Number(row?.['count']) > 0) {
        return;
      }
    } catch {
      // Not there yet.
    }
    await delay(20);
  }
}
