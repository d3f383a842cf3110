/**
 * A progress bar on standard error: drawn over itself on a terminal, else a line a second.
 */

const WIDTH = 30;

/** How often it is drawn, in milliseconds: on a terminal, and elsewhere. */
const TERMINAL_INTERVAL = 100;
const LINE_INTERVAL = 1000;

const MIB = 1024 * 1024;

/** What is shown: how much of the total is done, and a text. */
interface Progress {
  readonly done: number;
  readonly text: string;
}

/** Drawn until it is disposed of. */
abstract class Bar implements Disposable {
  private readonly label: string;
  private readonly start = performance.now();
  private readonly timer: NodeJS.Timeout;
  /** Undefined where it is not known. */
  protected total: number | undefined;

  constructor(label: string, total: number | undefined) {
    this.label = label;
    this.total = total;
    this.timer = setInterval(() => this.draw(), process.stderr.isTTY ? TERMINAL_INTERVAL : LINE_INTERVAL);
  }

  protected get milliseconds(): number {
    return Math.round(performance.now() - this.start);
  }

  [Symbol.dispose](): void {
    clearInterval(this.timer);
    if (process.stderr.isTTY) {
      process.stderr.write('\r\x1b[K');
    }
  }

  protected abstract progress(seconds: number): Progress;

  private draw(): void {
    const { milliseconds } = this;
    const { done, text } = this.progress(milliseconds / 1000);
    const line = `${this.label}  ${this.bar(milliseconds, done)}  ${text}`;
    process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
  }

  /** Filled as far as is known; else something that moves. */
  private bar(milliseconds: number, done: number): string {
    if (this.total) {
      const share = Math.min(1, done / this.total);
      const filled = Math.floor(share * WIDTH);
      return `[${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] ${Math.floor(share * 100)} %`;
    }
    const place = Math.floor(milliseconds / TERMINAL_INTERVAL) % WIDTH;
    return `[${'.'.repeat(place)}#${'.'.repeat(WIDTH - place - 1)}]`;
  }
}

/** Of cargoes and their octets. */
export class ProgressBar extends Bar {
  private cargoes = 0;
  private octets = 0;

  /** @param total octets, where they are known beforehand */
  constructor(label: string, total?: number) {
    super(label, total);
  }

  /** One more cargo is done. */
  advance(octets: number): void {
    this.cargoes++;
    this.octets += octets;
  }

  /** What was done, and how fast. */
  get summary(): { readonly cargoes: number; readonly octets: number; readonly milliseconds: number } {
    const { cargoes, octets, milliseconds } = this;
    return { cargoes, octets, milliseconds };
  }

  protected override progress(seconds: number): Progress {
    const { cargoes, octets } = this;
    const mebibytes = octets / MIB;
    const rate = mebibytes / seconds;
    return { done: octets, text: `${cargoes} cargoes, ${mebibytes.toFixed(1)} MiB, ${rate.toFixed(1)} MiB/s` };
  }
}

/** Of records. */
export class RecordBar extends Bar {
  private records = 0;

  constructor(label: string) {
    super(label, undefined);
  }

  /** So many records are done, of so many where that is known. */
  advanceTo(records: number, total?: number): void {
    this.records = records;
    this.total = total;
  }

  /** Since the start, in milliseconds. */
  get duration(): number {
    return this.milliseconds;
  }

  protected override progress(seconds: number): Progress {
    const { records } = this;
    return { done: records, text: `${records} records, ${Math.round(records / seconds)} a second` };
  }
}
