/** Configuration to objects: the journal of a process that keeps nothing else in its data directory. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { LocalJournal } from '../backends/local/journal.ts';
import type { Config } from '../config.ts';
import type { Clock } from '../gateway/ports.ts';
import type { Logger } from '../log.ts';

const SILENT = { warn() {}, error() {} };

/** @throws Error in one line, when the directory cannot be made */
export function openJournal(config: Config, logger: Logger | undefined, clock: Clock): LocalJournal {
  const directory = path.resolve(config.dataDirectory);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return new LocalJournal({ directory, clock, log: logger ?? SILENT, maxOctets: config.journalOctets });
}
