/** Calls of `node:fs` that fail or wait as a test wants them to, on its own thread: what a disk does, but at will. */
import fs, { readlinkSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

type Name = 'existsSync' | 'fdatasync' | 'fsync' | 'fsyncSync' | 'openSync' | 'read' | 'readSync' | 'rmSync';

/** Has all modules call another function in place of one of `node:fs`, until it is disposed of. */
export function replaceCall<N extends Name>(name: N, make: (original: (typeof fs)[N]) => unknown): Disposable {
  const original = fs[name];
  fs[name] = make(original) as (typeof fs)[N];
  syncBuiltinESMExports();
  return {
    [Symbol.dispose]() {
      fs[name] = original;
      syncBuiltinESMExports();
    },
  };
}

/** As the system tells it, e.g. `EIO`. */
export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: as the test wants it`), { code });
}

/** The file behind a descriptor. */
export function fileOf(fd: number): string {
  return readlinkSync(`/proc/self/fd/${fd}`);
}

type ReadDone = (error: Error | null, octets?: number) => void;

/**
 * A file of which some octets cannot be read (EIO), until it is disposed of: a read that begins before them ends there, as
 * with the system's own.
 *
 * @param from the first of them
 * @param to where those that can be read begin again
 */
export function unreadableOctets(file: string, from: number, to: number): Disposable {
  /** How many octets from there on can be read. */
  const readable = (fd: number, octets: number, position: number): number => {
    if (position >= to || position + octets <= from || fileOf(fd) !== file) {
      return octets;
    }
    if (position >= from) {
      throw systemError('EIO');
    }
    return from - position;
  };
  const stack = new DisposableStack();
  stack.use(
    replaceCall(
      'readSync',
      (original) => (fd: number, buffer: Uint8Array, offset: number, octets: number, position: number) =>
        original(fd, buffer, offset, readable(fd, octets, position), position),
    ),
  );
  stack.use(
    replaceCall(
      'read',
      (original) =>
        (fd: number, buffer: Uint8Array, offset: number, octets: number, position: number, done: ReadDone) => {
          try {
            original(fd, buffer, offset, readable(fd, octets, position), position, done);
          } catch (error) {
            done(error as Error);
          }
        },
    ),
  );
  return stack;
}
