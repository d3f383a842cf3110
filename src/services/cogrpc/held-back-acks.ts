/**
 * In which order deliveries are acknowledged: at once, but for the newest.
 *
 * Deployed couriers stop once everything that they have sent so far is acknowledged, whatever they still have to send
 * (protocol section 9). So the newest delivery's acknowledgement is held back until the courier has been quiet for a
 * while, or has said that nothing follows.
 */

export class HeldBackAcks {
  private readonly acknowledge: (id: string) => void;
  private readonly quiet: number;
  /** Tells the newest delivery from the others: ids are the courier's, and may repeat. */
  private newest = 0;
  /** The newest one's acknowledgement, when it is due. */
  private held: string | undefined;
  private isQuiet = false;
  private timer: NodeJS.Timeout | undefined;

  /**
   * @param acknowledge sends one; not called after `close`
   * @param quiet for how long nothing must have come, in milliseconds
   */
  constructor(acknowledge: (id: string) => void, quiet: number) {
    this.acknowledge = acknowledge;
    this.quiet = quiet;
  }

  /**
   * A delivery came.
   *
   * @returns to be called when it may be acknowledged
   */
  begin(id: string): () => void {
    const number = ++this.newest;
    this.isQuiet = false;
    this.release();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.endQuiet(), this.quiet);
    return () => {
      if (number === this.newest && !this.isQuiet) {
        this.held = id;
      } else {
        this.acknowledge(id);
      }
    };
  }

  /** Nothing follows. */
  finish(): void {
    clearTimeout(this.timer);
    this.endQuiet();
  }

  /** Nobody listens any more. */
  close(): void {
    clearTimeout(this.timer);
    this.held = undefined;
  }

  private endQuiet(): void {
    this.isQuiet = true;
    this.release();
  }

  private release(): void {
    const { held } = this;
    this.held = undefined;
    if (held !== undefined) {
      this.acknowledge(held);
    }
  }
}
