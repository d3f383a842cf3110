import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { orderServices, type ServiceRecord } from '../../src/gateway/service-order.ts';
import { seededChance } from '../support/chance.ts';

const record = (target: string, priority: number, weight: number): ServiceRecord => ({
  target,
  priority,
  weight,
  port: 443,
});

test('Every record is tried once, those of lower priority first', () => {
  const records = fc.array(fc.record({ priority: fc.nat(3), weight: fc.nat(65_535) }), { maxLength: 12 });
  fc.assert(
    fc.property(records, fc.nat(), (kinds, seed) => {
      const all = kinds.map(({ priority, weight }, index) => record(`${index}`, priority, weight));
      const ordered = orderServices(all, seededChance(seed));
      assert.deepEqual(new Set(ordered), new Set(all));
      assert.equal(ordered.length, all.length);
      const priorities = ordered.map(({ priority }) => priority);
      assert.deepEqual(
        priorities,
        priorities.toSorted((one, other) => one - other),
      );
    }),
  );
});

test('The first of one priority is drawn by weight, the next by the weights that are left', () => {
  const records = [record('a', 1, 10), record('b', 1, 30), record('c', 1, 60)];
  const chance = seededChance(1);
  const firsts = { a: 0, b: 0, c: 0 };
  let bAfterC = 0;
  const draws = 10_000;
  for (let draw = 0; draw < draws; draw++) {
    const [first, second] = orderServices(records, chance).map(({ target }) => target as 'a' | 'b' | 'c');
    firsts[first as 'a']++;
    bAfterC += first === 'c' && second === 'b' ? 1 : 0;
  }
  for (const [target, share] of [
    ['a', 0.1],
    ['b', 0.3],
    ['c', 0.6],
  ] as const) {
    assert.ok(Math.abs(firsts[target] / draws - share) < 0.02, `${target}: ${firsts[target]}`);
  }
  assert.ok(Math.abs(bAfterC / firsts.c - 0.75) < 0.03, `${bAfterC} of ${firsts.c}`);
});

test('Records without weight are tried too, seldom before one that has some', () => {
  const records = [record('heavy', 1, 99), record('light', 1, 0)];
  const chance = seededChance(2);
  let first = 0;
  for (let draw = 0; draw < 10_000; draw++) {
    first += orderServices(records, chance)[0]?.target === 'light' ? 1 : 0;
  }
  assert.ok(first > 10 && first < 300, `${first} of 10,000`);
  assert.equal(orderServices([record('a', 1, 0), record('b', 1, 0)], () => 0.99).length, 2);
});
