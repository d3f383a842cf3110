/**
 * The log: JSON lines on standard output, by pino. No payload, no key and no credential is ever written to it.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger };

export interface Log {
  readonly logger: Logger;
  /** Writes out what is still in memory; resolves when that is done, or cannot be done. */
  flush(): Promise<void>;
  /** Flushes, and writes nothing from then on. */
  close(): Promise<void>;
}

export interface LogOptions {
  /** Whether addresses of people are written whole, or as the /24 or /48 that they are in; short by default. */
  readonly addresses?: 'short' | 'full';
  /** The field of the text; `msg` by default. */
  readonly messageKey?: string;
}

/** Names of levels as Google Cloud reads them: https://cloud.google.com/logging/docs/structured-logging */
const SEVERITIES: Readonly<Record<string, string>> = {
  trace: 'DEBUG',
  debug: 'DEBUG',
  info: 'INFO',
  warn: 'WARNING',
  error: 'ERROR',
  fatal: 'CRITICAL',
};

/** What is left of an address in the log, in bits. */
const SHORT_IPV4 = 24;
const SHORT_IPV6 = 48;

/** Lines are written together once they have so many characters: each write costs more than a signature check. */
const WRITE_CHARACTERS = 48_000;

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
export function openLog(level: string, options: LogOptions = {}): Log {
  // Of less than this much it would write nothing, and tell nobody that it has.
  const destination = pino.destination({ dest: 1, sync: false, minLength: 1, maxLength: WAITING_OCTETS });
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
  // Gathered here, since the destination looks through all that waits for each line.
  let lines = '';
  const writeLines = () => {
    if (lines !== '') {
      destination.write(lines);
      lines = '';
    }
  };
  const interval = setInterval(writeLines, WRITE_INTERVAL).unref();
  const gathered = {
    write(line: string) {
      lines += line;
      if (lines.length >= WRITE_CHARACTERS) {
        writeLines();
      }
    },
  };
  const flush = () =>
    new Promise<void>((resolve) => {
      writeLines();
      const timer = setTimeout(resolve, FLUSH_TIME);
      destination.flush(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  return {
    logger: createLogger(level, gathered, options),
    flush,
    async close() {
      await flush();
      clearInterval(interval);
      // What is still under way may have something to say, and its writing would throw.
      gathered.write = () => undefined;
      destination.destroy();
    },
  };
}

/** Each log with its children: a child keeps the level that it was made with. */
const families = new WeakMap<Logger, Logger[]>();

/** The same log, to any stream. Children are remembered as long as it is, so they are to be few. */
export function createLogger(
  level: string,
  destination: DestinationStream,
  { addresses = 'short', messageKey = 'msg' }: LogOptions = {},
): Logger {
  const family: Logger[] = [];
  const logger = pino(
    {
      level,
      base: null,
      messageKey,
      onChild: (child: Logger) => {
        family.push(child);
      },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label, number) => ({ severity: SEVERITIES[label] ?? 'DEFAULT', level: number }) },
      serializers: { err: describeError, address: addresses === 'full' ? String : shortAddress },
    },
    destination,
  );
  family.push(logger);
  families.set(logger, family);
  return logger;
}

/** Sets the level of a log that `createLogger` made, and of all its children. */
export function setLevel(logger: Logger, level: string): void {
  for (const one of families.get(logger) ?? []) {
    one.level = level;
  }
}

/** Of an error only what we know: libraries hang commands and requests on theirs, with passwords and payloads in them. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) {
    return { message: String(error) };
  }
  // Its message and stack have those of its causes.
  const { type, message, stack } = pino.stdSerializers.err(error);
  const { code } = error as { code?: unknown };
  return { type, message, stack, ...((typeof code === 'string' || typeof code === 'number') && { code }) };
}

/** The /24 or /48 that an address is in; IPv4 addresses inside IPv6 count as IPv4. */
export function shortAddress(text: unknown): string {
  if (typeof text !== 'string' || isIP(text) === 0) {
    return 'unknown';
  }
  const address = ipaddr.process(text);
  const bits = address.kind() === 'ipv4' ? SHORT_IPV4 : SHORT_IPV6;
  const octets = address.toByteArray().map((octet, index) => (index < bits / 8 ? octet : 0));
  return `${ipaddr.fromByteArray(octets).toString()}/${bits}`;
}
