/** A put resolves only after a sync of what it wrote has returned: seen by strace, since a kill cannot show it. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryDirectory } from '../support/local-backends.ts';
import { needsTool } from '../support/needs-tool.ts';

const WRITER = new URL('../support/sequential-writer.ts', import.meta.url).pathname;
const WRITES = 40;
const BODY_MARK = 'BODY-OF-';

test('A sync returns between each write to the log and the acknowledgement of the put', {
  ...needsTool('strace', 'apt-get install strace'),
  timeout: 120_000,
}, async () => {
  await using directory = await temporaryDirectory();
  const trace = join(directory.path, 'trace');
  execFileSync(
    'strace',
    [
      ...['-f', '-y', '-s', '65536', '-o', trace, '-e', 'trace=pwrite64,pwritev,pwritev2,write,fsync,fdatasync'],
      ...[process.execPath, WRITER, join(directory.path, 'data'), `${WRITES}`],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const lines = joinResumed((await readFile(trace, 'latin1')).split('\n'));
  for (let number = 0; number < WRITES; number++) {
    const name = `${String(number).padStart(4, '0')}.`;
    const written = lines.findIndex(
      (line) => /pwrite(64|v2?)\(\d+<[^>]*\/messages\/\d+\.log>/.test(line) && line.includes(BODY_MARK + name),
    );
    const acknowledged = lines.findIndex((line) => /\bwrite\(1</.test(line) && line.includes(`acknowledged ${name}`));
    assert.notEqual(written, -1, `the write of ${name} was seen`);
    assert.notEqual(acknowledged, -1, `the acknowledgement of ${name} was seen`);
    assert.ok(written < acknowledged);
    const synced = lines
      .slice(written, acknowledged)
      .some((line) => /\bf(data)?sync\(.*\/messages\/\d+\.log>\) += 0/.test(line));
    assert.ok(synced, `a sync returned before ${name} was acknowledged`);
  }
});

/** Calls that strace shows in two lines, since another thread's came between, stand where they returned. */
function joinResumed(lines: readonly string[]): string[] {
  const unfinished = new Map<string, string>();
  const whole: string[] = [];
  for (const line of lines) {
    const [thread = ''] = line.split(' ');
    const resumed = /<\.\.\. \w+ resumed>(.*)/.exec(line);
    if (line.endsWith('<unfinished ...>')) {
      unfinished.set(thread, line.slice(0, -'<unfinished ...>'.length));
    } else if (resumed) {
      whole.push((unfinished.get(thread) ?? '') + resumed[1]);
    } else {
      whole.push(line);
    }
  }
  return whole;
}
