/** How long pods take from the start of their program to its being ready, by its own log. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Room } from './cluster.ts';

/** Milliseconds. */
const BAR = 1000;

/** Below it, a processor is there for whoever has something to do. */
const FREE = 1.5;

export interface Start {
  readonly milliseconds: number;
  /** Of all its threads. */
  readonly cpuMilliseconds: number;
  /** How much longer than its CPU time another program took in that pod soon after, which did nothing but reckon. */
  readonly stretch: number;
}

/** Reckons for 200 milliseconds of CPU. */
const RECKON = `
  const begun = performance.now();
  const before = process.cpuUsage();
  const cpu = () => process.cpuUsage(before).user / 1000;
  while (cpu() < 200) {}
  console.log((performance.now() - begun) / cpu());`;

/** Of a pod that is ready, or about to be. */
export async function startOf(room: Pick<Room, 'kubectl'>, pod: string): Promise<Start> {
  const look = async () =>
    (await room.kubectl('logs', pod)).split('\n').find((line) => /"(msg|message)":"Ready"/.test(line));
  let ready = await look();
  while (ready === undefined) {
    // What asks is a program of its own: that is pause enough.
    ready = await look();
  }
  const { milliseconds, cpuMilliseconds } = JSON.parse(ready) as Start;
  const stretch = Number(await room.kubectl('exec', pod, '--', 'node', '--eval', RECKON));
  return { milliseconds, cpuMilliseconds, stretch };
}

/**
 * That they took less than a second of CPU (by the median: what many programs share costs each more), and that the quickest was
 * ready within a second by the clock. On a machine that has too much to do, it may take by the clock as much longer as that other
 * program did: there the pods' clouds wait for a processor, too.
 *
 * @param starts of pods that started one after another
 */
export function assertReadyWithinASecond(context: TestContext, starts: readonly Start[]): void {
  const told = starts.map(
    ({ milliseconds, cpuMilliseconds, stretch }) =>
      `${milliseconds} (${cpuMilliseconds} of CPU, stretched by ${stretch.toFixed(1)})`,
  );
  context.diagnostic(`from the start of the program to ready, in milliseconds: ${told.join(', ')}`);
  assert.ok(starts.length >= 3);
  const median = starts.map(({ cpuMilliseconds }) => cpuMilliseconds).sort((a, b) => a - b)[starts.length >> 1];
  assert.ok(median !== undefined && median < BAR, `a start took ${median} ms of CPU`);
  const stretch = Math.max(...starts.map((start) => start.stretch));
  const bar = stretch < FREE ? BAR : BAR * stretch;
  const quickest = Math.min(...starts.map(({ milliseconds }) => milliseconds));
  assert.ok(quickest < bar, `no pod was ready within ${Math.round(bar)} ms: the quickest took ${quickest}`);
}
