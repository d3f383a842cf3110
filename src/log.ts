/**
 * The log: JSON lines on standard output, by pino. No payload, no key and no credential is ever written to it.
 */
import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger };

export interface Log {
  readonly logger: Logger;
  /** Writes out what is still in memory; call before the process ends. */
  flush(): void;
}

/** Lines are written together once they have so many octets, since each write costs as much as a signature check. */
const WRITE_OCTETS = 4096;

/** And at the latest after so many milliseconds. */
const WRITE_INTERVAL = 250;

/**
 * Opens the log on standard output. Lines are written without waiting: a slow reader delays them, never the gateway.
 *
 * @param level of pino: `fatal` to `trace`, or `silent`
 */
export function openLog(level: string): Log {
  const destination = pino.destination({
    dest: 1,
    sync: false,
    minLength: WRITE_OCTETS,
    periodicFlush: WRITE_INTERVAL,
  });
  return { logger: createLogger(level, destination), flush: () => destination.flushSync() };
}

/** The same log, to any stream. */
export function createLogger(level: string, destination: DestinationStream): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}
