/**
 * Debug mode: for a while this process logs all that happens, and can be looked into. It ends by itself; its begin and its
 * end are logged, whatever the level.
 */
import { Session } from 'node:inspector/promises';
import type { Readable } from 'node:stream';
import { getHeapSnapshot } from 'node:v8';
import type { Logger } from 'pino';
import type { ControlAnswers } from './control-socket.ts';

/** The longest time, in milliseconds. */
const LONGEST = 3_600_000;

/** The longest CPU profile, in milliseconds: of a busy minute it has some megabytes. */
const LONGEST_PROFILE = 60_000;

/** Microseconds between two looks of the profiler. */
const SAMPLING_INTERVAL = 1000;

/** JSON; dates are in ISO 8601. */
export interface DebugReport {
  readonly isOn: boolean;
  /** When it ends by itself; absent where it is off. */
  readonly until?: string;
}

export interface DebugModeParts {
  readonly log: Logger;
  /** Sets the level of the log and of all its children. */
  readonly setLevel: (level: string) => void;
  /** The level where debug mode is off. */
  readonly level: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** What there is in the log in debug mode: all but payloads, keys and credentials, which nothing logs. */
const DEBUG_LEVEL = 'trace';

export class DebugMode implements AsyncDisposable {
  private readonly parts: DebugModeParts;
  private timer: NodeJS.Timeout | undefined;
  private until: number | undefined;
  private profile: { readonly ended: PromiseWithResolvers<void>; readonly taken: Promise<Buffer> } | undefined;

  constructor(parts: DebugModeParts) {
    this.parts = parts;
  }

  /**
   * Begins, or sets anew when it ends.
   *
   * @param time in milliseconds, up to an hour
   * @throws RangeError when the time is none, or too long
   */
  start(time: number): DebugReport {
    if (!(time > 0 && time <= LONGEST)) {
      throw new RangeError('Debug mode lasts an hour at most');
    }
    const { log, setLevel, now } = this.parts;
    const isRenewed = this.until !== undefined;
    clearTimeout(this.timer);
    this.until = now() + time;
    this.timer = setTimeout(() => this.end('its time is over'), time).unref();
    setLevel(DEBUG_LEVEL);
    log.warn({ until: this.report().until, isRenewed }, 'Debug mode begins by order of the operator');
    return this.report();
  }

  stop(): DebugReport {
    this.end('order of the operator');
    return this.report();
  }

  report(): DebugReport {
    return this.until === undefined ? { isOn: false } : { isOn: true, until: new Date(this.until).toISOString() };
  }

  /**
   * What the processor does for so long, or until debug mode ends: names of functions and files, nothing else.
   *
   * @returns JSON, as Chrome's developer tools read it
   * @throws Error where debug mode is off, or a profile is being taken
   */
  async cpuProfile(time: number): Promise<Buffer> {
    this.requireOn();
    if (this.profile) {
      throw new Error('A profile is being taken already');
    }
    const ended = Promise.withResolvers<void>();
    const timer = setTimeout(ended.resolve, Math.min(time, LONGEST_PROFILE));
    const taken = takeProfile(ended.promise);
    this.profile = { ended, taken };
    try {
      const profile = await taken;
      this.parts.log.warn({ octets: profile.length }, 'CPU profile taken by order of the operator');
      return profile;
    } finally {
      clearTimeout(timer);
      this.profile = undefined;
    }
  }

  /**
   * All that is in memory, keys and messages too. Nobody is served while it is made, and it takes as much memory again.
   *
   * @returns JSON, as Chrome's developer tools read it
   * @throws Error where debug mode is off
   */
  heapSnapshot(): Readable {
    this.requireOn();
    this.parts.log.warn('Heap snapshot taken by order of the operator: it holds all secrets of this process');
    return getHeapSnapshot();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { profile } = this;
    this.end('the gateway stops');
    await profile?.taken.catch(() => undefined);
  }

  private requireOn(): void {
    if (this.until === undefined) {
      throw new Error('Debug mode is off');
    }
  }

  private end(reason: string): void {
    if (this.until === undefined) {
      return;
    }
    const { log, setLevel, level } = this.parts;
    clearTimeout(this.timer);
    this.until = undefined;
    this.profile?.ended.resolve();
    log.warn({ reason }, 'Debug mode ends');
    setLevel(level);
  }
}

async function takeProfile(end: Promise<void>): Promise<Buffer> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: SAMPLING_INTERVAL });
    await session.post('Profiler.start');
    await end;
    const { profile } = await session.post('Profiler.stop');
    return Buffer.from(JSON.stringify(profile));
  } finally {
    session.disconnect();
  }
}

/** What a running gateway answers of it; times are in milliseconds. */
export function debugAnswers(mode: DebugMode): ControlAnswers {
  return {
    'GET debug': async () => mode.report(),
    'POST debug/start': async ({ time }) => mode.start(Number(time)),
    'POST debug/stop': async () => mode.stop(),
    'POST debug/cpu-profile': ({ time }) => mode.cpuProfile(Number(time)),
    'POST debug/heap-snapshot': async () => mode.heapSnapshot(),
  };
}
