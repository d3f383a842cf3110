/**
 * A connection to a store's file that only reads.
 */

import { existsSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { StoreError } from '../../gateway/ports.ts';
import { READER_PRAGMAS } from './schema.ts';
import type { SqlValue } from './writer-messages.ts';

export type Row = Record<string, SqlValue>;

/** Compiles each statement once. */
export class Reader {
  private readonly database: DatabaseSync;
  private readonly compiled = new Map<string, StatementSync>();

  constructor(path: string) {
    if (!existsSync(path)) {
      throw new StoreError('STORE_AWAY', `${path} is missing`);
    }
    this.database = new DatabaseSync(path, { readOnly: true, timeout: 1000 });
    this.database.exec(READER_PRAGMAS);
  }

  all(sql: string, parameters: readonly SqlValue[]): Row[] {
    let statement = this.compiled.get(sql);
    if (!statement) {
      statement = this.database.prepare(sql);
      this.compiled.set(sql, statement);
    }
    return statement.all(...parameters) as Row[];
  }

  /** Has several reads see the file at one instant: looking whether it has changed costs as much as a short read. */
  atOnce(reads: () => void): void {
    this.database.exec('BEGIN');
    try {
      reads();
    } finally {
      // Nothing was written, and this cannot fail; damage may have ended it before.
      if (this.database.isTransaction) {
        this.database.exec('ROLLBACK');
      }
    }
  }

  close(): void {
    this.database.close();
  }
}
