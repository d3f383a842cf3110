/**
 * A restore that was begun on these stores and has not ended: until it has, no gateway may run on them, since it would
 * take another identity where its own is still to come.
 */
import { GatewayError } from './errors.ts';
import type { Records } from './ports.ts';

const KIND = 'configuration';
const KEY = 'restore';

/** What else is noted of stores: where those of a fleet are, and when they were examined for damage. */
const NOTES: readonly string[] = ['fleet', 'recovery'];

/**
 * Whether a record tells of these stores and the processes on them rather than of the gateway: it is not restored, and
 * stores that have no others are empty.
 */
export function isOfStores({ kind, key }: { kind: string; key: string }): boolean {
  return kind === 'leases' || (kind === KIND && (key === KEY || NOTES.includes(key)));
}

/** Whether this is the record that says that a restore has not ended. */
export function isUnfinishedRestore({ kind, key }: { kind: string; key: string }): boolean {
  return kind === KIND && key === KEY;
}

/** The id of the backup that is being restored; undefined where none is. @throws StoreError */
export async function unfinishedRestore(records: Records): Promise<string | undefined> {
  const record = await records.get(KIND, KEY);
  return record && `${record.fields['backup']}`;
}

/** To be called before anything else is written; durable when it resolves. @throws StoreError */
export async function beginRestore(records: Records, backup: string, began: number): Promise<void> {
  await records.put(KIND, KEY, { backup, began });
}

/** To be called when everything is durable. @throws StoreError */
export async function endRestore(records: Records): Promise<void> {
  await records.delete(KIND, KEY);
}

/** What is told whoever would use stores that are only half there. */
export function restoreUnfinished(): GatewayError {
  return new GatewayError(
    'RESTORE_UNFINISHED',
    'A backup was being restored onto these stores, and that has not ended: run the same relay-gateway restore again',
  );
}

/** @throws GatewayError RESTORE_UNFINISHED; StoreError */
export async function requireRestored(records: Records): Promise<void> {
  if ((await unfinishedRestore(records)) !== undefined) {
    throw restoreUnfinished();
  }
}
