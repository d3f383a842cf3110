/**
 * What the store's main thread and its writer thread say to each other.
 */

import type { FileName } from './schema.ts';

export type SqlValue = null | number | string | Uint8Array;

/** One SQL statement with its parameters. */
export type Statement = readonly [sql: string, ...parameters: SqlValue[]];

/** Statements that take effect together or not at all. */
export interface Write {
  readonly id: number;
  readonly file: FileName;
  readonly statements: readonly Statement[];
  /** About how many octets the file may grow by; 0 for what only deletes, and is allowed on a full disk. */
  readonly growth: number;
}

export type ToWriter =
  | { readonly type: 'writes'; readonly writes: readonly Write[] }
  /** Empties the logs into the files, and gives free pages back to the file system, at most so many of each file. */
  | { readonly type: 'tidy'; readonly id: number; readonly pages: number }
  /** Saves what can be read of a damaged file into a new one; the readers must be closed. */
  | { readonly type: 'repair'; readonly id: number; readonly file: FileName }
  | { readonly type: 'close' };

/** `result` of a write: how many rows its last statement changed. Of a repair: how many rows were lost. */
export type Outcome =
  | { readonly id: number; readonly result: number }
  | { readonly id: number; readonly fault: 'full' | 'damaged' | 'other'; readonly message: string };

export type FromWriter =
  | { readonly type: 'ready' }
  | { readonly type: 'failed'; readonly fault: 'full' | 'damaged' | 'other'; readonly message: string }
  | { readonly type: 'outcomes'; readonly outcomes: readonly Outcome[] }
  | { readonly type: 'closed' };
