/**
 * Whether a store's indexes lead to all its rows.
 */

import type { DatabaseSync } from 'node:sqlite';
import type { FileName } from './schema.ts';

/** Files up to this size are checked before they are opened, in some tens of milliseconds; larger ones meanwhile. */
export const CHECKED_AT_ONCE_OCTETS = 16 * 1024 * 1024;

const INDEXED_TABLES: Readonly<Record<FileName, string>> = { objects: 'entries', records: 'records' };

/** What is wrong, or undefined where all is well. Takes about 3 µs a row. */
export function faultOfIndexes(database: DatabaseSync, name: FileName): string | undefined {
  try {
    const [first] = database.prepare(`PRAGMA integrity_check(${INDEXED_TABLES[name]})`).all();
    const verdict = `${first?.['integrity_check']}`;
    return verdict === 'ok' ? undefined : verdict;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
