/** What was acknowledged is there after the process was killed. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import { temporaryDirectory } from '../../support/local-backends.ts';

const WRITER = new URL('../../support/endless-writer.ts', import.meta.url).pathname;
const KILLS = 8;

test('Every acknowledged put, delete and record outlives kill -9 at random moments', { timeout: 120_000 }, async () => {
  await using directory = await temporaryDirectory();
  const objects = new Map<string, string>();
  const records = new Set<string>();
  for (let kill = 0; kill < KILLS; kill++) {
    const lines = await writeUntilKilled(directory.path, `run${kill}`, 50 + Math.floor(Math.random() * 300));
    for (const line of lines) {
      const [what, key = '', digest = ''] = line.split(' ');
      switch (what) {
        case 'put':
          objects.set(key, digest);
          break;
        case 'deleting':
          // Not acknowledged yet: it may be there or not.
          objects.delete(key);
          break;
        case 'deleted':
          objects.set(key, '');
          break;
        case 'created':
          records.add(key);
          break;
        default:
          assert.fail(`unexpected line: ${line}`);
      }
    }
    await using backends = await openLocalBackends({ directory: directory.path, clock: Date, random: randomBytes });
    for (const [key, digest] of objects) {
      const stored = await backends.objects.get(key);
      assert.equal(stored ? sha256(stored.body) : '', digest, `${key} after kill ${kill}`);
    }
    for (const key of records) {
      assert.ok(await backends.records.get('single-use-tokens', key), `${key} after kill ${kill}`);
    }
    assert.equal(backends.damaged, 0);
  }
  assert.ok(objects.size > KILLS && records.size > KILLS, 'the writers wrote something');
});

/** Runs the writer until so many lines came, kills it, and gives back all whole lines. */
async function writeUntilKilled(directory: string, run: string, afterLines: number): Promise<string[]> {
  const child = spawn(process.execPath, [WRITER, directory, run], { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.endsWith('.')) {
      lines.push(line.slice(0, -1));
    }
    if (lines.length === afterLines) {
      child.kill('SIGKILL');
    }
  }
  assert.deepEqual((await closed)[1], 'SIGKILL');
  return lines;
}

function sha256(octets: Buffer): string {
  return createHash('sha256').update(octets).digest('hex');
}
