/** That pods are ready within a second. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Start } from './cluster.ts';

/** Milliseconds. */
const BAR = 1000;

/**
 * That each took less than a second of CPU, and that the quickest was ready within a second by the clock. How long the others took
 * by the clock is as much the machine's doing, which has the cluster, the traffic and the clouds to run beside them.
 *
 * @param starts of pods that started one after another
 */
export function assertReadyWithinASecond(context: TestContext, starts: readonly Start[]): void {
  const told = starts.map(({ milliseconds, cpuMilliseconds }) => `${milliseconds} (${cpuMilliseconds} of CPU)`);
  context.diagnostic(`from the start of the program to ready, in milliseconds: ${told.join(', ')}`);
  assert.ok(starts.length >= 3);
  for (const { cpuMilliseconds } of starts) {
    assert.ok(cpuMilliseconds < BAR, `a start took ${cpuMilliseconds} ms of CPU`);
  }
  const quickest = Math.min(...starts.map(({ milliseconds }) => milliseconds));
  assert.ok(quickest < BAR, `no pod was ready within a second, but after ${quickest} ms at the least`);
}
