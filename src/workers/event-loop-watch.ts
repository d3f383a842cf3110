/** Tells when the process was too busy to answer anybody: clients drop a server that is silent for 7 seconds. */
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** The longest stall that goes unmentioned, in milliseconds. */
const TOLERATED = 250;

/** How often the delay is sampled, and how often the worst is looked at, in milliseconds. */
const RESOLUTION = 20;
const LOOK = 10_000;

const NANOSECONDS = 1e6;

/** How late the event loop was, in milliseconds. */
export interface EventLoopDelays {
  readonly longest: number;
  /** All but one in a hundred were shorter. */
  readonly mostly: number;
}

export interface EventLoopWatch extends Disposable {
  /** Of the last ten seconds that were looked at. */
  readonly delays: EventLoopDelays;
}

/** @param onStall told at most every ten seconds, with the longest stall since, in milliseconds */
export function watchEventLoop(onStall: (longest: number) => void): EventLoopWatch {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION });
  histogram.enable();
  let delays: EventLoopDelays = { longest: 0, mostly: 0 };
  const late = (nanoseconds: number) => Math.max(0, nanoseconds / NANOSECONDS - RESOLUTION);
  const timer = setInterval(() => {
    delays = { longest: late(histogram.max), mostly: late(histogram.percentile(99)) };
    histogram.reset();
    if (delays.longest > TOLERATED) {
      onStall(Math.round(delays.longest));
    }
  }, LOOK).unref();
  return {
    get delays() {
      return delays;
    },
    [Symbol.dispose]() {
      clearInterval(timer);
      histogram.disable();
    },
  };
}
