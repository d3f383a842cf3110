/** Configuration to objects: which processes of a gateway are at work on records that they share, as their leases tell. */
import { openFirestoreRecords } from '../backends/gcp/firestore/open-firestore.ts';
import type { Clock, Records } from '../gateway/ports.ts';
import { machineRandom } from '../machine.ts';

/** A process that has a lease, or had one when it was killed minutes ago. */
export interface LiveProcess {
  /** Its services and a number. */
  readonly holder: string;
  /** Milliseconds: until when its lease lasts if it is not extended; undefined for ever. */
  readonly until: number | undefined;
}

/** Each once. @throws StoreError */
export async function liveProcessesIn(records: Records): Promise<LiveProcess[]> {
  const lives = new Map<string, LiveProcess>();
  for await (const { fields, expiry } of records.list('leases')) {
    const holder = `${fields['holder']}`;
    const known = lives.get(holder)?.until ?? 0;
    lives.set(holder, { holder, until: expiry === undefined ? undefined : Math.max(expiry, known) });
  }
  return [...lives.values()];
}

/**
 * Those of a database that is not this process's own configuration.
 *
 * @param place.emulator HOST:PORT where it is not at Google's
 * @throws Error in one line, when the database cannot be used
 */
export async function liveProcesses(
  place: { readonly project: string; readonly database: string; readonly emulator: string | undefined },
  clock: Clock,
): Promise<LiveProcess[]> {
  await using records = await openFirestoreRecords({ ...place, clock, random: machineRandom, startPatience: 0 });
  return await liveProcessesIn(records);
}
