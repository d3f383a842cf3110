/**
 * What the store's main thread and its writer thread say to each other.
 */

import type { FileName } from './schema.ts';
import type { SqliteFault } from './sqlite-errors.ts';

export type SqlValue = null | number | string | Uint8Array;

/** One SQL statement with its parameters. */
export type Statement = readonly [sql: string, ...parameters: SqlValue[]];

/** A statement by the number of its text: texts go over once, since long ones cost more than what they do. */
export type NumberedStatement = readonly [text: number, ...parameters: SqlValue[]];

/**
 * Statements that take effect together or not at all; tuples, since names would be copied with each.
 *
 * `growth`: about how many octets the file may grow by; 0 for what only deletes, and is allowed on a full disk.
 */
export type Write = readonly [id: number, file: FileName, growth: number, statements: readonly NumberedStatement[]];

/** Anything but writes, with the number that the outcome comes back with. */
type Numbered = Extract<ToWriter, { id: number }>;

/** An order that has no number yet. */
export type Order = Numbered extends infer One ? (One extends Numbered ? Omit<One, 'id'> : never) : never;

export type ToWriter =
  /** `texts`: those that are new; the first ever has number 0. */
  | { readonly type: 'writes'; readonly texts: readonly string[]; readonly writes: readonly Write[] }
  /** Gives free pages back to the file system, at most `pages` (at least 1) of each file, and empties the logs. */
  | { readonly type: 'tidy'; readonly id: number; readonly pages: number }
  /** Brings the index of objects up to `end`, a place in the log; `heads` is JSON (see `object-index.ts`). */
  | {
      readonly type: 'index';
      readonly id: number;
      readonly heads: string;
      readonly end: number | undefined;
      readonly isRebuilt: boolean;
      /** How many repairs of the file its sender knew of when it began. */
      readonly repairs: number;
    }
  /** Whether there is room for so many octets, with the reserve laid back where it was given up. */
  | { readonly type: 'ask-room'; readonly id: number; readonly octets: number }
  /** Gives the reserve up, so that what is stored can be deleted. */
  | { readonly type: 'release-reserve'; readonly id: number }
  /** Makes the index of objects durable as it is. */
  | { readonly type: 'checkpoint'; readonly id: number }
  /** Saves what can be read of a damaged file into a new one. */
  | { readonly type: 'repair'; readonly id: number; readonly file: FileName }
  | { readonly type: 'close' };

/**
 * What became of a write or another order: done, or why not. `result` of a write: how many rows its last statement changed;
 * of tidying: how many pages are still free; of asking for room: 1 where there is; of a checkpoint: 0 where a reader stood in its way.
 */
export type Outcome =
  | readonly [id: number, result: number]
  | readonly [id: number, fault: SqliteFault, message: string];

export type FromWriter =
  | { readonly type: 'ready' }
  | { readonly type: 'outcomes'; readonly outcomes: readonly Outcome[] }
  /** The file is another one now; `unreadable` stretches of rows were lost. Sent before any write to it. */
  | { readonly type: 'repaired'; readonly file: FileName; readonly reason: string; readonly unreadable: number }
  /** Whether the reserve is whole; told before anything else, and when it changes. */
  | { readonly type: 'reserve'; readonly held: boolean }
  | { readonly type: 'closed' };
