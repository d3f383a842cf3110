/**
 * The segments of the log of messages: files of one folder, numbered in the order of their making. What is written into
 * one is never changed, but for what expired.
 */
import { closeSync, openSync, readdirSync, read as readLater, readSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { StoreError } from '../../gateway/ports.ts';
import { type Head, offsetOf, type Place, segmentOf } from './log-records.ts';
import { type Damage, isDiskError, type LogRecord, readHeadBefore, readSegment } from './segment-reader.ts';

/** Bodies up to this size are read at once, in some microseconds where the system has them in memory. */
const READ_AT_ONCE_OCTETS = 64 * 1024;
/** Segments that are held open to be read. */
const OPEN_SEGMENTS = 64;

/** Octets of a segment that were passed over. */
export interface SegmentDamage extends Damage {
  readonly segment: number;
}

export interface SegmentRecord extends LogRecord {
  readonly segment: number;
}

export interface Segment {
  readonly number: number;
  readonly octets: number;
}

/** Where a body is, and how long. */
export interface BodyPlace {
  readonly place: Place;
  readonly octets: number;
}

/** Neighbours with so little between them are read in one go. */
const MOST_BETWEEN_OCTETS = 2048;

export class Segments {
  private readonly directory: string;
  private readonly readers = new Map<number, number>();
  /** How many read a file just now. */
  private readonly readsUnderWay = new Map<number, number>();
  /** Files to be closed when nobody reads them any more: their numbers would be given to others. */
  private readonly retired = new Set<number>();

  constructor(directory: string) {
    this.directory = directory;
  }

  /**
   * The octets of a body; fewer where the file ends before, undefined where the segment is gone.
   *
   * @throws StoreError; its cause is a disk error (`isDiskError`) where it is these octets that cannot be read
   */
  read(place: Place, octets: number): Buffer | undefined | Promise<Buffer | undefined> {
    const body = Buffer.allocUnsafeSlow(octets);
    try {
      const fd = this.reader(segmentOf(place));
      if (octets > READ_AT_ONCE_OCTETS) {
        return this.readLarge(fd, body, offsetOf(place));
      }
      return body.subarray(0, readAtOnce(fd, body, offsetOf(place)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        return undefined;
      }
      throw new StoreError('STORE_AWAY', 'The log of messages cannot be read', { cause: error });
    }
  }

  /** The head of the record whose body begins there; undefined where there is none, or it cannot be read. @throws StoreError */
  headAt(place: Place): Head | undefined {
    try {
      return readHeadBefore(this.reader(segmentOf(place)), offsetOf(place));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' || isDiskError(error)) {
        return undefined;
      }
      throw new StoreError('STORE_AWAY', 'The log of messages cannot be read', { cause: error });
    }
  }

  /** The octets of many small bodies, in one piece of memory; undefined where a segment is gone or ends before, or cannot be read. */
  readTogether(bodies: readonly BodyPlace[]): (Buffer | undefined)[] {
    const runs = runsOf(bodies);
    const memory = Buffer.allocUnsafeSlow(runs.reduce((sum, { octets }) => sum + octets, 0));
    const found: (Buffer | undefined)[] = Array(bodies.length).fill(undefined);
    let start = 0;
    for (const { place, octets, members } of runs) {
      if (this.readWhole(place, memory.subarray(start, start + octets))) {
        for (const index of members) {
          const body = bodies[index] as BodyPlace;
          const begin = start + (body.place - place);
          found[index] = memory.subarray(begin, begin + body.octets);
        }
      }
      start += octets;
    }
    return found;
  }

  private readWhole(place: Place, into: Buffer): boolean {
    try {
      const fd = this.reader(segmentOf(place));
      return readAtOnce(fd, into, offsetOf(place)) === into.length;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' || isDiskError(error)) {
        return false;
      }
      throw new StoreError('STORE_AWAY', 'The log of messages cannot be read', { cause: error });
    }
  }

  /**
   * The records of segments from a place on, with their segments' numbers; of each as far as its octets go when it is begun.
   * Now and then undefined (see `readSegment`).
   *
   * @param segments in their order
   */
  *records(
    segments: readonly Segment[],
    from: Place,
    options: {
      readonly verifiesBodies?: boolean;
      readonly onDamage?: (damage: SegmentDamage) => void;
    } = {},
  ): Generator<SegmentRecord | undefined> {
    const { verifiesBodies = false, onDamage = () => {} } = options;
    for (const { number: segment, octets: end } of segments) {
      if (segment < segmentOf(from)) {
        continue;
      }
      const start = segment === segmentOf(from) ? offsetOf(from) : 0;
      let fd: number | undefined;
      try {
        fd = openIfThere(segmentFile(this.directory, segment));
      } catch (error) {
        if (!isDiskError(error)) {
          throw error;
        }
        onDamage({ segment, from: start, to: end, isUnreadable: true });
      }
      if (fd === undefined) {
        // It was removed meanwhile, when nothing was alive in it, if it is there at all.
        continue;
      }
      try {
        const damaged = (damage: Damage) => onDamage({ segment, ...damage });
        for (const record of readSegment(fd, { from: start, end, verifiesBodies, onDamage: damaged })) {
          yield record && { ...record, segment };
        }
      } finally {
        closeSync(fd);
      }
    }
  }

  /**
   * Overwrites bodies with zeros: what expired is not to be found on the disk, though its segment stays. Nobody may be led
   * to them any more.
   */
  async wipe(bodies: readonly BodyPlace[]): Promise<void> {
    const bySegment = Map.groupBy(bodies, ({ place }) => segmentOf(place));
    for (const [segment, ofSegment] of bySegment) {
      // Undefined where it was removed meanwhile, as what was alive in it had been moved.
      await using file = await open(segmentFile(this.directory, segment), 'r+').catch(orIfMissing);
      for (const { place, octets } of ofSegment) {
        await file?.write(Buffer.alloc(octets), 0, octets, offsetOf(place));
      }
    }
  }

  async remove(segment: number): Promise<void> {
    const fd = this.readers.get(segment);
    if (fd !== undefined) {
      this.readers.delete(segment);
      this.retire(fd);
    }
    await rm(segmentFile(this.directory, segment), { force: true });
  }

  close(): void {
    for (const fd of this.readers.values()) {
      this.retire(fd);
    }
    this.readers.clear();
  }

  private async readLarge(fd: number, body: Buffer, offset: number): Promise<Buffer> {
    this.readsUnderWay.set(fd, (this.readsUnderWay.get(fd) ?? 0) + 1);
    try {
      return await readAll(fd, body, offset);
    } catch (error) {
      throw new StoreError('STORE_AWAY', 'The log of messages cannot be read', { cause: error });
    } finally {
      const left = (this.readsUnderWay.get(fd) ?? 1) - 1;
      if (left > 0) {
        this.readsUnderWay.set(fd, left);
      } else {
        this.readsUnderWay.delete(fd);
        if (this.retired.delete(fd)) {
          closeSync(fd);
        }
      }
    }
  }

  private retire(fd: number): void {
    if (this.readsUnderWay.has(fd)) {
      this.retired.add(fd);
    } else {
      closeSync(fd);
    }
  }

  private reader(segment: number): number {
    let fd = this.readers.get(segment);
    if (fd === undefined) {
      fd = openSync(segmentFile(this.directory, segment), 'r');
      this.readers.set(segment, fd);
      if (this.readers.size > OPEN_SEGMENTS) {
        const [oldest, oldestFd] = this.readers.entries().next().value as [number, number];
        this.readers.delete(oldest);
        this.retire(oldestFd);
      }
    }
    return fd;
  }
}

/** The numbers of the segments in a folder, in order; none where there is no folder. */
export function segmentNumbers(directory: string): number[] {
  try {
    return readdirSync(directory)
      .filter((name) => /^\d{8}\.log$/.test(name))
      .map((name) => Number.parseInt(name, 10))
      .sort((a, b) => a - b);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return [];
    }
    throw error;
  }
}

export function segmentFile(directory: string, number: number): string {
  return join(directory, `${String(number).padStart(8, '0')}.log`);
}

/** Stretches of segments that hold bodies, and little else; `members` are the indexes of those bodies. */
function runsOf(bodies: readonly BodyPlace[]): { place: Place; octets: number; members: number[] }[] {
  const order = bodies.map((_, index) => index);
  order.sort((one, other) => (bodies[one] as BodyPlace).place - (bodies[other] as BodyPlace).place);
  const runs: { place: Place; octets: number; members: number[] }[] = [];
  for (const index of order) {
    const { place, octets } = bodies[index] as BodyPlace;
    const run = runs.at(-1);
    // Between two segments there is a GiB.
    if (run && place - (run.place + run.octets) <= MOST_BETWEEN_OCTETS) {
      run.octets = Math.max(run.octets, place + octets - run.place);
      run.members.push(index);
    } else {
      runs.push({ place, octets, members: [index] });
    }
  }
  return runs;
}

/** @returns undefined where there is no such file */
export function openIfThere(file: string): number | undefined {
  try {
    return openSync(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return undefined;
    }
    throw error;
  }
}

function orIfMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') {
    throw error;
  }
}

/** A read ends before what the disk does not give; only the next one tells. @returns fewer where the file ends before */
function readAtOnce(fd: number, into: Buffer, offset: number): number {
  let done = 0;
  for (let count = 1; done < into.length && count > 0; done += count) {
    count = readSync(fd, into, done, into.length - done, offset + done);
  }
  return done;
}

async function readAll(fd: number, body: Buffer, offset: number): Promise<Buffer> {
  for (let done = 0; done < body.length; ) {
    const count = await new Promise<number>((resolve, reject) => {
      readLater(fd, body, done, body.length - done, offset + done, (error, octets) =>
        error ? reject(error) : resolve(octets),
      );
    });
    if (count === 0) {
      return body.subarray(0, done);
    }
    done += count;
  }
  return body;
}
