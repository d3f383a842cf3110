/** From the start of the program to its being ready, on a data directory that it has used before. */
import { rmSync } from 'node:fs';
import { spawnGateway, temporaryDirectory } from '../test/support/gateway.ts';
import { type Row, runAlone } from './row.ts';
import { median } from './support/statistics.ts';

const STARTS = 7;

/** Milliseconds. */
const BAR = 500;

export async function startUpRows(): Promise<Row[]> {
  const directory = temporaryDirectory();
  try {
    const times: number[] = [];
    for (let start = 0; start <= STARTS; start++) {
      const gateway = await spawnGateway({ directory });
      await gateway.end('SIGTERM');
      // The first makes the keys and the stores.
      if (start > 0) {
        times.push(gateway.startTime);
      }
    }
    const time = median(times);
    return [{ name: 'start-up: to ready', value: time, unit: 'ms', bar: `under ${BAR}`, ok: time < BAR }];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

await runAlone(import.meta, startUpRows);
