/** Tells when the process was too busy to answer anybody: clients drop a server that is silent for 7 seconds. */
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** The longest stall that goes unmentioned, in milliseconds. */
const TOLERATED = 250;

/** How often the delay is sampled, and how often the worst is looked at, in milliseconds. */
const RESOLUTION = 20;
const LOOK = 10_000;

/** @param onStall told at most every ten seconds, with the longest stall since, in milliseconds */
export function watchEventLoop(onStall: (longest: number) => void): Disposable {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION });
  delays.enable();
  const timer = setInterval(() => {
    const longest = Math.round(delays.max / 1e6);
    delays.reset();
    if (longest > TOLERATED + RESOLUTION) {
      onStall(longest);
    }
  }, LOOK).unref();
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      delays.disable();
    },
  };
}
