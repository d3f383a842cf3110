/**
 * The stores' SQLite files, seen from the main thread: short reads here, all writes in the writer thread.
 */

import { statSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { StoreError } from '../../gateway/ports.ts';
import type { Examination } from './examination.ts';
import { CHECKED_AT_ONCE_OCTETS } from './integrity.ts';
import { Reader, type Row, type Tuple } from './reader.ts';
import type { FileName } from './schema.ts';
import { sqliteFault } from './sqlite-errors.ts';
import { StatementTexts } from './statement-texts.ts';
import { ReadingThreads, threadFile } from './threads.ts';
import type { FromWriter, Order, Outcome, SqlValue, Statement, ToWriter, Write } from './writer-messages.ts';
import type { WriterThreadData } from './writer-thread.ts';

/** An idle writer thread gets so many writes at once, and need not wait until all that has come is looked at. */
const EAGER_WRITES = 4;

/** Where the stores report what an operator should know; pino's `warn` fits. */
export interface StoreLog {
  warn(details: Readonly<Record<string, unknown>>, message: string): void;
  error(details: Readonly<Record<string, unknown>>, message: string): void;
}

interface Pending {
  resolve(result: number): void;
  reject(error: Error): void;
  /** About how many octets of room it needs. */
  readonly growth: number;
  readonly isWrite: boolean;
}

export class StoreFiles {
  private readonly paths: Readonly<Record<FileName, string>>;
  private readonly directory: string;
  private readonly log: StoreLog;
  private readonly worker: Worker;
  /** None where a repaired file could not be opened yet: the next read tries again. */
  private readonly readers: Partial<Record<FileName, Reader>> = {};
  private isClosed = false;
  private readonly repairs: Partial<Record<FileName, Promise<unknown>>> = {};
  private readonly pending = new Map<number, Pending>();
  private queue: Write[] = [];
  /** Buffers in the queue that the writer thread takes over. */
  private transfer: ArrayBuffer[] = [];
  private readonly texts = new StatementTexts();
  private lastId = 0;
  /** Writes that the writer thread has and has not answered. */
  private writesUnderWay = 0;
  /** The smallest write that was refused for want of room since one of its size was taken; infinite if none was. */
  private refusedGrowth = Number.POSITIVE_INFINITY;
  private readonly threads = new ReadingThreads();
  /** Whether the reserve of the volume is whole: new messages ask for room as long as it is not. */
  isReserveHeld = false;
  /** How often the file of objects was repaired: a rebuild that began before must not say that all is there. */
  repairsOfObjects = 0;
  /** Called when the file of objects was repaired: entries may be missing in it. */
  onObjectsRepaired: (() => void) | undefined;
  private dead: Error | undefined;
  private whenClosed: (() => void) | undefined;

  private constructor(data: WriterThreadData, log: StoreLog) {
    this.paths = data.files;
    this.directory = data.directory;
    this.log = log;
    this.worker = new Worker(threadFile('writer-thread'), { workerData: data, name: 'store-writer' });
  }

  /** Opens the files, making them where there are none. */
  static async open(data: WriterThreadData, log: StoreLog): Promise<StoreFiles> {
    const files = new StoreFiles(data, log);
    await files.whenReady();
    try {
      for (const name of ['objects', 'records'] as const) {
        files.readers[name] = new Reader(data.files[name]);
      }
      files.worker.unref();
      return files;
    } catch (error) {
      await files.close();
      throw error;
    }
  }

  /**
   * Reads rows. Where pages cannot be read, the file is repaired first.
   *
   * @throws StoreError STORE_AWAY
   */
  read(file: FileName, sql: string, ...parameters: SqlValue[]): Promise<Row[]> {
    return this.readWhole(file, (reader) => reader.rows(sql, parameters));
  }

  /** As `read`, with each row in the order of its columns. @throws StoreError STORE_AWAY */
  readTuples(file: FileName, sql: string, ...parameters: SqlValue[]): Promise<Tuple[]> {
    return this.readWhole(file, (reader) => reader.tuples(sql, parameters));
  }

  private async readWhole<Rows>(file: FileName, read: (reader: Reader) => Promise<Rows>): Promise<Rows> {
    try {
      return await read(this.reader(file));
    } catch (error) {
      if (!(error instanceof StoreError) || sqliteFault(error.cause) !== 'damaged') {
        throw error;
      }
      await this.repair(file);
      return read(this.reader(file));
    }
  }

  private reader(file: FileName): Reader {
    if (this.isClosed) {
      throw new StoreError('STORE_AWAY', 'The store is closed');
    }
    try {
      this.readers[file] ??= new Reader(this.paths[file]);
      return this.readers[file];
    } catch (error) {
      throw new StoreError('STORE_AWAY', 'The store cannot be read', { cause: error });
    }
  }

  /**
   * Applies statements as one; durable when it resolves.
   *
   * @param growth about how many octets this adds; 0 where it only deletes
   * @param transfer buffers among the parameters that the writer thread may take over
   * @returns how many rows the last statement changed
   * @throws StoreError
   */
  write(
    file: FileName,
    statements: readonly Statement[],
    growth: number,
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<number> {
    const id = ++this.lastId;
    this.queue.push([
      id,
      file,
      growth,
      statements.map(([sql, ...parameters]) => [this.texts.numberOf(sql), ...parameters]),
    ]);
    this.transfer.push(...transfer);
    if (this.writesUnderWay === 0) {
      if (this.queue.length === 1) {
        setImmediate(() => this.writesUnderWay === 0 && this.sendQueue());
      } else if (this.queue.length === EAGER_WRITES) {
        this.sendQueue();
      }
    }
    return this.outcome(id, growth, true);
  }

  /**
   * Brings the index of objects up to a place in the log of messages; for the parameters see `object-index.ts`.
   *
   * @throws StoreError
   */
  async index(
    heads: string,
    end: number | undefined,
    isRebuilt: boolean,
    repairs = this.repairsOfObjects,
  ): Promise<void> {
    await this.order({ type: 'index', heads, end, isRebuilt, repairs });
  }

  /** Makes the index of objects durable as it is. @returns whether it is; a reader may stand in the way @throws StoreError */
  async checkpointObjects(): Promise<boolean> {
    return (await this.order({ type: 'checkpoint' })) === 1;
  }

  /** Whether there is room for so many octets, with the reserve laid back. @throws StoreError */
  async askRoom(octets: number): Promise<boolean> {
    return (await this.order({ type: 'ask-room', octets })) === 1;
  }

  /** Gives the reserve up, so that what is stored can be deleted. @throws StoreError */
  async releaseReserve(): Promise<void> {
    await this.order({ type: 'release-reserve' });
  }

  /** Gives up to `pages` free pages of each file back to the file system. @returns how many are left */
  tidy(pages: number): Promise<number> {
    return this.order({ type: 'tidy', pages });
  }

  /** Reads the large files through in a thread of its own, and repairs those whose indexes are damaged. */
  async verify(): Promise<void> {
    for (const name of ['objects', 'records'] as const) {
      if (statSync(this.paths[name]).size <= CHECKED_AT_ONCE_OCTETS || this.dead) {
        continue;
      }
      const fault = await this.threads.faultOfIndexes(this.paths[name], name);
      if (fault !== undefined && !this.dead) {
        this.log.error({ file: this.paths[name], fault }, 'Store file is damaged');
        await this.repair(name);
      }
    }
  }

  /** Reads all files through in a thread of its own. @throws StoreError STORE_AWAY */
  examine(): Promise<Examination> {
    return this.threads.examine(this.directory);
  }

  /** One repair of a file at a time, however many readers ask for it. */
  private repair(file: FileName): Promise<unknown> {
    let repair = this.repairs[file];
    if (!repair) {
      repair = this.order({ type: 'repair', file }).finally(() => delete this.repairs[file]);
      this.repairs[file] = repair;
    }
    return repair;
  }

  private onRepaired(file: FileName, reason: string, unreadable: number): void {
    this.log.error({ file: this.paths[file], reason, unreadable }, 'Damaged store file was set aside and repaired');
    this.readers[file]?.close();
    delete this.readers[file];
    if (file === 'objects') {
      this.repairsOfObjects++;
      this.onObjectsRepaired?.();
    }
  }

  /** Ends when all writes are done and the files are closed. */
  async close(): Promise<void> {
    await this.threads.end();
    await Promise.allSettled(Object.values(this.repairs));
    this.sendQueue();
    this.isClosed = true;
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
    await this.read('objects', 'SELECT 1 FROM entries LIMIT 1');
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
            if (this.writesUnderWay === 0) {
              this.sendQueue();
            }
            break;
          case 'repaired':
            this.onRepaired(message.file, message.reason, message.unreadable);
            break;
          case 'reserve':
            this.isReserveHeld = message.held;
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
        const code = sqliteFault(error) === 'full' ? 'STORE_FULL' : 'STORE_AWAY';
        reject(new StoreError(code, `The stores cannot be opened: ${error.message}`, { cause: error }));
      };
      this.worker.once('error', die);
      this.worker.once('exit', (code) => die(new Error(`exit code ${code}`)));
    });
  }

  private settle(outcome: Outcome): void {
    const [id, result, message = ''] = outcome;
    const pending = this.pending.get(id);
    this.pending.delete(id);
    if (this.pending.size === 0 && !this.whenClosed) {
      this.worker.unref();
    }
    if (!pending) {
      return;
    }
    if (pending.isWrite) {
      this.writesUnderWay--;
    }
    if (typeof result === 'number') {
      if (pending.growth >= this.refusedGrowth) {
        this.refusedGrowth = Number.POSITIVE_INFINITY;
        this.log.warn({ file: this.paths.objects }, 'The volume of the data directory has room again');
      }
      pending.resolve(result);
      return;
    }
    if (result === 'full') {
      if (this.refusedGrowth === Number.POSITIVE_INFINITY) {
        const warning = 'The volume of the data directory is full: new messages are refused';
        this.log.warn({ file: this.paths.objects }, warning);
      }
      this.refusedGrowth = Math.min(this.refusedGrowth, pending.growth);
    }
    pending.reject(new StoreError(result === 'full' ? 'STORE_FULL' : 'STORE_AWAY', message));
  }

  private order(order: Order): Promise<number> {
    const id = ++this.lastId;
    this.post({ ...order, id });
    return this.outcome(id);
  }

  private outcome(id: number, growth = 0, isWrite = false): Promise<number> {
    if (this.dead) {
      return Promise.reject(this.dead);
    }
    if (this.pending.size === 0) {
      // The process must not end while somebody waits for a write.
      this.worker.ref();
    }
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject, growth, isWrite });
    });
  }

  /**
   * Sends what was queued in this turn of the event loop, or while the writer thread had other writes, as one message: the busier it is, the more writes
   * share a message and a sync.
   */
  private sendQueue(): void {
    const { queue: writes, transfer } = this;
    if (writes.length === 0) {
      return;
    }
    this.queue = [];
    this.transfer = [];
    this.writesUnderWay += writes.length;
    this.post({ type: 'writes', texts: this.texts.takeUntold(), writes }, transfer);
  }

  private post(message: ToWriter, transfer: readonly ArrayBuffer[] = []): void {
    if (!this.dead) {
      this.worker.postMessage(message, transfer as ArrayBuffer[]);
    }
  }
}
