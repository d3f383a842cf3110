/**
 * The lines of the benchmarks' table, and how they are printed.
 */
export interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What is asked of the value, in words; absent where it is only told. */
  readonly bar?: string;
  /** Whether the value meets its bar. */
  readonly ok?: boolean;
}

/** One benchmark: measures, and gives its rows. */
export type Benchmark = () => Promise<Row[]>;

const NAME_WIDTH = 66;
const VALUE_WIDTH = 11;

/** Prints rows, and makes the process exit with 1 when a bar is missed. */
export function printRows(rows: readonly Row[]): void {
  for (const { name, value, unit, bar = '', ok } of rows) {
    const verdict = ok === undefined ? '' : ok ? 'ok' : 'MISSED';
    const text = `${name.padEnd(NAME_WIDTH)}${readable(value).padStart(VALUE_WIDTH)} ${unit.padEnd(12)}${bar.padEnd(16)}${verdict}`;
    console.log(text.trimEnd());
  }
  if (rows.some(({ ok }) => ok === false)) {
    process.exitCode = 1;
  }
}

/** Runs a benchmark whose module is the program that was started, and none that was imported. */
export async function runAlone(module: ImportMeta, benchmark: Benchmark): Promise<void> {
  if (module.main) {
    printRows(await benchmark());
  }
}

function readable(value: number): string {
  return Math.abs(value) < 100 ? value.toFixed(2) : Math.round(value).toString();
}
