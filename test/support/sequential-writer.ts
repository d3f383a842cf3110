/**
 * A process that puts objects one after the other and says on standard output when each was acknowledged.
 *
 * Usage: sequential-writer.ts DIRECTORY COUNT
 */

import { randomBytes } from 'node:crypto';
import { writeSync } from 'node:fs';
import { openLocalBackends } from '../../src/backends/local/local-backends.ts';

const [directory = '', count = ''] = process.argv.slice(2);

await using backends = await openLocalBackends({ directory, clock: Date, random: randomBytes });
for (let number = 0; number < Number(count); number++) {
  const name = `${String(number).padStart(4, '0')}.`;
  await backends.objects.put(`m/${name}`, Buffer.from(`BODY-OF-${name}`.padEnd(1024, 'x')), {
    expiry: Date.now() + 86_400_000,
  });
  writeSync(1, `acknowledged ${name}\n`);
}
