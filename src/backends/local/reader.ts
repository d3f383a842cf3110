/**
 * A connection to a store's file that only reads.
 */

import { existsSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { StoreError } from '../../gateway/ports.ts';
import { READER_PRAGMAS } from './schema.ts';
import type { SqlValue } from './writer-messages.ts';

/** A row by the names of its columns. */
export type Row = Record<string, SqlValue>;

/** A row in the order of its columns: half the cost, for those that are read by the thousand. */
export type Tuple = readonly SqlValue[];

type Shape = 'rows' | 'tuples';

/** Somebody waits for these rows. */
interface Read {
  readonly shape: Shape;
  readonly sql: string;
  readonly parameters: readonly SqlValue[];
  resolve(rows: unknown[]): void;
  reject(error: Error): void;
}

/** Compiles each statement once. Reads that are asked for in one go share a look at the file. */
export class Reader {
  private readonly database: DatabaseSync;
  private readonly compiled = { rows: new Map<string, StatementSync>(), tuples: new Map<string, StatementSync>() };
  private waiting: Read[] = [];

  constructor(path: string) {
    if (!existsSync(path)) {
      throw new StoreError('STORE_AWAY', `${path} is missing`);
    }
    this.database = new DatabaseSync(path, { readOnly: true, timeout: 1000 });
    this.database.exec(READER_PRAGMAS);
  }

  /** @throws StoreError STORE_AWAY */
  rows(sql: string, parameters: readonly SqlValue[]): Promise<Row[]> {
    return this.read('rows', sql, parameters) as Promise<Row[]>;
  }

  /** @throws StoreError STORE_AWAY */
  tuples(sql: string, parameters: readonly SqlValue[]): Promise<Tuple[]> {
    return this.read('tuples', sql, parameters) as Promise<Tuple[]>;
  }

  close(): void {
    this.database.close();
  }

  private read(shape: Shape, sql: string, parameters: readonly SqlValue[]): Promise<unknown[]> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ shape, sql, parameters, resolve, reject });
      if (this.waiting.length === 1) {
        queueMicrotask(() => this.readWaiting());
      }
    });
  }

  private statement(shape: Shape, sql: string): StatementSync {
    let statement = this.compiled[shape].get(sql);
    if (!statement) {
      statement = this.database.prepare(sql);
      statement.setReturnArrays(shape === 'tuples');
      this.compiled[shape].set(sql, statement);
    }
    return statement;
  }

  /** Looking whether the file has changed costs as much as a short read: several see it at one instant. */
  private readWaiting(): void {
    const reads = this.waiting;
    this.waiting = [];
    if (reads.length > 1) {
      try {
        this.database.exec('BEGIN');
      } catch {
        // Each is told by itself what is wrong.
      }
    }
    for (const { shape, sql, parameters, resolve, reject } of reads) {
      try {
        resolve(this.statement(shape, sql).all(...parameters));
      } catch (error) {
        reject(awayBecause(error));
      }
    }
    // Nothing was written, and this cannot fail; damage may have ended it before.
    if (this.database.isOpen && this.database.isTransaction) {
      this.database.exec('ROLLBACK');
    }
  }
}

function awayBecause(error: unknown): StoreError {
  return new StoreError('STORE_AWAY', 'The store cannot be read', { cause: error });
}
