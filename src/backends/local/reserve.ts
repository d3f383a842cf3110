/**
 * The reserve: two files that only take room, and are given up when the disk is full.
 *
 * SQLite must write to delete. With the reserve gone there is room for that; new messages are refused until there is
 * enough room again to lay the reserve back. Its small last part is kept for the next start, in case somebody else
 * takes what the large part left.
 */

import { randomFillSync } from 'node:crypto';
import { closeSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';

const LARGEST_OCTETS = 24 * 1024 * 1024;
const SHARE_OF_VOLUME = 8;
/** Enough to open both files and to delete a few messages at a time. */
const LAST_OCTETS = 1024 * 1024;
/** Left free beside a write: pages of indexes and the log's own. */
const SLACK_OCTETS = 256 * 1024;

export class Reserve {
  private readonly directory: string;
  /** The large part, then the last. */
  private readonly parts: readonly { file: string; octets: number }[];
  private held: boolean;

  /** @param directory where the stores are: the reserve must lie on the same volume */
  constructor(directory: string, file: string) {
    this.directory = directory;
    const { blocks, bsize } = statfsSync(directory);
    const large = Math.min(LARGEST_OCTETS, Math.floor((blocks * bsize) / SHARE_OF_VOLUME));
    this.parts = [
      { file, octets: large },
      { file: `${file}.last`, octets: Math.min(LAST_OCTETS, large) },
    ];
    this.held = this.parts.every(isWhole);
  }

  /**
   * Whether a write of so many octets may go ahead. It takes its size twice: in SQLite's log, and later in the file
   * itself.
   */
  hasRoomFor(octets: number): boolean {
    return (this.held || this.lay()) && this.free() >= 2 * octets + SLACK_OCTETS;
  }

  /** Whether both parts are there. */
  get isHeld(): boolean {
    return this.held;
  }

  /** Gives the large part up, so that what is stored can be deleted. */
  release(): void {
    this.held = false;
    rmSync((this.parts[0] as { file: string }).file, { force: true });
  }

  /** Gives all up, so that the stores can be opened. */
  releaseAll(): void {
    this.held = false;
    for (const { file } of this.parts) {
      rmSync(file, { force: true });
    }
  }

  private free(): number {
    const { bavail, bsize } = statfsSync(this.directory);
    return bavail * bsize;
  }

  /** Lays the last part first; the large one only where as much again is left beside it. */
  private lay(): boolean {
    this.held = this.parts.toReversed().every((part) => isWhole(part) || (this.free() >= 2 * part.octets && lay(part)));
    return this.held;
  }
}

/** Random octets, since file systems that compress would swallow zeros. */
function lay({ file, octets }: { file: string; octets: number }): boolean {
  try {
    const fd = openSync(file, 'w', 0o600);
    try {
      const chunk = randomFillSync(Buffer.alloc(1024 * 1024));
      for (let written = 0; written < octets; ) {
        written += writeSync(fd, chunk, 0, Math.min(chunk.length, octets - written));
      }
    } finally {
      closeSync(fd);
    }
    return true;
  } catch {
    rmSync(file, { force: true });
    return false;
  }
}

function isWhole({ file, octets }: { file: string; octets: number }): boolean {
  return (statSync(file, { throwIfNoEntry: false })?.size ?? -1) >= octets;
}
