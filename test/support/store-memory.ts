/**
 * A process that opens a data directory, lists what is under a prefix, reads each hundredth body, and prints its
 * resident memory in octets.
 *
 * Usage: store-memory.ts DIRECTORY PREFIX
 */

import { randomBytes } from 'node:crypto';
import { openLocalBackends } from '../../src/backends/local/local-backends.ts';

const [directory = '', prefix = ''] = process.argv.slice(2);
const EACH = 100;

await using backends = await openLocalBackends({ directory, clock: Date, random: randomBytes });
let number = 0;
for await (const { key } of backends.objects.list(prefix)) {
  if (number++ % EACH === 0) {
    await backends.objects.get(key);
  }
}
process.stdout.write(`${process.memoryUsage.rss()}`);
