/** An object store of Cloud Storage's client on the emulator, with the test's clock. */

import type { GcsObjectStore } from '../../src/backends/gcp/gcs/object-store.ts';
import { openGcs } from '../../src/backends/gcp/gcs/open-gcs.ts';
import { type GcsEmulator, startGcsEmulator } from '../emulators/gcs/gcs-emulator.ts';
import { ManualClock } from './manual-clock.ts';

export const BUCKET = 'messages';

const DAY = 86_400_000;

export interface EmulatedObjects extends AsyncDisposable {
  readonly objects: GcsObjectStore;
  readonly emulator: GcsEmulator;
  readonly clock: ManualClock;
}

export async function emulatedObjects({
  requestTimeout = 5000,
  patience = 10_000,
  // So that no test hangs on how fast the machine is.
  youth = 60_000,
}: {
  requestTimeout?: number;
  patience?: number;
  youth?: number;
} = {}): Promise<EmulatedObjects> {
  const clock = new ManualClock();
  const emulator = await startGcsEmulator({
    bucket: BUCKET,
    now: () => clock.now(),
    deletedDaysAfterCustomTime: 1,
  });
  const objects = await openGcs({
    bucket: BUCKET,
    clock,
    maxAge: 180 * DAY,
    apiEndpoint: emulator.url,
    requestTimeout,
    patience,
    youth,
  });
  emulator.operations.length = 0;
  return { objects, emulator, clock, [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose]() };
}
