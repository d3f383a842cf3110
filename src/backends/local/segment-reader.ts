/**
 * Reads the records of one segment of the log, one after the other.
 */
import { readSync } from 'node:fs';
import { checksum } from './checksum.ts';
import {
  DELETE,
  type Head,
  MARKER_OCTETS,
  octetsBeforeBody,
  PREFIX_OCTETS,
  readHead,
  readPrefix,
  SEGMENT_HEADER_OCTETS,
  SEGMENT_MAGIC,
} from './log-records.ts';

/** Enough for most heads at once. */
const WINDOW_OCTETS = 256 * 1024;

export interface LogRecord {
  readonly head: Head;
  /** Where it begins and ends in its segment, in octets; the body is its last `bodyOctets`. */
  readonly start: number;
  readonly end: number;
  readonly bodyOctets: number;
}

/** The marker of a segment, or undefined where its first octets are not as they were written. */
export function readMarker(fd: number): Buffer | undefined {
  const header = Buffer.alloc(SEGMENT_HEADER_OCTETS);
  const isWhole = readSync(fd, header, 0, header.length, 0) === header.length;
  return isWhole && header.subarray(0, SEGMENT_MAGIC.length).equals(SEGMENT_MAGIC)
    ? header.subarray(SEGMENT_MAGIC.length)
    : undefined;
}

/**
 * The records from an offset on. After damage it goes on with the next record that there is: damage costs what lay
 * there. The end of a segment that was being written when the power failed ends it.
 *
 * @param end octets of the segment that count
 * @param verifiesBodies whether records are left out whose body does not match its checksum
 * @param onDamage told from where to where nothing could be read
 */
export function* readSegment(
  fd: number,
  {
    from,
    end,
    verifiesBodies = false,
    onDamage = () => {},
  }: { from: number; end: number; verifiesBodies?: boolean; onDamage?: (from: number, to: number) => void },
): Generator<LogRecord> {
  const marker = readMarker(fd);
  if (!marker) {
    onDamage(0, end);
    return;
  }
  const window = new Window(fd, end);
  for (let start = Math.max(from, SEGMENT_HEADER_OCTETS); start < end; ) {
    const record = readRecord(window, start, marker);
    const fault = record && verifiesBodies ? faultOfBody(window, record) : undefined;
    if (record && fault !== 'damaged') {
      if (fault !== 'wiped') {
        yield record;
      }
      start = record.end;
      continue;
    }
    // A body alone may be damaged: what comes after it stands where its head says, and has a marker, too.
    const next = nextMarker(window, record?.end ?? start + 1, marker);
    onDamage(start, next);
    start = next;
  }
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
  if (checksum(body) === head[6]) {
    return undefined;
  }
  // In one comparison: each octet is as the one before.
  return body[0] === 0 && body.subarray(1).equals(body.subarray(0, -1)) ? 'wiped' : 'damaged';
}

/** Where a marker stands at or after an offset; the end where there is none. */
function nextMarker(window: Window, from: number, marker: Buffer): number {
  for (let start = from; start < window.end; start += WINDOW_OCTETS - MARKER_OCTETS) {
    const found = window.read(start, WINDOW_OCTETS).indexOf(marker);
    if (found !== -1) {
      return start + found;
    }
  }
  return window.end;
}

/** Octets of a file up to an end, read in pieces. */
class Window {
  readonly end: number;
  private readonly fd: number;
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
      const octets = Buffer.allocUnsafe(size);
      let read = 0;
      for (let count = 1; read < size && count > 0; read += count) {
        count = readSync(this.fd, octets, read, size - read, start + read);
      }
      this.octets = octets.subarray(0, read);
      this.start = start;
    }
    return this.octets.subarray(start - this.start, start - this.start + wanted);
  }
}
