/**
 * The journal on this machine: lines of JSON in files of which the oldest is thrown away.
 *
 * Refusals have files of their own: whoever sends rubbish all day makes other refusals forgotten, and no parcel's way.
 */

import { join } from 'node:path';
import type { Clock, Journal, JournalEntry } from '../../gateway/ports.ts';
import { JournalFiles } from './journal-files.ts';
import type { StoreLog } from './store-files.ts';

/** How long an event may be in memory only, in milliseconds. */
const WRITE_DELAY_MS = 200;
/** The part of the room that refusals may take. */
const REFUSALS_SHARE = 4;
/** Messages are looked for by ids that are no longer. */
const MOST_ID_OCTETS = 64;
/** What is found of one id at most. */
const MOST_FOUND = 1000;

type TimedEntry = JournalEntry & { readonly time: number };

export class LocalJournal implements Journal, AsyncDisposable {
  private readonly clock: Clock;
  private readonly ways: JournalFiles;
  private readonly refusals: JournalFiles;
  private timer: NodeJS.Timeout | undefined;
  private isClosed = false;

  /**
   * @param parts.directory the data directory, absolute; the files are made when there is something to write
   * @param parts.maxOctets what all files may take together
   */
  constructor({
    directory,
    clock,
    log,
    maxOctets,
  }: {
    directory: string;
    clock: Clock;
    log: StoreLog;
    maxOctets: number;
  }) {
    this.clock = clock;
    const refusals = Math.floor(maxOctets / REFUSALS_SHARE);
    const folder = join(directory, 'journal');
    this.ways = new JournalFiles({ folder, name: 'way', maxOctets: maxOctets - refusals, log });
    this.refusals = new JournalFiles({ folder, name: 'refusal', maxOctets: refusals, log });
  }

  record(entry: JournalEntry): void {
    if (this.isClosed) {
      return;
    }
    const files = entry.event === 'refused' ? this.refusals : this.ways;
    files.add(`{"time":${this.clock.now()},${JSON.stringify(entry).slice(1)}\n`);
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      void this.flush();
    }, WRITE_DELAY_MS).unref();
  }

  async find(id: string): Promise<TimedEntry[]> {
    if (id === '' || id.length > MOST_ID_OCTETS) {
      return [];
    }
    await this.flush();
    const found: TimedEntry[] = [];
    for (const files of [this.ways, this.refusals]) {
      // As it stands in a line, so that few lines need to be read.
      for await (const line of files.linesWith(JSON.stringify(id))) {
        const entry = readLine(line);
        if (entry && (entry.parcel === id || entry.trace === id) && found.push(entry) >= MOST_FOUND) {
          break;
        }
      }
    }
    return found.sort((one, other) => one.time - other.time);
  }

  /** Writes what waits, and takes nothing more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.timer);
    await this.flush();
    await Promise.all([this.ways.close(), this.refusals.close()]);
  }

  private async flush(): Promise<void> {
    await Promise.all([this.ways.write(), this.refusals.write()]);
  }
}

/** Undefined for a line that a crash cut short. */
function readLine(line: string): TimedEntry | undefined {
  try {
    return JSON.parse(line) as TimedEntry;
  } catch {
    return undefined;
  }
}
