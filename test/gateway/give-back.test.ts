/** Memory that is given back, and never under the hands of somebody who still reads it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { giveBack, shareMemory } from '../../src/gateway/give-back.ts';

test('memory of its own goes at once; a piece of memory that others may have stays', () => {
  const own = Buffer.alloc(8192, 1);
  giveBack(own);
  assert.equal(own.buffer.byteLength, 0);
  giveBack(own);
  const whole = Buffer.alloc(16_384, 1);
  giveBack(whole.subarray(0, 8192));
  assert.equal(whole[0], 1);
});

test('shared memory goes with the last of those that share it', () => {
  const { buffer } = new Uint8Array(10_000).fill(7);
  const all = [Buffer.from(buffer, 0, 4000), Buffer.from(buffer, 4000, 0), Buffer.from(buffer, 4000, 6000)] as const;
  shareMemory(all);
  giveBack(all[2]);
  giveBack(all[1]);
  assert.equal(all[0][3999], 7);
  giveBack(all[0]);
  assert.equal(buffer.byteLength, 0);
  // Once more does no harm.
  giveBack(all[0]);
});

test('memory of which somebody else has a part stays', () => {
  const { buffer } = new Uint8Array(10_000).fill(7);
  const all = [Buffer.from(buffer, 0, 4000), Buffer.from(buffer, 4000, 4000)];
  shareMemory(all);
  all.forEach(giveBack);
  assert.equal(buffer.byteLength, 10_000);
});
