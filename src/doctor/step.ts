/**
 * The steps of an examination: each runs, is timed, and is told about.
 */
import { AwalaError, type AwalaErrorCode } from '../awala/errors.ts';
import { DoctorFault, type DoctorFaultCode } from './fault.ts';

/** In the order in which they run. */
export const STEP_NAMES = [
  'dns-poweb',
  'dns-pohttp',
  'dns-cogrpc',
  'machine-clock',
  'probe',
  'clock',
  'tls-poweb',
  'tls-pohttp',
  'tls-cogrpc',
  'connection-parameters',
  'pre-registration',
  'registration',
  'endpoint',
  'poweb-delivery',
  'pohttp-delivery',
  'collection',
  'deletion',
  'cargo-delivery',
  'cargo-collection',
  'cargo-refusal',
] as const;

export type StepName = (typeof STEP_NAMES)[number];

/** A step that ended. */
export interface Step {
  readonly name: StepName;
  /** `skipped`: what it needs failed. */
  readonly outcome: 'ok' | 'failed' | 'skipped';
  readonly milliseconds: number;
  /** What was seen, or what is wrong. */
  readonly detail: string;
  /** Of a step that failed. */
  readonly code?: DoctorFaultCode | AwalaErrorCode;
  /** What is likely to help a step that failed. */
  readonly mend?: string;
}

/** Told of each step as it starts and ends. */
export interface StepObserver {
  started(name: StepName): void;
  ended(step: Step): void;
}

/** What a step's work gives: the value for later steps, and what to tell of it. */
export interface StepResult<Value> {
  readonly value: Value;
  readonly detail: string;
}

/** The mend of a message that cannot be read or is not valid. */
const UNREADABLE_MEND =
  'Check that the URL is that of an Awala gateway; if it is, its version writes what clients cannot read: update it';

/** Runs steps and keeps what came of them. */
export class Steps {
  readonly ended: Step[] = [];
  private readonly observer: StepObserver;

  constructor(observer: StepObserver) {
    this.observer = observer;
  }

  /**
   * Runs a step on what an earlier one gave; skips it when that one gave nothing.
   *
   * @returns undefined when the step failed or was skipped
   */
  async run<Need, Value>(
    name: StepName,
    need: Need | undefined,
    work: (need: Need) => Promise<StepResult<Value>>,
  ): Promise<Value | undefined> {
    if (need === undefined) {
      this.end({ name, outcome: 'skipped', milliseconds: 0, detail: 'an earlier step failed' });
      return undefined;
    }
    this.observer.started(name);
    const start = performance.now();
    const elapsed = () => Math.round((performance.now() - start) * 10) / 10;
    try {
      const { value, detail } = await work(need);
      this.end({ name, outcome: 'ok', milliseconds: elapsed(), detail });
      return value;
    } catch (error) {
      this.end({ name, outcome: 'failed', milliseconds: elapsed(), ...finding(error) });
      return undefined;
    }
  }

  private end(step: Step): void {
    this.ended.push(step);
    this.observer.ended(step);
  }
}

function finding(error: unknown): Pick<Step, 'detail' | 'code' | 'mend'> {
  if (error instanceof DoctorFault) {
    return { detail: error.message, code: error.code, mend: error.mend };
  }
  if (error instanceof AwalaError) {
    return { detail: error.message, code: error.code, mend: UNREADABLE_MEND };
  }
  throw error;
}
