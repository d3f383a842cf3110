/**
 * A progress bar on standard error: drawn over itself on a terminal, else a line a second.
 */

const WIDTH = 30;

/** How often it is drawn, in milliseconds: on a terminal, and elsewhere. */
const TERMINAL_INTERVAL = 100;
const LINE_INTERVAL = 1000;

const MIB = 1024 * 1024;

export class ProgressBar implements Disposable {
  private readonly label: string;
  private readonly total: number | undefined;
  private readonly start = performance.now();
  private readonly timer: NodeJS.Timeout;
  private cargoes = 0;
  private octets = 0;

  /** @param total octets, where they are known beforehand */
  constructor(label: string, total?: number) {
    this.label = label;
    this.total = total;
    this.timer = setInterval(() => this.draw(), process.stderr.isTTY ? TERMINAL_INTERVAL : LINE_INTERVAL);
  }

  /** One more cargo is done. */
  advance(octets: number): void {
    this.cargoes++;
    this.octets += octets;
  }

  /** What was done, and how fast. */
  get summary(): { readonly cargoes: number; readonly octets: number; readonly milliseconds: number } {
    const { cargoes, octets } = this;
    return { cargoes, octets, milliseconds: Math.round(performance.now() - this.start) };
  }

  [Symbol.dispose](): void {
    clearInterval(this.timer);
    if (process.stderr.isTTY) {
      process.stderr.write('\r\x1b[K');
    }
  }

  private draw(): void {
    const { cargoes, octets, milliseconds } = this.summary;
    const rate = octets / MIB / (milliseconds / 1000);
    const text = `${cargoes} cargoes, ${(octets / MIB).toFixed(1)} MiB, ${rate.toFixed(1)} MiB/s`;
    const line = `${this.label}  ${this.bar(milliseconds)}  ${text}`;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
  }

  /** Filled as far as is known; else something that moves. */
  private bar(milliseconds: number): string {
    if (this.total) {
      const filled = Math.min(WIDTH, Math.floor((this.octets / this.total) * WIDTH));
      return `[${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] ${Math.floor((this.octets / this.total) * 100)} %`;
    }
    const place = Math.floor(milliseconds / TERMINAL_INTERVAL) % WIDTH;
    return `[${'.'.repeat(place)}#${'.'.repeat(WIDTH - place - 1)}]`;
  }
}
