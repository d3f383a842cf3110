/** The threads of the stores that only read. */
import { Worker } from 'node:worker_threads';
import { StoreError } from '../../gateway/ports.ts';
import { messagesFolder, storeFiles } from './directory.ts';
import type { Examination } from './examination.ts';
import type { FileName } from './schema.ts';

/** Those that are under way. */
export class ReadingThreads {
  private readonly running = new Set<Worker>();

  /** Reads a large file through. @returns what is wrong with its indexes, if anything; undefined also when it was given up */
  async faultOfIndexes(path: string, name: FileName): Promise<string | undefined> {
    const thread = new Worker(threadFile('integrity-thread'), { workerData: { path, name }, name: 'store-integrity' });
    thread.unref();
    this.running.add(thread);
    try {
      return await new Promise<string | undefined>((resolve) => {
        thread.once('message', resolve);
        thread.once('error', (error: Error) => resolve(error.message));
        thread.once('exit', () => resolve(undefined));
      });
    } finally {
      this.running.delete(thread);
    }
  }

  /** Reads all stores of a data directory through. @throws StoreError STORE_AWAY */
  async examine(directory: string): Promise<Examination> {
    const thread = examinationThread(directory);
    this.running.add(thread);
    try {
      return await new Promise<Examination>((resolve, reject) => {
        thread.once('message', resolve);
        thread.once('error', reject);
        thread.once('exit', () => reject(new Error('the examination was given up')));
      });
    } catch (error) {
      throw new StoreError('STORE_AWAY', `The stores cannot be read: ${(error as Error).message}`, { cause: error });
    } finally {
      this.running.delete(thread);
    }
  }

  /** Gives all up. */
  async end(): Promise<void> {
    await Promise.all([...this.running].map((thread) => thread.terminate()));
  }
}

/** Reads the stores of a data directory through, and posts what it found (`Examination`). */
export function examinationThread(directory: string): Worker {
  const workerData = { ...storeFiles(directory), messages: messagesFolder(directory) };
  return new Worker(threadFile('examination-thread'), { workerData, name: 'store-examination' });
}

/** Threads run from source in development and from the build in an image. */
export function threadFile(name: string): URL {
  return new URL(`./${name}${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);
}
