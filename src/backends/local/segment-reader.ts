/**
 * Reads the records of one segment of the log, one after the other.
 */
import { readSync } from 'node:fs';
import { checksum } from './checksum.ts';
import {
  DELETE,
  type Head,
  MARKER_OCTETS,
  MOST_HEAD_OCTETS,
  MOVE,
  octetsBeforeBody,
  PREFIX_OCTETS,
  readHead,
  readPrefix,
  SEGMENT_HEADER_OCTETS,
  SEGMENT_MAGIC,
} from './log-records.ts';

/** Enough for most heads at once. */
const WINDOW_OCTETS = 256 * 1024;
/** Most heads, with what stands before them, are shorter by far. */
const SHORT_HEAD_OCTETS = 2048;
/** Octets without a record after which whoever reads is let breathe. */
const BREATH_OCTETS = 1024 * 1024;
/** What a disk reads, or does not read, at once. */
const BLOCK_OCTETS = 4096;
/** Blocks in a row that are tried one by one; after that, more and more are passed over, as each try may take seconds. */
const MOST_TRIED_BLOCKS = 64;

export interface LogRecord {
  readonly head: Head;
  /** Where it begins and ends in its segment, in octets; the body is its last `bodyOctets`. */
  readonly start: number;
  readonly end: number;
  readonly bodyOctets: number;
}

/** Octets of a segment in which there is no record that can be read. */
export interface Damage {
  readonly from: number;
  readonly to: number;
  /** Whether the disk did not give them, or we cannot tell records there: another time they may be read. */
  readonly isUnreadable: boolean;
}

/** Whether the disk failed, rather than anything else. */
export function isDiskError(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EIO';
}

/** The marker of a segment, or undefined where its first octets cannot be read, or are not as they were written. */
export function readMarker(fd: number): Buffer | undefined {
  const window = new Window(fd, SEGMENT_HEADER_OCTETS);
  const header = Buffer.from(window.read(0, SEGMENT_HEADER_OCTETS));
  return header.length === SEGMENT_HEADER_OCTETS && header.subarray(0, SEGMENT_MAGIC.length).equals(SEGMENT_MAGIC)
    ? header.subarray(SEGMENT_MAGIC.length)
    : undefined;
}

/**
 * The records from an offset on; now and then undefined, for whoever reads to let others have their turn. After damage it
 * goes on with the next record that there is: damage costs what lay there. The end of a segment that was being written
 * when the power failed ends it.
 *
 * @param end octets of the segment that count
 * @param verifiesBodies whether records are left out whose body does not match its checksum; one that was put is told where
 *   its body cannot be read, as it may be later
 * @param onDamage told what was passed over
 * @throws Error of the system, but for a disk that fails
 */
export function* readSegment(
  fd: number,
  {
    from,
    end,
    verifiesBodies = false,
    onDamage = () => {},
  }: { from: number; end: number; verifiesBodies?: boolean; onDamage?: (damage: Damage) => void },
): Generator<LogRecord | undefined> {
  if (end <= SEGMENT_HEADER_OCTETS) {
    // Killed when it was being made: there is nothing in it.
    return;
  }
  const marker = readMarker(fd);
  if (!marker) {
    onDamage({ from, to: end, isUnreadable: true });
    return;
  }
  const window = new Window(fd, end);
  let damagedFrom: number | undefined;
  const tellDamage = (to: number) => {
    if (damagedFrom !== undefined) {
      onDamage({ from: damagedFrom, to, isUnreadable: !window.canRead(damagedFrom, to) });
      damagedFrom = undefined;
    }
  };
  let breath = from;
  for (let start = Math.max(from, SEGMENT_HEADER_OCTETS); start < end; ) {
    const record = readRecord(window, start, marker);
    const fault = record && verifiesBodies ? faultOfBody(window, record) : undefined;
    if (record && fault !== 'damaged') {
      tellDamage(start);
      if (fault !== 'wiped') {
        yield record;
      }
      start = record.end;
    } else {
      damagedFrom ??= start;
      // A body alone may be damaged: what comes after it stands where its head says, and has a marker, too.
      start = nextMarker(window, record?.end ?? start + 1, marker);
    }
    if (start - breath >= BREATH_OCTETS) {
      breath = start;
      yield undefined;
    }
  }
  tellDamage(end);
}

/** The head of the record whose body begins at an offset; undefined where there is none, or it cannot be read. */
export function readHeadBefore(fd: number, bodyStart: number): Head | undefined {
  const marker = readMarker(fd);
  for (let octets = SHORT_HEAD_OCTETS; marker && octets <= MOST_HEAD_OCTETS * 2; octets *= 4) {
    const from = Math.max(SEGMENT_HEADER_OCTETS, bodyStart - octets);
    const before = new Window(fd, bodyStart).read(from, bodyStart - from);
    const start = before.lastIndexOf(marker);
    if (start !== -1) {
      const record = before.subarray(start);
      const lengths = readPrefix(record, marker);
      const isBefore = lengths !== undefined && PREFIX_OCTETS + lengths.headOctets === record.length;
      return isBefore ? readHead(record, lengths.headOctets) : undefined;
    }
  }
  return undefined;
}

function readRecord(window: Window, start: number, marker: Buffer): LogRecord | undefined {
  const lengths = readPrefix(window.read(start, PREFIX_OCTETS), marker);
  if (!lengths || start + PREFIX_OCTETS + lengths.headOctets + lengths.bodyOctets > window.end) {
    return undefined;
  }
  const octets = window.read(start, PREFIX_OCTETS + lengths.headOctets);
  const head = readHead(octets, lengths.headOctets);
  const { bodyOctets } = lengths;
  return head && { head, start, end: start + octetsBeforeBody(octets) + bodyOctets, bodyOctets };
}

/** Bodies of messages that expired are overwritten with zeros. */
function faultOfBody(window: Window, { head, end, bodyOctets }: LogRecord): 'damaged' | 'wiped' | undefined {
  if (head[0] === DELETE) {
    return undefined;
  }
  const body = window.read(end - bodyOctets, bodyOctets);
  if (!window.canRead(end - bodyOctets, end)) {
    // One that was moved may still be read where it was before.
    return head[0] === MOVE ? 'damaged' : undefined;
  }
  if (checksum(body) === head[6]) {
    return undefined;
  }
  // In one comparison: each octet is as the one before.
  return body[0] === 0 && body.subarray(1).equals(body.subarray(0, -1)) ? 'wiped' : 'damaged';
}

/** Where a marker stands at or after an offset; where there is none in a window's length, the end of that. */
function nextMarker(window: Window, from: number, marker: Buffer): number {
  const found = window.read(from, WINDOW_OCTETS).indexOf(marker);
  return found === -1 ? Math.min(from + WINDOW_OCTETS - MARKER_OCTETS, window.end) : from + found;
}

/** Octets of a file up to an end, read in pieces; zeros where they cannot be read. */
class Window {
  readonly end: number;
  private readonly fd: number;
  /** Those that cannot be read. */
  private readonly gaps: { from: number; to: number }[] = [];
  private failures = 0;
  /** Used again for each piece: fresh memory costs as much as reading into it. */
  private memory = Buffer.alloc(0);
  private octets = Buffer.alloc(0);
  private start = 0;

  constructor(fd: number, end: number) {
    this.fd = fd;
    this.end = end;
  }

  /** Fewer where the file ends before. Valid until the next call. */
  read(start: number, length: number): Buffer {
    const wanted = Math.max(0, Math.min(length, this.end - start));
    if (start < this.start || start + wanted > this.start + this.octets.length) {
      const size = Math.min(Math.max(wanted, WINDOW_OCTETS), this.end - start);
      if (size > this.memory.length) {
        this.memory = Buffer.allocUnsafeSlow(size);
      }
      const octets = this.memory.subarray(0, size);
      this.octets = octets.subarray(0, this.fill(octets, start));
      this.start = start;
    }
    return this.octets.subarray(start - this.start, start - this.start + wanted);
  }

  canRead(from: number, to: number): boolean {
    return !this.gaps.some((gap) => gap.from < to && from < gap.to);
  }

  /** @returns how many octets there are */
  private fill(octets: Buffer, start: number): number {
    // After a failure, to see which of them it is.
    let isByBlocks = false;
    for (let done = 0; done < octets.length; ) {
      const at = start + done;
      const left = octets.length - done;
      const gap = this.gaps.find(({ from, to }) => from <= at && at < to);
      if (gap) {
        const count = Math.min(gap.to - at, left);
        octets.fill(0, done, done + count);
        done += count;
        continue;
      }
      try {
        const most = isByBlocks ? BLOCK_OCTETS - (at % BLOCK_OCTETS) : left;
        const count = readSync(this.fd, octets, done, Math.min(most, left), at);
        if (count === 0) {
          return done;
        }
        done += count;
        this.failures = 0;
      } catch (error) {
        if (!isDiskError(error)) {
          throw error;
        }
        if (isByBlocks) {
          this.passOver(at);
        }
        isByBlocks = true;
      }
    }
    return octets.length;
  }

  private passOver(at: number): void {
    const blocks = 2 ** Math.max(0, ++this.failures - MOST_TRIED_BLOCKS);
    const to = Math.min((Math.floor(at / BLOCK_OCTETS) + blocks) * BLOCK_OCTETS, this.end);
    const last = this.gaps.at(-1);
    if (last?.to === at) {
      last.to = to;
    } else {
      this.gaps.push({ from: at, to });
    }
  }
}
