/** Local backends on a temporary directory that goes with them. */

import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LocalBackends, openLocalBackends } from '../../src/backends/local/local-backends.ts';
import type { StoreLog } from '../../src/backends/local/store-files.ts';
import { ManualClock } from './manual-clock.ts';

export interface TemporaryBackends extends AsyncDisposable {
  readonly backends: LocalBackends;
  readonly clock: ManualClock;
  readonly directory: string;
}

export async function temporaryDirectory(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'gateway-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export async function temporaryBackends(log?: StoreLog): Promise<TemporaryBackends> {
  const directory = await temporaryDirectory();
  const clock = new ManualClock();
  const backends = await openLocalBackends({ directory: directory.path, clock, random: randomBytes, log });
  return {
    backends,
    clock,
    directory: directory.path,
    async [Symbol.asyncDispose]() {
      await backends[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** What is on the disk while the gateway runs is what a kill leaves behind. */
export async function copyOf(directory: string): ReturnType<typeof temporaryDirectory> {
  const copy = await temporaryDirectory();
  await cp(directory, copy.path, { recursive: true, filter: (source) => !source.includes('reserve') });
  return copy;
}

/** The keys of all objects that begin so, sorted. */
export async function keysOf(backends: LocalBackends, prefix = ''): Promise<string[]> {
  return (await Array.fromAsync(backends.objects.list(prefix))).map(({ key }) => key).sort();
}
