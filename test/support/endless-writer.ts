/**
 * A process that writes to a data directory until it is killed, and tells on standard output what was acknowledged:
 * one line each, ending in a full stop, so that a line cut off by the kill is not taken for another.
 *
 * Usage: endless-writer.ts DIRECTORY RUN
 */

import { createHash, randomBytes, randomInt } from 'node:crypto';
import { writeSync } from 'node:fs';
import { openLocalBackends } from '../../src/backends/local/local-backends.ts';

const [directory = '', run = ''] = process.argv.slice(2);
const WRITERS = 16;
const DAY = 86_400_000;

const backends = await openLocalBackends({ directory, clock: Date, random: randomBytes });
await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));

async function write(writer: number): Promise<never> {
  for (let number = 0; ; number++) {
    const key = `${run}/${writer}/${number}`;
    const body = randomBytes(number % 10 === 9 ? randomInt(300_000) : 1024);
    const { version } = await backends.objects.put(key, body, { expiry: Date.now() + DAY });
    tell(`put ${key} ${createHash('sha256').update(body).digest('hex')}`);
    if (number % 3 === 2) {
      tell(`deleting ${key}`);
      await backends.objects.delete(key, version);
      tell(`deleted ${key}`);
    }
    if (number % 5 === 4 && (await backends.records.create('single-use-tokens', key, { number }))) {
      tell(`created ${key}`);
    }
  }
}

/** Writes before it returns, also where the pipe is full: what is not told yet must not be lost by the kill. */
function tell(line: string): void {
  let rest = Buffer.from(`${line}.\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') {
        throw error;
      }
    }
  }
}
