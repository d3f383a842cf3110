/**
 * One line of the benchmarks' table.
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
