/**
 * The writer thread: the only one that writes to the stores' files.
 *
 * It takes all writes that wait, makes them one transaction a file, and answers when the commit, and with it the sync
 * of the log, has returned: writers that come together share a sync, and the main thread never waits for the disk.
 */

import { statSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { CHECKED_AT_ONCE_OCTETS, faultOfIndexes } from './integrity.ts';
import { ObjectIndex } from './object-index.ts';
import { isHeaderDamaged, repairFile } from './repair.ts';
import { Reserve } from './reserve.ts';
import { type FileName, SCHEMA, upgradeObjects, WRITER_PRAGMAS } from './schema.ts';
import { sqliteFault } from './sqlite-errors.ts';
import type { FromWriter, NumberedStatement, Outcome, ToWriter, Write } from './writer-messages.ts';

export interface WriterThreadData {
  readonly directory: string;
  readonly reserve: string;
  readonly files: Readonly<Record<FileName, string>>;
}

/** Bounds one transaction, so that an answer does not wait for everybody else's bodies. */
const BATCH_WRITES = 1000;
const BATCH_OCTETS = 4 * 1024 * 1024;

const port = parentPort;
if (!port) {
  throw new Error('writer-thread.ts runs as a worker thread only');
}

/** The texts of statements that were told so far, by their numbers. */
const texts: string[] = [];

/** A file open for writing, with its statements compiled once. */
class WritableFile {
  readonly path: string;
  readonly database: DatabaseSync;
  /** By the numbers of their texts. */
  private readonly compiled: (StatementSync | undefined)[] = [];
  private objectIndex: ObjectIndex | undefined;

  constructor(path: string, name: FileName) {
    this.path = path;
    this.database = new DatabaseSync(path, { timeout: 5000 });
    try {
      this.database.exec(WRITER_PRAGMAS[name]);
      if (name === 'objects') {
        upgradeObjects(this.database);
      }
      this.database.exec(SCHEMA[name]);
    } catch (error) {
      this.database.close();
      throw error;
    }
  }

  /** Applies one write inside the open transaction. */
  apply(statements: readonly NumberedStatement[]): number {
    let changes = 0;
    for (const [text, ...parameters] of statements) {
      this.compiled[text] ??= this.database.prepare(texts[text] as string);
      changes = Number(this.compiled[text].run(...parameters).changes);
    }
    return changes;
  }

  /** Of objects. */
  get index(): ObjectIndex {
    this.objectIndex ??= new ObjectIndex(this.database);
    return this.objectIndex;
  }

  transaction<T>(action: () => T): T {
    this.database.exec('BEGIN IMMEDIATE');
    try {
      const result = action();
      this.database.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.database.isTransaction) {
        this.database.exec('ROLLBACK');
      }
      throw error;
    }
  }

  /** @returns whether all of the log is in the file, which is durable then */
  checkpoint(): boolean {
    return this.database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.['busy'] === 0;
  }
}

const { directory, reserve: reserveFile, files } = workerData as WriterThreadData;
const reserve = new Reserve(directory, reserveFile);
let repairsOfObjects = 0;
/** A disk that keeps spoiling files is not copied to without end. */
const repairsLeft: Record<FileName, number> = { objects: 3, records: 3 };
const open: Record<FileName, WritableFile> = { objects: openFile('objects'), records: openFile('records') };

function answer(message: FromWriter): void {
  port?.postMessage(message);
}

function openFile(name: FileName): WritableFile {
  try {
    const file = new WritableFile(files[name], name);
    if (statSync(file.path).size <= CHECKED_AT_ONCE_OCTETS) {
      const fault = faultOfIndexes(file.database, name);
      if (fault !== undefined) {
        file.database.close();
        return repaired(name, new Error(fault));
      }
    }
    return file;
  } catch (error) {
    if (sqliteFault(error) === 'damaged' || isHeaderDamaged(files[name])) {
      return repaired(name, error);
    }
    // On a full disk even opening needs a little room, for the log.
    reserve.releaseAll();
    return new WritableFile(files[name], name);
  }
}

/** @throws the damage itself when this file was repaired too often */
function repaired(name: FileName, damage: unknown): WritableFile {
  if (repairsLeft[name]-- <= 0) {
    throw damage;
  }
  const unreadable = repairFile(files[name], name);
  const file = new WritableFile(files[name], name);
  repairsOfObjects += name === 'objects' ? 1 : 0;
  answer({ type: 'repaired', file: name, reason: messageOf(damage), unreadable });
  return file;
}

function repair(name: FileName, damage: unknown): void {
  open[name].database.close();
  try {
    open[name] = repaired(name, damage);
  } catch (error) {
    open[name] = new WritableFile(files[name], name);
    throw error;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function failure(id: number, error: unknown): Outcome {
  return [id, sqliteFault(error), messageOf(error)];
}

/** One transaction a file; where it fails, one a write, so that only the write that is at fault fails. */
function commit(name: FileName, writes: readonly Write[]): Outcome[] {
  const growth = writes.reduce((sum, [, , octets]) => sum + octets, 0);
  if (growth === 0 || reserve.hasRoomFor(growth)) {
    try {
      const file = open[name];
      return file.transaction(() => writes.map(([id, , , statements]): Outcome => [id, file.apply(statements)]));
    } catch {
      // Each by itself, below.
    }
  }
  return writes.map((write) => commitOne(name, write));
}

function commitOne(name: FileName, [id, , growth, statements]: Write): Outcome {
  if (growth > 0 && !reserve.hasRoomFor(growth)) {
    return [id, 'full', 'The volume of the data directory is full'];
  }
  const attempt = (): Outcome => [id, open[name].transaction(() => open[name].apply(statements))];
  try {
    return attempt();
  } catch (error) {
    try {
      switch (sqliteFault(error)) {
        case 'damaged':
          repair(name, error);
          return attempt();
        case 'full':
          if (growth > 0) {
            return failure(id, error);
          }
          makeRoom(name);
          return attempt();
        default:
          return failure(id, error);
      }
    } catch (secondError) {
      return failure(id, secondError);
    }
  }
}

function makeRoom(name: FileName): void {
  reserve.release();
  open[name].checkpoint();
}

/** Once more where damage or a full disk stood in the way, and that could be mended. */
function mending(name: FileName, action: () => void): void {
  try {
    action();
  } catch (error) {
    switch (sqliteFault(error)) {
      case 'damaged':
        repair(name, error);
        break;
      case 'full':
        makeRoom(name);
        break;
      default:
        throw error;
    }
    action();
  }
}

function bringUp({ heads, end, isRebuilt, repairs }: Extract<ToWriter, { type: 'index' }>): void {
  mending('objects', () => {
    const file = open.objects;
    file.transaction(() => file.index.apply(heads, repairs === repairsOfObjects ? end : undefined, isRebuilt));
  });
}

/** @returns how many pages are still free */
function tidy(pages: number): number {
  for (const name of ['objects', 'records'] as const) {
    mending(name, () => {
      open[name].database.exec(`PRAGMA incremental_vacuum(${pages})`);
      open[name].checkpoint();
    });
  }
  return freePages('objects') + freePages('records');
}

function freePages(name: FileName): number {
  return Number(open[name].database.prepare('PRAGMA freelist_count').get()?.['freelist_count']);
}

const waiting: Write[] = [];

function commitWaiting(): void {
  while (waiting.length > 0) {
    let octets = 0;
    let count = 0;
    for (const [, , growth] of waiting) {
      octets += growth;
      if (count > 0 && (octets > BATCH_OCTETS || count >= BATCH_WRITES)) {
        break;
      }
      count++;
    }
    const batch = waiting.splice(0, count);
    const outcomes: Outcome[] = [];
    for (const name of ['objects', 'records'] as const) {
      const writes = batch.filter(([, file]) => file === name);
      if (writes.length > 0) {
        outcomes.push(...commit(name, writes));
      }
    }
    answer({ type: 'outcomes', outcomes });
  }
}

/** Does what was ordered, and tells what became of it: a number, where there is one to tell. */
function obey(id: number, action: () => unknown): void {
  let outcome: Outcome;
  try {
    const result = action();
    outcome = [id, typeof result === 'number' ? result : 0];
  } catch (error) {
    outcome = failure(id, error);
  }
  answer({ type: 'outcomes', outcomes: [outcome] });
}

function receive(message: ToWriter): void {
  if (message.type === 'writes') {
    texts.push(...message.texts);
    waiting.push(...message.writes);
    return;
  }
  commitWaiting();
  switch (message.type) {
    case 'tidy':
      obey(message.id, () => tidy(message.pages));
      break;
    case 'index':
      obey(message.id, () => bringUp(message));
      break;
    case 'ask-room':
      obey(message.id, () => (reserve.hasRoomFor(message.octets) ? 1 : 0));
      break;
    case 'release-reserve':
      obey(message.id, () => makeRoom('objects'));
      break;
    case 'checkpoint':
      obey(message.id, () => (open.objects.checkpoint() ? 1 : 0));
      break;
    case 'repair':
      obey(message.id, () => repair(message.file, new Error('Damage was found while reading')));
      break;
    case 'close':
      for (const file of Object.values(open)) {
        file.database.close();
      }
      answer({ type: 'closed' });
      port?.close();
      break;
  }
}

let toldHeld: boolean | undefined;

function tellReserve(): void {
  if (reserve.isHeld !== toldHeld) {
    toldHeld = reserve.isHeld;
    answer({ type: 'reserve', held: toldHeld });
  }
}

port.on('message', (first: ToWriter) => {
  receive(first);
  // Whatever else came meanwhile shares the sync.
  for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
    receive(next.message as ToWriter);
  }
  commitWaiting();
  tellReserve();
});
answer({ type: 'ready' });
// Laid now, so that the first message does not wait for it.
reserve.hasRoomFor(0);
tellReserve();
