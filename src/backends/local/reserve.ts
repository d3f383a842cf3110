/**
 * The reserve: a file that only takes room, and is given up when the disk is full.
 *
 * SQLite must write to delete. With the reserve gone there is room for that; new messages are refused until there is
 * enough room again to lay the reserve back.
 */

import { randomFillSync } from 'node:crypto';
import { closeSync, fstatSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';

const LARGEST_OCTETS = 24 * 1024 * 1024;
const SHARE_OF_VOLUME = 8;
/** Left free beside a write: pages of indexes and the log's own. */
const SLACK_OCTETS = 256 * 1024;

export class Reserve {
  private readonly file: string;
  private readonly directory: string;
  private readonly octets: number;
  private held: boolean;

  /** @param directory where the stores are: the reserve must lie on the same volume */
  constructor(directory: string, file: string) {
    this.directory = directory;
    this.file = file;
    const { blocks, bsize } = statfsSync(directory);
    this.octets = Math.min(LARGEST_OCTETS, Math.floor((blocks * bsize) / SHARE_OF_VOLUME));
    this.held = this.isWhole();
  }

  /**
   * Whether a write of so many octets may go ahead. It takes its size twice: in the log, and later in the file
   * itself.
   */
  hasRoomFor(octets: number): boolean {
    const free = this.free();
    if (!this.held) {
      if (free < 2 * this.octets || !this.lay()) {
        return false;
      }
      return this.free() >= 2 * octets + SLACK_OCTETS;
    }
    return free >= 2 * octets + SLACK_OCTETS;
  }

  /** Gives the room up, so that what is stored can be deleted. */
  release(): void {
    this.held = false;
    rmSync(this.file, { force: true });
  }

  private free(): number {
    const { bavail, bsize } = statfsSync(this.directory);
    return bavail * bsize;
  }

  /** Writes the reserve; random octets, since file systems that compress would swallow zeros. */
  private lay(): boolean {
    try {
      const fd = openSync(this.file, 'w', 0o600);
      try {
        const chunk = randomFillSync(Buffer.alloc(1024 * 1024));
        for (let written = 0; written < this.octets; ) {
          written += writeSync(fd, chunk, 0, Math.min(chunk.length, this.octets - written));
        }
      } finally {
        closeSync(fd);
      }
      this.held = true;
      return true;
    } catch {
      this.release();
      return false;
    }
  }

  private isWhole(): boolean {
    try {
      const fd = openSync(this.file, 'r');
      try {
        return fstatSync(fd).size >= this.octets;
      } finally {
        closeSync(fd);
      }
    } catch {
      return false;
    }
  }
}
