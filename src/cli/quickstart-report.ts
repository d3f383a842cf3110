/** What `relay-gateway quickstart` says of its steps, to people and to programs. */
import type { ExaminationReport } from '../doctor/examination.ts';
import type { StepObserver } from '../doctor/step.ts';
import { StepPrinter, verdict } from './ping.ts';

export interface QuickstartStep {
  /** What it sees to: `machine`, `settings`, `user`, `command`, a unit, `dns`, `certificate`, `start`. */
  readonly name: string;
  /** `ok`: there was nothing to do. `unchanged`: it was done before. `kept`: somebody has edited the file, and it is left as it is. `skipped`: an earlier step failed. */
  readonly outcome: 'ok' | 'done' | 'unchanged' | 'kept' | 'planned' | 'skipped' | 'failed';
  readonly detail: string;
  /** Of a file: lines only of what was there (`- …`) or only of what is wanted (`+ …`). */
  readonly difference?: readonly string[];
  readonly code?: string;
  readonly mend?: string;
}

export interface QuickstartReport {
  readonly healthy: boolean;
  readonly steps: readonly QuickstartStep[];
  /** Lines for a zone file. */
  readonly records: readonly string[];
  /** What the doctor says; undefined where it was not asked. */
  readonly examination: ExaminationReport | undefined;
}

export interface QuickstartObserver {
  ended(step: QuickstartStep): void;
  /** The text of a file that would be written. */
  planned(path: string, text: string): void;
  records(lines: readonly string[]): void;
  readonly doctor: StepObserver;
}

const NAME_WIDTH = 'relay-gateway-certificate.service'.length;

export class QuickstartPrinter implements QuickstartObserver {
  readonly doctor: StepObserver = new StepPrinter();

  ended({ name, outcome, detail, difference = [], code, mend }: QuickstartStep): void {
    console.log(`${outcome.padEnd(9)}  ${name.padEnd(NAME_WIDTH)}  ${code ? `${detail} [${code}]` : detail}`);
    for (const line of difference) {
      console.log(`             ${line}`);
    }
    if (mend) {
      console.log(`           mend: ${mend}`);
    }
  }

  planned(path: string, text: string): void {
    console.log(`\n${path}:\n${text.replace(/^/gm, '    ').trimEnd()}\n`);
  }

  records(lines: readonly string[]): void {
    console.log(
      `\nPublish these DNS records, each once, in a zone that is signed (DNSSEC):\n\n  ${lines.join('\n  ')}\n`,
    );
  }
}

export const SILENT_PRINTER: QuickstartObserver = {
  ended() {},
  planned() {},
  records() {},
  doctor: { started() {}, ended() {} },
};

/** The JSON document's members are stable: programs read them. */
export function printReport(report: QuickstartReport, isJson: boolean): void {
  const { healthy, steps, records, examination } = report;
  if (isJson) {
    const doctor = examination ? { healthy: examination.isHealthy, steps: examination.steps } : null;
    console.log(JSON.stringify({ healthy, steps, records, doctor }, undefined, 2));
  } else if (examination) {
    console.log(verdict(examination));
  } else if (!healthy) {
    console.log('Mend what failed, and run the same command again');
  }
}
