/**
 * A log whose lines a test can read.
 */
import { Writable } from 'node:stream';
import { type Logger, pino } from 'pino';

export interface LogLines {
  readonly log: Logger;
  /** What the log writes to, for a logger of the program's own. */
  readonly sink: Writable;
  /** All lines so far, parsed. */
  readonly lines: readonly Record<string, unknown>[];
}

/** @param level the least that is kept */
export function logLines(level = 'debug'): LogLines {
  const lines: Record<string, unknown>[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString().split('\n')) {
        if (line !== '') {
          lines.push(JSON.parse(line) as Record<string, unknown>);
        }
      }
      done();
    },
  });
  return { log: pino({ level }, sink), sink, lines };
}
