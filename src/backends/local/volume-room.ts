/**
 * The room that is left on a volume, looked up ten times a second at most: a look for each write costs nearly as much as
 * the write. Should somebody else take the room meanwhile, the write fails, and its caller has to be prepared for that anyway.
 */
import { statfsSync } from 'node:fs';

/** For how long what was found is relied on, in milliseconds. */
const LOOK_INTERVAL = 100;

export class VolumeRoom {
  private readonly directory: string;
  private readonly leftFree: number;
  private octets = 0;
  private looked = Number.NEGATIVE_INFINITY;

  /**
   * @param directory any on the volume
   * @param leftFree octets that nobody gets
   */
  constructor(directory: string, leftFree: number) {
    this.directory = directory;
    this.leftFree = leftFree;
  }

  /** Whether there is room for so many octets more, which are then about to be written. @throws Error of the system */
  take(octets: number): boolean {
    const now = performance.now();
    if (octets > this.octets || now - this.looked >= LOOK_INTERVAL) {
      const { bavail, bsize } = statfsSync(this.directory);
      this.octets = bavail * bsize - this.leftFree;
      this.looked = now;
    }
    if (octets > this.octets) {
      return false;
    }
    this.octets -= octets;
    return true;
  }
}
