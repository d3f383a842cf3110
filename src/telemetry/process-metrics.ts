/** What every process can tell of itself, under the names that dashboards everywhere know. */
import { readdir } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import type { Metrics } from './metrics.ts';

const MICROSECONDS = 1_000_000;
const MILLISECONDS = 1000;

/** The open files of this process; only on Linux. */
const OPEN_FILES = '/proc/self/fd';

/** The event loop's delays in the last period that was looked at, in milliseconds. */
export interface LoopDelays {
  readonly longest: number;
  /** All but one in a hundred were shorter. */
  readonly mostly: number;
}

export function addProcessMetrics(metrics: Metrics, delays: () => LoopDelays, version: string): void {
  metrics.looked(
    { name: 'process_cpu_seconds_total', help: 'Processor time that the process took.' },
    () => {
      const { user, system } = process.cpuUsage();
      return [{ value: (user + system) / MICROSECONDS }];
    },
    'counter',
  );
  metrics.looked({ name: 'process_resident_memory_bytes', help: 'Memory that the process has in use.' }, () => [
    { value: process.memoryUsage.rss() },
  ]);
  metrics.looked({ name: 'nodejs_heap_size_used_bytes', help: 'JavaScript heap in use.' }, () => [
    { value: process.memoryUsage().heapUsed },
  ]);
  metrics.looked({ name: 'process_open_fds', help: 'Open files and connections.' }, async () => [
    { value: (await readdir(OPEN_FILES)).length },
  ]);
  const started = performance.timeOrigin / MILLISECONDS;
  metrics.looked({ name: 'process_start_time_seconds', help: 'When the process started.' }, () => [{ value: started }]);
  metrics.looked(
    {
      name: 'nodejs_eventloop_delay_seconds',
      help: 'How late the event loop was in the last ten seconds: the longest delay, and the 99th percentile.',
      labels: ['which'],
    },
    () => [
      { labels: ['longest'], value: delays().longest / MILLISECONDS },
      { labels: ['p99'], value: delays().mostly / MILLISECONDS },
    ],
  );
  metrics.looked(
    { name: 'nodejs_eventloop_active_seconds_total', help: 'Time in which the event loop was not idle.' },
    () => [{ value: performance.eventLoopUtilization().active / MILLISECONDS }],
    'counter',
  );
  metrics.looked({ name: 'info', help: 'The version that runs, as a label.', labels: ['version', 'node'] }, () => [
    { labels: [version, process.version], value: 1 },
  ]);
}
