/**
 * The log: JSON lines on standard output, by pino. No payload, no key and no credential is ever written to it.
 */
import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger };

export interface Log {
  readonly logger: Logger;
  /** Writes out what is still in memory; resolves when that is done, or cannot be done. */
  flush(): Promise<void>;
  /** Flushes, and writes nothing from then on. */
  close(): Promise<void>;
}

/** Lines are written together once they have so many octets, since each write costs as much as a signature check. */
const WRITE_OCTETS = 4096;

/** And at the latest after so many milliseconds. */
const WRITE_INTERVAL = 250;

/** Octets that wait for a slow reader or for room on the disk; further lines are lost. */
const WAITING_OCTETS = 8 * 1024 * 1024;

/** How long a flush may take, in milliseconds. */
const FLUSH_TIME = 1000;

/**
 * Opens the log on standard output. Lines are written without waiting: a slow reader or a full disk delays them, or
 * costs some, but never holds up the gateway.
 *
 * @param level of pino: `fatal` to `trace`, or `silent`
 */
export function openLog(level: string): Log {
  const destination = pino.destination({
    dest: 1,
    sync: false,
    minLength: WRITE_OCTETS,
    periodicFlush: WRITE_INTERVAL,
    maxLength: WAITING_OCTETS,
  });
  // Where nothing can be written, it would try again without end and hold up everything; `flush` does not.
  destination.flushSync = () => undefined;
  let isFailing = false;
  destination.on('error', ({ message }: Error) => {
    if (!isFailing) {
      isFailing = true;
      console.error(`relay-gateway: the log cannot be written: ${message}`);
    }
  });
  destination.on('write', () => {
    isFailing = false;
  });
  const flush = () =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, FLUSH_TIME);
      destination.flush(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  return {
    logger: createLogger(level, destination),
    flush,
    async close() {
      await flush();
      destination.destroy();
    },
  };
}

/** The same log, to any stream. */
export function createLogger(level: string, destination: DestinationStream): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}
