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

  /** Goes on after the greatest tick that any process gave a row of this file, be the row deleted since. */
  static async resume(clock: Clock, files: StoreFiles, file: FileName): Promise<Ticks> {
    const rows = file === 'objects' ? 'bodies' : 'records';
    const [newest] = await files.read(
      file,
      `SELECT max(ifnull((SELECT max(id) FROM ${rows}), 0), ifnull((SELECT max(last) FROM ticks), 0)) AS last`,
    );
    return new Ticks(clock, newest?.['last'] as number);
  }

  next(): number {
    this.last = Math.max(Math.floor(this.clock.now() * TICKS_PER_MS), this.last + 1);
    return this.last;
  }
}

/** A tick in milliseconds since the epoch, with its fraction. */
export function tickToMs(tick: number): number {
  return tick / TICKS_PER_MS;
}
