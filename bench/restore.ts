/**
 * A gateway with a million records: how long its backup and its restoration take, by the commands that operators run,
 * and what memory; and what it costs to restore one onto Firestore.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { fillDirectory, openVault, type Vault } from '../test/support/backups.ts';
import { needsFirestore, newProject, startFirestore } from '../test/support/firestore-emulator.ts';
import { projectRoot } from '../test/support/gateway.ts';
import { type Row, runAlone } from './row.ts';
import { cpuTime } from './support/process-cpu.ts';

/** As many, or as the first argument of a run by itself says. */
const RECORDS = 1_000_000;

/** Onto Google's emulator, which is slow, but asks as much of us as Firestore does. */
const FIRESTORE_RECORDS = 20_000;

const MIB = 1024 * 1024;
const SECOND = 1000;

/** What a restoration of a million records may take, in seconds. */
const TIME_BAR = 15 * 60;
const MEMORY_BAR = 400;

/** How often the memory of a command is looked at, in milliseconds. */
const LOOK = 100;

export async function restoreRows(): Promise<Row[]> {
  const records = Number(import.meta.main ? (process.argv[2] ?? RECORDS) : RECORDS);
  using vault = await openVault();
  const DATA_DIR = await fillDirectory(vault, 'data', records);
  const file = vault.file('bench.backup');
  const key = ['--recovery-key', vault.keyFile];
  const backup = await measure(vault, ['backup', '--to', file], { DATA_DIR });
  const octets = statSync(file).size;
  const restore = await measure(vault, ['restore', '--from', file, ...key], { DATA_DIR: vault.file('new') });
  const label = records === RECORDS ? 'a million records' : `${records} records`;
  return [
    { name: `${label}: backup`, value: backup.seconds, unit: 's' },
    { name: `${label}: backup, resident memory`, ...memory(backup.octets) },
    { name: `${label}: size of the backup`, value: octets / MIB, unit: 'MiB' },
    {
      name: `${label}: restore`,
      value: restore.seconds,
      unit: 's',
      bar: `≤ ${TIME_BAR}`,
      ok: restore.seconds <= TIME_BAR,
    },
    { name: `${label}: restore, resident memory`, ...memory(restore.octets) },
    ...(await firestoreRows(vault)),
  ];
}

async function firestoreRows(vault: Vault): Promise<Row[]> {
  if (needsFirestore().skip) {
    return [];
  }
  const DATA_DIR = await fillDirectory(vault, 'few', FIRESTORE_RECORDS);
  const file = vault.file('few.backup');
  await measure(vault, ['backup', '--to', file], { DATA_DIR });
  await using firestore = await startFirestore();
  const before = firestore.pid === undefined ? 0 : cpuTime(firestore.pid);
  const restore = await measure(vault, ['restore', '--from', file, '--recovery-key', vault.keyFile], {
    ...{ DATA_DIR: vault.file('few-new'), RECORDS: 'firestore', GCP_PROJECT: newProject() },
    FIRESTORE_EMULATOR_HOST: firestore.host,
  });
  const emulated = firestore.pid === undefined ? Number.NaN : cpuTime(firestore.pid) - before;
  const label = `${FIRESTORE_RECORDS} records: restore onto Firestore's emulator`;
  return [
    { name: label, value: restore.seconds, unit: 's' },
    { name: `${label}, CPU of ours a record`, value: restore.cpu / FIRESTORE_RECORDS, unit: 'ms' },
    { name: `${label}, CPU of the emulator a record`, value: emulated / FIRESTORE_RECORDS, unit: 'ms' },
    { name: `${label}, resident memory`, value: restore.octets / MIB, unit: 'MiB' },
  ];
}

function memory(octets: number): Pick<Row, 'value' | 'unit' | 'bar' | 'ok'> {
  return { value: octets / MIB, unit: 'MiB', bar: `≤ ${MEMORY_BAR}`, ok: octets <= MEMORY_BAR * MIB };
}

/** Runs a command to its end, which must be a good one. */
async function measure(
  vault: Vault,
  parameters: readonly string[],
  environment: Record<string, string>,
): Promise<{ seconds: number; octets: number; cpu: number }> {
  const start = performance.now();
  const child = spawn(process.execPath, ['src/cli/main.ts', ...parameters], {
    cwd: projectRoot,
    env: {
      PATH: process.env['PATH'],
      INTERNET_ADDRESS: 'gateway.test',
      RECOVERY_PUBLIC_KEY: vault.key.publicHalf,
      ...environment,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const errors = text(child.stderr);
  let octets = 0;
  let cpu = 0;
  const look = new AbortController();
  const looking = (async () => {
    while (!look.signal.aborted) {
      octets = Math.max(octets, residentOctets(child.pid));
      cpu = Math.max(cpu, usedCpu(child.pid));
      await delay(LOOK, undefined, { signal: look.signal }).catch(() => undefined);
    }
  })();
  const [code] = await once(child, 'close');
  const seconds = (performance.now() - start) / SECOND;
  look.abort();
  await looking;
  if (code !== 0) {
    throw new Error(await errors);
  }
  return { seconds, octets, cpu };
}

/** Milliseconds; 0 where the process has ended. */
function usedCpu(pid = 0): number {
  try {
    return cpuTime(pid);
  } catch {
    return 0;
  }
}

/** 0 where the machine does not tell. */
function residentOctets(pid = 0): number {
  try {
    const kibibytes = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Number(kibibytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}

await runAlone(import.meta, restoreRows);
