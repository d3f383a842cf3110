/**
 * Deletes messages that expired, and overwrites their bodies in the log.
 */
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../gateway/ports.ts';
import type { Place } from './log-records.ts';
import type { MessageLog } from './message-log.ts';
import { ENTRY_COLUMNS, locatedOfRow } from './object-rows.ts';
import type { Tuple } from './reader.ts';
import type { StoreFiles, StoreLog } from './store-files.ts';

/** So much is deleted at a time, so that writers do not wait. */
const BATCH = 256;
const BATCH_OCTETS = 32 * 1024 * 1024;

const EXPIRED = `SELECT ${ENTRY_COLUMNS} FROM entries WHERE expiry < ? ORDER BY expiry LIMIT ${BATCH}`;

interface Parts {
  readonly files: StoreFiles;
  readonly log: MessageLog;
  readonly clock: Clock;
  readonly report: StoreLog;
  /** Told of a row that is damaged: what it says of its expiry is not to be relied upon. */
  readonly onDamage: (row: Tuple) => Promise<unknown>;
}

/** @returns how many there were @throws StoreError */
export async function deleteExpired({ files, log, clock, report, onDamage }: Parts): Promise<number> {
  for (let deleted = 0; ; ) {
    const ids: number[] = [];
    const bodies: { place: Place; octets: number }[] = [];
    let octets = 0;
    for (const row of await files.readTuples('objects', EXPIRED, clock.now())) {
      const located = locatedOfRow(row);
      if (!located) {
        await onDamage(row);
        continue;
      }
      const { id, place, entry } = located;
      octets += entry.size;
      if (ids.length > 0 && octets > BATCH_OCTETS) {
        break;
      }
      ids.push(id);
      // A place has no checksum, and a wrong one would lead to another message.
      if (place !== null && entry.size > 0 && log.segments.headAt(place)?.[1] === id) {
        bodies.push({ place, octets: entry.size });
      }
    }
    if (ids.length === 0) {
      return deleted;
    }
    // Without a word in the log: should they come back from it, they are expired.
    const list = JSON.stringify(ids);
    await files.write('objects', [['DELETE FROM entries WHERE id IN (SELECT value FROM json_each(?))', list]], 0);
    await log.segments.wipe(bodies).catch((error: Error) => {
      report.warn({ reason: error.message }, 'Expired messages could not be overwritten');
    });
    deleted += ids.length;
    await setImmediate();
  }
}
