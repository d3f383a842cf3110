/** Backups as operators make and restore them: by commands, with a recovery key in a folder that goes with the test. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { openLocalBackends } from '../../src/backends/local/local-backends.ts';
import { writeSecretFile } from '../../src/backup/backup-file.ts';
import type { LocalKeys } from '../../src/backup/backup-lines.ts';
import { newRecoveryKey, type RecoveryKey, writeKeyFile } from '../../src/backup/recovery-key.ts';
import { writeBackup } from '../../src/backup/write-backup.ts';
import type { RecordCopy } from '../../src/gateway/ports.ts';
import { machineClock, machineRandom } from '../../src/machine.ts';
import { projectRoot } from './gateway.ts';
import { manyRecords } from './records.ts';
import { type CommandOutcome, runRelayGateway } from './relay-gateway.ts';

/** Records that are written at the same time. */
const AT_ONCE = 2000;

export interface Vault extends Disposable {
  /** Where everything is; it goes with it. */
  readonly folder: string;
  readonly key: RecoveryKey;
  readonly keyFile: string;
  /** A path in the folder. */
  file(name: string): string;
  /** Runs a command with the public half in its environment, and the address of gateways in tests. */
  run(
    parameters: readonly string[],
    environment?: Readonly<Record<string, string>>,
    limit?: number,
  ): Promise<CommandOutcome>;
  /** The same, and its JSON; it must end well. */
  ask<Answer>(
    parameters: readonly string[],
    environment?: Readonly<Record<string, string>>,
    limit?: number,
  ): Promise<Answer>;
}

/** What `backup --json` prints, as far as tests read it. */
export interface BackupAnswer {
  readonly id: string;
  readonly place: string;
  readonly time: string;
  readonly records: number;
  readonly octets: number;
  readonly counts: Readonly<Record<string, number>>;
}

/** What `restore --json` and `backup verify --json` print, as far as tests read it. */
export interface RestoreAnswer {
  readonly id: string;
  readonly nodeId: string;
  readonly records: number;
  readonly leftOut: number;
  readonly counts: Readonly<Record<string, number>>;
}

export async function openVault(): Promise<Vault> {
  const folder = mkdtempSync(path.join(tmpdir(), 'relay-gateway-vault-'));
  const key = await newRecoveryKey();
  const file = (name: string) => path.join(folder, name);
  const keyFile = file('recovery.key');
  await writeSecretFile(keyFile, writeKeyFile(key, Date.now()));
  const run: Vault['run'] = (parameters, environment = {}, limit) =>
    runRelayGateway(
      parameters,
      { INTERNET_ADDRESS: 'gateway.test', RECOVERY_PUBLIC_KEY: key.publicHalf, ...environment },
      limit,
    );
  return {
    ...{ folder, key, keyFile, file, run },
    async ask(parameters, environment, limit) {
      const { code, stdout, stderr } = await run([...parameters, '--json'], environment, limit);
      assert.equal(code, 0, stderr);
      assert.ok(!`${stdout}${stderr}`.includes(key.privateHalf), 'nothing secret is printed');
      return JSON.parse(stdout);
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A backup of just these records. */
export async function encryptedBackup(
  records: Iterable<RecordCopy>,
  options: { recipient: string; instant: number; localKeys?: LocalKeys },
): Promise<Buffer> {
  const { recipient, instant, localKeys } = options;
  const snapshot = {
    ...{ instant, count: undefined, damaged: 0 },
    async *read() {
      yield* records;
    },
    async [Symbol.asyncDispose]() {},
  };
  const { octets } = await writeBackup({
    ...{ id: randomUUID(), snapshot, internetAddress: 'gateway.test', keys: 'local', localKeys, recipient },
  });
  return buffer(octets);
}

/** A data directory with an identity and so many records besides. */
export async function fillDirectory(vault: Vault, name: string, records = 0): Promise<string> {
  const directory = vault.file(name);
  await vault.ask(['identity'], { DATA_DIR: directory });
  if (records > 0) {
    await using backends = await openLocalBackends({ directory, clock: machineClock, random: machineRandom });
    const batch: Promise<void>[] = [];
    for (const { kind, key, fields, expiry } of manyRecords(records, machineClock.now())) {
      batch.push(backends.records.put(kind, key, fields, expiry));
      if (batch.length === AT_ONCE) {
        await Promise.all(batch.splice(0));
      }
    }
    await Promise.all(batch);
  }
  return directory;
}

/** Starts a command, to be killed. */
export function startCommand(
  vault: Vault,
  parameters: readonly string[],
  environment: Readonly<Record<string, string>>,
): ChildProcess {
  const env = {
    PATH: process.env['PATH'],
    INTERNET_ADDRESS: 'gateway.test',
    RECOVERY_PUBLIC_KEY: vault.key.publicHalf,
    ...environment,
  };
  return spawn(process.execPath, ['src/cli/main.ts', ...parameters], { cwd: projectRoot, env, stdio: 'ignore' });
}
