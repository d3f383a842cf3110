/** Chance as the gateway gets it from the machine. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { machineRandom } from '../src/machine.ts';

test('random octets are as many as were asked for, never the same, and in memory of their own', () => {
  const seen = new Set<string>();
  const first = machineRandom(16);
  const copy = Buffer.from(first);
  for (let count = 0; count < 2000; count++) {
    // Those for which many are drawn at once, and those that are drawn by themselves.
    const octets = machineRandom(8 + (count % 70));
    assert.equal(octets.length, 8 + (count % 70));
    seen.add(octets.subarray(0, 8).toString('hex'));
    seen.add(octets.subarray(-8).toString('hex'));
    octets.fill(0);
  }
  // The first and last of 8 octets are the same.
  const ofEight = Math.ceil(2000 / 70);
  assert.equal(seen.size, 4000 - ofEight);
  assert.deepEqual(first, copy);
});
