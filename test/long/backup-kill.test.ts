/**
 * Each command about backups and recovery is killed at three moments and run again: it ends well, and nothing is half
 * done. A restore waits at its moments; the others are killed at random ones.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  type BackupAnswer,
  fillDirectory,
  openVault,
  type RestoreAnswer,
  startCommand,
  type Vault,
} from '../support/backups.ts';
import { chooseSeed, seededChance } from '../support/chance.ts';

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

test('a verification that is told to stop takes the secrets away that it has unpacked', async () => {
  using vault = await openVault();
  const file = vault.file('a.backup');
  await vault.ask(['backup', '--to', file], { DATA_DIR: await fillDirectory(vault, 'data', 4000) });
  const octets = readFileSync(file);
  const pipe = vault.file('pipe');
  await execute('mkfifo', [pipe]);
  const scratch = vault.file('scratch');
  mkdirSync(scratch);
  const parameters = ['backup', 'verify', pipe, '--recovery-key', vault.keyFile, '--scratch', scratch];
  const stopped = startCommand(vault, parameters, {});
  const writer = await open(pipe, 'w');
  const half = octets.length / 2;
  await writer.writeFile(octets.subarray(0, half));
  while (readdirSync(scratch).length === 0) {
    await delay(20);
  }
  await hasRecords(path.join(scratch, readdirSync(scratch)[0] ?? ''));
  stopped.kill('SIGTERM');
  const ended = once(stopped, 'close');
  await writer.writeFile(octets.subarray(half)).catch(() => undefined);
  await writer.close();
  assert.deepEqual(await ended, [1, null]);
  assert.deepEqual(readdirSync(scratch), []);
});

/** As many records as make a command take some time. */
const MANY = 20_000;

/** Commands that are killed at random moments of their usual time. */
interface Command {
  readonly name: string;
  /** Makes what it needs, and gives its parameters. */
  prepare(vault: Vault): Promise<readonly string[]>;
  /** What must be so when it has ended well. */
  check(vault: Vault): Promise<void>;
  /** Takes away what it has made, so that it can be run from its start. */
  undo?(vault: Vault): void;
}

const made = (vault: Vault) => vault.file('made');

const COMMANDS: readonly Command[] = [
  {
    name: 'recovery-key new',
    prepare: async (vault) => ['recovery-key', 'new', '--out', made(vault)],
    async check(vault) {
      assert.match(readFileSync(made(vault), 'utf8'), /\nAGE-SECRET-KEY-1\w{58}\n$/);
    },
    undo: (vault) => rmSync(made(vault), { force: true }),
  },
  {
    name: 'recovery-key split',
    prepare: async (vault) => [
      'recovery-key',
      'split',
      vault.keyFile,
      '--shares',
      '3',
      '--needed',
      '2',
      '--out',
      made(vault),
    ],
    async check(vault) {
      const [first = '', second = ''] = readdirSync(made(vault)).map((name) => path.join(made(vault), name));
      assert.equal(readdirSync(made(vault)).length, 3);
      const { publicKey } = await vault.ask<{ publicKey: string }>([
        ...['recovery-key', 'join', first, second, '--out', vault.file('joined')],
      ]);
      assert.equal(publicKey, vault.key.publicHalf);
      rmSync(vault.file('joined'));
    },
    undo: (vault) => rmSync(made(vault), { recursive: true, force: true }),
  },
  {
    name: 'recovery-key join',
    async prepare(vault) {
      const shares = vault.file('shares');
      await vault.ask(['recovery-key', 'split', vault.keyFile, '--shares', '2', '--needed', '2', '--out', shares]);
      return [
        'recovery-key',
        'join',
        ...readdirSync(shares).map((name) => path.join(shares, name)),
        '--out',
        made(vault),
      ];
    },
    async check(vault) {
      assert.ok(readFileSync(made(vault), 'utf8').includes(vault.key.privateHalf));
    },
    undo: (vault) => rmSync(made(vault), { force: true }),
  },
  {
    name: 'backup',
    async prepare(vault) {
      await fillDirectory(vault, 'data', MANY);
      return ['backup', '--to', made(vault)];
    },
    check: async (vault) => isGood(vault, made(vault)),
  },
  {
    name: 'backup verify',
    async prepare(vault) {
      await fillDirectory(vault, 'data', MANY);
      await vault.ask(['backup', '--to', made(vault)], { DATA_DIR: vault.file('data') });
      mkdirSync(vault.file('scratch'));
      const scratch = ['--scratch', vault.file('scratch')];
      return ['backup', 'verify', made(vault), '--recovery-key', vault.keyFile, ...scratch];
    },
    check: async (vault) => isGood(vault, made(vault)),
  },
  {
    name: 'recover',
    async prepare(vault) {
      await fillDirectory(vault, 'data', MANY);
      return ['recover'];
    },
    check: async (vault) => assert.ok(existsSync(vault.file('data/recovery.json'))),
  },
  {
    name: 'recover --apply',
    async prepare(vault) {
      const DATA_DIR = await fillDirectory(vault, 'data', MANY);
      await vault.ask(['recover'], { DATA_DIR });
      return ['recover', '--apply'];
    },
    async check(vault) {
      // Run to its end, it needs to be preceded by another look.
      const { stderr } = await vault.run(['recover', '--apply'], { DATA_DIR: vault.file('data') });
      assert.match(stderr, /Run relay-gateway recover first/);
      await vault.ask(['recover'], { DATA_DIR: vault.file('data') });
    },
  },
];

async function isGood(vault: Vault, file: string): Promise<void> {
  const { records } = await vault.ask<RestoreAnswer>(['backup', 'verify', file, '--recovery-key', vault.keyFile]);
  assert.ok(records > MANY);
}

for (const { name, prepare, check, undo } of COMMANDS) {
  test(`${name} that is killed at any of three moments is run again`, {
    timeout: 300_000,
  }, async (context: TestContext) => {
    const seed = chooseSeed();
    context.diagnostic(`SEED=${seed} gives the same moments`);
    const chance = seededChance(seed);
    using vault = await openVault();
    const environment = { DATA_DIR: vault.file('data') };
    const parameters = await prepare(vault);
    const start = performance.now();
    const usual = await vault.run(parameters, environment);
    assert.equal(usual.code, 0, usual.stderr);
    const time = performance.now() - start;
    await check(vault);
    for (let kill = 0; kill < 3; kill++) {
      undo?.(vault);
      const killed = startCommand(vault, parameters, environment);
      const ended = once(killed, 'close');
      await Promise.race([ended, delay(chance() * time)]);
      killed.kill('SIGKILL');
      await ended;
      const again = await vault.run(parameters, environment);
      // What had ended well before the kill is done, and says so.
      assert.ok(
        again.code === 0 ||
          killed.exitCode === 0 ||
          /there is (one|something in it) already|recover first/.test(again.stderr),
        again.stderr,
      );
      await check(vault);
    }
  });
}

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
