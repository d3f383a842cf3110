/** From the start of the program to its being ready, on stores that it has used before: embedded ones, and those of a split gateway. */
import { rmSync } from 'node:fs';
import { needsCloud, startCloud } from '../test/support/cloud.ts';
import { spawnGateway, temporaryDirectory } from '../test/support/gateway.ts';
import { type Row, runAlone } from './row.ts';
import { median } from './support/statistics.ts';

const STARTS = 7;

/** Milliseconds. */
const EMBEDDED_BAR = 500;
const SPLIT_BAR = 1000;

export async function startUpRows(): Promise<Row[]> {
  const embedded = await startTime({});
  const rows: Row[] = [row('start-up: to ready', embedded, EMBEDDED_BAR)];
  if (needsCloud().skip) {
    console.log(`start-up of a split gateway: left out. ${needsCloud().skip}`);
    return rows;
  }
  await using cloud = await startCloud();
  const split = await startTime({ ...cloud.environment, SERVICES: 'poweb,ops' });
  return [...rows, row('start-up: to ready, split, on emulators', split, SPLIT_BAR)];
}

/** The median, in milliseconds. */
async function startTime(environment: Readonly<Record<string, string>>): Promise<number> {
  const directory = temporaryDirectory();
  try {
    const times: number[] = [];
    for (let start = 0; start <= STARTS; start++) {
      const gateway = await spawnGateway({ directory, environment });
      await gateway.end('SIGTERM');
      // The first makes the keys and the stores.
      if (start > 0) {
        times.push(gateway.startTime);
      }
    }
    return median(times);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function row(name: string, time: number, bar: number): Row {
  return { name, value: time, unit: 'ms', bar: `under ${bar}`, ok: time < bar };
}

await runAlone(import.meta, startUpRows);
