/** The lines of an export, in bounded memory: it comes from somebody's disk. */
import { createReadStream } from 'node:fs';

/** Octets of the longest line: several times what the largest document that we take needs. */
const MAX_LINE_OCTETS = 256 * 1024;

const NEWLINE = 0x0a;

export interface ExportLine {
  /** Counts from 1. */
  readonly number: number;
  /** Undefined where it is longer than is read. */
  readonly text: string | undefined;
}

/** All lines of a file that are not empty. @throws Error when the file cannot be read */
export function exportLines(file: string): AsyncGenerator<ExportLine> {
  return boundedLines(createReadStream(file));
}

/** All lines that are not empty, of whatever gives octets. @throws what that throws */
export async function* boundedLines(octetStream: AsyncIterable<Uint8Array>): AsyncGenerator<ExportLine> {
  let number = 1;
  let pieces: Buffer[] = [];
  let octets = 0;
  const take = (piece: Buffer) => {
    octets += piece.length;
    // What is too long is not kept, only counted.
    pieces = octets > MAX_LINE_OCTETS ? [] : [...pieces, piece];
  };
  const end = (): ExportLine | undefined => {
    const text = octets > MAX_LINE_OCTETS ? undefined : Buffer.concat(pieces).toString('utf8').trim();
    pieces = [];
    octets = 0;
    return text === '' ? undefined : { number, text };
  };
  for await (const part of octetStream) {
    const chunk = Buffer.from(part.buffer, part.byteOffset, part.byteLength);
    let start = 0;
    for (;;) {
      const newline = chunk.indexOf(NEWLINE, start);
      if (newline < 0) {
        break;
      }
      take(chunk.subarray(start, newline));
      const line = end();
      if (line) {
        yield line;
      }
      number++;
      start = newline + 1;
    }
    take(chunk.subarray(start));
  }
  const last = end();
  if (last) {
    yield last;
  }
}
