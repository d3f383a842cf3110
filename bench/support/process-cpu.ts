/** What another process has used of the processors (Linux). */
import { readFileSync } from 'node:fs';

/** The kernel counts in hundredths of a second, on all machines that Node runs on. */
const TICK = 10;

/** Milliseconds of CPU that a process and its threads have used so far, in user and kernel mode. */
export function cpuTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * TICK;
}
