/**
 * The slowest pace at which a request body may come, so that nobody holds memory and connections by dripping octets.
 */

/** How often uploads are looked at, in milliseconds. */
const TICK = 1000;

/** An upload under watch; the reader tells it what came. */
export interface PacedUpload {
  /** Octets by which it is ahead of the slowest pace; cut when it falls below zero. */
  credit: number;
  /** Ends the upload. */
  cut(): void;
}

/**
 * Watches uploads by one timer for all.
 *
 * Each upload starts with the credit of a few seconds; every second takes the slowest pace's octets from it, and what
 * arrives is added, up to that start. So a fast beginning does not buy a long stall.
 */
export class UploadPace {
  private readonly uploads = new Set<PacedUpload>();
  private readonly octetsPerTick: number;
  private readonly fullCredit: number;
  private readonly timer: NodeJS.Timeout;

  /**
   * @param parts.minOctetsPerSecond the slowest pace
   * @param parts.grace how long an upload may send nothing at all, in milliseconds
   */
  constructor(parts: { minOctetsPerSecond: number; grace: number }) {
    this.octetsPerTick = (parts.minOctetsPerSecond * TICK) / 1000;
    this.fullCredit = (parts.minOctetsPerSecond * parts.grace) / 1000;
    this.timer = setInterval(() => this.tick(), TICK).unref();
  }

  watch(cut: () => void): PacedUpload {
    const upload = { credit: this.fullCredit, cut };
    this.uploads.add(upload);
    return upload;
  }

  /** Tells that `octets` more came. */
  progress(upload: PacedUpload, octets: number): void {
    upload.credit = Math.min(this.fullCredit, upload.credit + octets);
  }

  forget(upload: PacedUpload): void {
    this.uploads.delete(upload);
  }

  close(): void {
    clearInterval(this.timer);
  }

  private tick(): void {
    for (const upload of this.uploads) {
      upload.credit -= this.octetsPerTick;
      if (upload.credit < 0) {
        this.uploads.delete(upload);
        upload.cut();
      }
    }
  }
}
