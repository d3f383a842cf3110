/**
 * The stores' SQLite files, seen from the main thread: short reads here, all writes in the writer thread.
 */

import { existsSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { StoreError } from '../../gateway/ports.ts';
import { type FileName, READER_PRAGMAS } from './schema.ts';
import { sqliteFault } from './sqlite-errors.ts';
import type { FromWriter, Outcome, SqlValue, Statement, ToWriter, Write } from './writer-messages.ts';
import type { WriterThreadData } from './writer-thread.ts';

/** Where the stores report what an operator should know; pino's `warn` fits. */
export interface StoreLog {
  warn(details: Readonly<Record<string, unknown>>, message: string): void;
  error(details: Readonly<Record<string, unknown>>, message: string): void;
}

export type Row = Record<string, SqlValue>;

interface Pending {
  resolve(result: number): void;
  reject(error: Error): void;
  readonly file: FileName | undefined;
}

/** Told apart from the outside's faults: pages of the file cannot be read. */
const DAMAGED_MESSAGE = 'The store is damaged and is being repaired';

export class StoreFiles {
  private readonly paths: Readonly<Record<FileName, string>>;
  private readonly log: StoreLog;
  private readonly worker: Worker;
  private readonly readers: Partial<Record<FileName, Reader>> = {};
  private readonly repairs: Partial<Record<FileName, Promise<void>>> = {};
  private readonly pending = new Map<number, Pending>();
  private queue: { write: Write; transfer: readonly ArrayBuffer[] }[] = [];
  private lastId = 0;
  private dead: Error | undefined;
  private whenClosed: (() => void) | undefined;

  private constructor(data: WriterThreadData, log: StoreLog) {
    this.paths = data.files;
    this.log = log;
    // The worker runs from source in development and from the build in an image.
    const file = import.meta.url.endsWith('.ts') ? './writer-thread.ts' : './writer-thread.js';
    this.worker = new Worker(new URL(file, import.meta.url), { workerData: data, name: 'store-writer' });
  }

  /** Opens the files, making them where there are none. */
  static async open(data: WriterThreadData, log: StoreLog): Promise<StoreFiles> {
    const files = new StoreFiles(data, log);
    await files.whenReady();
    for (const name of ['objects', 'records'] as const) {
      files.readers[name] = new Reader(data.files[name]);
    }
    files.worker.unref();
    return files;
  }

  /**
   * Reads rows at once.
   *
   * @throws StoreError STORE_AWAY when the pages cannot be read; a repair then begins
   */
  read(file: FileName, sql: string, ...parameters: SqlValue[]): Row[] {
    const reader = this.readers[file];
    if (!reader) {
      throw new StoreError('STORE_AWAY', this.repairs[file] ? DAMAGED_MESSAGE : 'The store is closed');
    }
    try {
      return reader.all(sql, parameters);
    } catch (error) {
      if (sqliteFault(error) === 'damaged') {
        this.repair(file, error);
        throw new StoreError('STORE_AWAY', DAMAGED_MESSAGE, { cause: error });
      }
      throw new StoreError('STORE_AWAY', 'The store cannot be read', { cause: error });
    }
  }

  /** Resolves when `file` is not being repaired: at once, as a rule. */
  async whenWhole(file: FileName): Promise<void> {
    await this.repairs[file];
  }

  /**
   * Applies statements as one; durable when it resolves.
   *
   * @param growth about how many octets this adds; 0 where it only deletes
   * @param transfer buffers among the parameters that the writer thread may take over
   * @returns how many rows the last statement changed
   * @throws StoreError
   */
  async write(
    file: FileName,
    statements: readonly Statement[],
    growth: number,
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<number> {
    if (this.repairs[file]) {
      await this.repairs[file];
    }
    const id = ++this.lastId;
    if (this.queue.length === 0) {
      queueMicrotask(() => this.sendQueue());
    }
    this.queue.push({ write: { id, file, statements, growth }, transfer });
    return this.outcome(id, file);
  }

  /** Empties the logs into the files and gives up to `pages` free pages back to the file system. */
  async tidy(pages: number): Promise<void> {
    const id = ++this.lastId;
    const outcome = this.outcome(id, undefined);
    this.post({ type: 'tidy', id, pages });
    await outcome;
  }

  /** Begins a repair unless one is under way; the log tells how it went. */
  private repair(file: FileName, cause: unknown): void {
    if (this.repairs[file] || this.dead) {
      return;
    }
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.log.error({ file: this.paths[file], reason }, 'Store file is damaged: saving what can be read');
    this.readers[file]?.close();
    delete this.readers[file];
    const id = ++this.lastId;
    const outcome = this.outcome(id, undefined);
    this.post({ type: 'repair', id, file });
    this.repairs[file] = outcome
      .then(
        (lost) => {
          this.readers[file] = new Reader(this.paths[file]);
          this.log.error({ file: this.paths[file], lost }, 'Store file repaired; the damaged one was set aside');
        },
        (error: Error) => {
          this.log.error({ file: this.paths[file], reason: error.message }, 'Store file could not be repaired');
        },
      )
      .finally(() => {
        delete this.repairs[file];
      });
  }

  /** Ends when all writes are done and the files are closed. */
  async close(): Promise<void> {
    await Promise.allSettled(Object.values(this.repairs));
    this.sendQueue();
    for (const name of ['objects', 'records'] as const) {
      this.readers[name]?.close();
      delete this.readers[name];
    }
    if (this.dead) {
      return;
    }
    this.worker.ref();
    await new Promise<void>((resolve) => {
      this.whenClosed = resolve;
      this.worker.once('exit', resolve);
      this.post({ type: 'close' });
    });
    this.dead = new StoreError('STORE_AWAY', 'The store is closed');
    await this.worker.terminate();
  }

  /** Resolves when both threads answer. @throws StoreError */
  async check(): Promise<void> {
    this.read('records', 'SELECT 1');
    await this.write('records', [], 0);
  }

  private whenReady(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.worker.on('message', (message: FromWriter) => {
        switch (message.type) {
          case 'ready':
            resolve();
            break;
          case 'outcomes':
            for (const outcome of message.outcomes) {
              this.settle(outcome);
            }
            break;
          case 'closed':
            this.whenClosed?.();
            break;
        }
      });
      const die = (error: Error) => {
        this.dead ??= new StoreError('STORE_AWAY', `The store's writer thread ended: ${error.message}`, {
          cause: error,
        });
        for (const { reject: rejectPending } of this.pending.values()) {
          rejectPending(this.dead);
        }
        this.pending.clear();
        reject(error);
      };
      this.worker.once('error', die);
      this.worker.once('exit', (code) => die(new Error(`exit code ${code}`)));
    });
  }

  private settle(outcome: Outcome): void {
    const pending = this.pending.get(outcome.id);
    this.pending.delete(outcome.id);
    if (this.pending.size === 0) {
      this.worker.unref();
    }
    if (!pending) {
      return;
    }
    if ('result' in outcome) {
      pending.resolve(outcome.result);
      return;
    }
    if (outcome.fault === 'damaged' && pending.file) {
      this.repair(pending.file, new Error(outcome.message));
    }
    pending.reject(new StoreError(outcome.fault === 'full' ? 'STORE_FULL' : 'STORE_AWAY', outcome.message));
  }

  private outcome(id: number, file: FileName | undefined): Promise<number> {
    if (this.dead) {
      return Promise.reject(this.dead);
    }
    if (this.pending.size === 0) {
      // The process must not end while somebody waits for a write.
      this.worker.ref();
    }
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject, file });
    });
  }

  /** Sends what was queued in this turn as one message. */
  private sendQueue(): void {
    const queue = this.queue;
    if (queue.length === 0) {
      return;
    }
    this.queue = [];
    this.post(
      { type: 'writes', writes: queue.map(({ write }) => write) },
      queue.flatMap(({ transfer }) => transfer),
    );
  }

  private post(message: ToWriter, transfer: readonly ArrayBuffer[] = []): void {
    if (!this.dead) {
      this.worker.postMessage(message, [...transfer]);
    }
  }
}

/** A connection that only reads, with its statements compiled once. */
class Reader {
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

  close(): void {
    this.database.close();
  }
}
