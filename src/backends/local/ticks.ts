/**
 * Numbers that tell one write from every other, and which of two came first.
 */

import type { Clock } from '../../gateway/ports.ts';
import type { FileName } from './schema.ts';
import type { StoreFiles } from './store-files.ts';

/** Ticks in a millisecond: a power of two, so that a tick converts to milliseconds and back without loss. */
const TICKS_PER_MS = 1024;

/** Hands out the present time as an integer of 1/1024 ms that grows with each call, whatever the clock does. */
export class Ticks {
  private readonly clock: Clock;
  private last: number;

  /** @param last the greatest tick handed out before */
  constructor(clock: Clock, last: number) {
    this.clock = clock;
    this.last = last;
  }

  /**
   * Goes on after the greatest tick that any process gave a row of this file, be the row deleted since.
   *
   * @param last another tick that must not be given again
   */
  static async resume(clock: Clock, files: StoreFiles, file: FileName, last = 0): Promise<Ticks> {
    const [newest] = await files.read(file, GREATEST[file]);
    return new Ticks(clock, Math.max(newest?.['last'] as number, last));
  }

  next(): number {
    this.last = Math.max(Math.floor(this.clock.now() * TICKS_PER_MS), this.last + 1);
    return this.last;
  }
}

const GREATEST: Readonly<Record<FileName, string>> = {
  objects: `SELECT max(ifnull((SELECT max(id) FROM entries), 0), ifnull((SELECT max(last) FROM ticks), 0),
    ifnull((SELECT max(last) FROM progress), 0)) AS last`,
  records: 'SELECT max(ifnull((SELECT max(id) FROM records), 0), ifnull((SELECT max(last) FROM ticks), 0)) AS last',
};

/** A tick in milliseconds since the epoch, with its fraction. */
export function tickToMs(tick: number): number {
  return tick / TICKS_PER_MS;
}

/** Milliseconds in ticks. */
export function msToTicks(milliseconds: number): number {
  return Math.floor(milliseconds * TICKS_PER_MS);
}
