/**
 * The records of a store that cannot copy them as of one instant: listed kind by kind, while others write.
 *
 * What names something is listed before what it names (a session key that is current before the session keys), so that
 * nothing in the copy leads nowhere. What changed meanwhile is in it as it was or as it is.
 */
import type { Clock, RecordCopy, RecordKind, Records, RecordsSnapshot } from '../gateway/ports.ts';
import { RECORD_KINDS } from '../gateway/ports.ts';

const NAMING: readonly RecordKind[] = ['configuration', 'own-certificates', 'private-gateways', 'peer-session-keys'];

/** A snapshot of `records`: as of one instant where the store can, else a listing. @throws StoreError */
export async function snapshotOf(records: Records, clock: Clock): Promise<RecordsSnapshot> {
  return (await records.snapshot?.()) ?? listingSnapshot(records, clock);
}

function listingSnapshot(records: Records, clock: Clock): RecordsSnapshot {
  return {
    instant: clock.now(),
    count: undefined,
    damaged: 0,
    async *read(): AsyncIterable<RecordCopy> {
      for (const kind of [...NAMING, ...RECORD_KINDS.filter((other) => !NAMING.includes(other))]) {
        for await (const { key, fields, expiry } of records.list(kind)) {
          yield { kind, key, fields, ...(expiry !== undefined && { expiry }) };
        }
      }
    },
    async [Symbol.asyncDispose]() {},
  };
}
