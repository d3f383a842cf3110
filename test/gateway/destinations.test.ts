import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Attempt, Destinations } from '../../src/gateway/destinations.ts';
import { retryWait } from '../../src/gateway/retry.ts';
import { HOUR, MINUTE, SECOND } from '../../src/gateway/time.ts';
import { ManualClock } from '../support/manual-clock.ts';

/** @param chance of how much shorter rests are */
function open(chance = 0) {
  const clock = new ManualClock();
  return { clock, destinations: new Destinations({ clock, chance: () => chance, slots: 8, perDestination: 16 }) };
}

/** A delivery under way. */
function begin(destinations: Destinations, name: string): Attempt {
  const attempt = destinations.begin(destinations.take(name));
  assert.ok(attempt);
  return attempt;
}

describe('The wait before a retry', () => {
  test('doubles from half a minute to an hour, and is never longer', () => {
    const waits = Array.from({ length: 12 }, (_, failures) => retryWait(failures + 1, 0));
    assert.deepEqual(waits.slice(0, 4), [30 * SECOND, MINUTE, 2 * MINUTE, 4 * MINUTE]);
    assert.deepEqual(waits.slice(7), Array(5).fill(HOUR));
    assert.equal(retryWait(10_000, 0), HOUR);
  });

  test('is up to half shorter by chance, so that not all come back at once', () => {
    assert.equal(retryWait(1, 0.5), 22.5 * SECOND);
    assert.ok(retryWait(1, 0.999) > 15 * SECOND);
    assert.ok(retryWait(20, 0.999) > HOUR / 2);
  });
});

describe('A destination', () => {
  test('that nothing is known of gets one delivery at once, then twice as many with each success, and some in hand', () => {
    const { destinations } = open();
    const rooms: number[] = [];
    for (let success = 0; success < 6; success++) {
      rooms.push(destinations.room('a'));
      destinations.succeeded(begin(destinations, 'a'));
    }
    assert.deepEqual(rooms, [1, 8, 16, 32, 64, 64]);
    const inHand = Array.from({ length: 20 }, () => destinations.take('a'));
    assert.equal(destinations.room('a'), 44);
    const begun = inHand.map((attempt) => destinations.begin(attempt));
    assert.equal(begun.filter((attempt) => attempt !== undefined).length, 16);
    destinations.abandoned(begun[0] as Attempt);
    assert.ok(destinations.begin(inHand[16] as Attempt));
    assert.equal(destinations.room('a'), 45);
  });

  test('that fails rests for half a minute at most, then for longer with each further failure, up to an hour', () => {
    const { clock, destinations } = open();
    const rests: number[] = [];
    for (let failure = 0; failure < 9; failure++) {
      const until = destinations.failed(begin(destinations, 'a')) as number;
      rests.push(until - clock.now());
      clock.advance(until - clock.now());
    }
    assert.deepEqual(rests.slice(0, 3), [30 * SECOND, MINUTE, 2 * MINUTE]);
    assert.equal(rests.at(-1), HOUR);
    assert.equal(destinations.succeeded(begin(destinations, 'a')), true);
    assert.equal((destinations.failed(begin(destinations, 'a')) as number) - clock.now(), 30 * SECOND);
  });

  test('that breaks with many deliveries under way is counted as failing once', () => {
    const { clock, destinations } = open();
    for (let success = 0; success < 4; success++) {
      destinations.succeeded(begin(destinations, 'a'));
    }
    const underWay = Array.from({ length: 16 }, () => begin(destinations, 'a'));
    clock.advance(1);
    const rests = underWay.map((attempt) => destinations.failed(attempt));
    assert.equal(rests.filter((rest) => rest !== undefined).length, 1);
    assert.equal((rests[0] as number) - clock.now(), 30 * SECOND);
    assert.equal(destinations.room('a'), 1);
  });

  test('is not well again by a delivery that began before it failed', () => {
    const { clock, destinations } = open();
    destinations.succeeded(begin(destinations, 'a'));
    const [slow, quick] = [begin(destinations, 'a'), begin(destinations, 'a')];
    clock.advance(1);
    destinations.failed(quick);
    assert.equal(destinations.succeeded(slow), false);
    assert.equal(destinations.room('a'), 1);
  });

  test('on trial never takes more than half of the slots together with its like, and leaves others alone', () => {
    const { destinations } = open();
    destinations.succeeded(begin(destinations, 'good'));
    const chosen: { group: string }[] = [];
    for (let number = 0; number < 20; number++) {
      const name = `new ${number}`;
      if (destinations.room(name, chosen) > 0) {
        chosen.push({ group: name });
      }
    }
    assert.equal(chosen.length, 4);
    assert.equal(destinations.room('good', chosen), 8);
    const attempts = chosen.map(({ group }) => begin(destinations, group));
    assert.equal(destinations.room('another'), 0);
    assert.equal(destinations.room('good'), 8);
    destinations.failed(attempts[0] as (typeof attempts)[0]);
    assert.equal(destinations.room('another'), 1);
  });

  test('is forgotten when ten thousand others came after it, but not with a delivery under way', () => {
    const { destinations } = open();
    destinations.succeeded(begin(destinations, 'idle'));
    for (let success = 0; success < 2; success++) {
      destinations.succeeded(begin(destinations, 'busy'));
    }
    const underWay = begin(destinations, 'busy');
    for (let number = 0; number < 10_000; number++) {
      destinations.abandoned(begin(destinations, `${number}`));
    }
    assert.equal(destinations.room('idle'), 1);
    assert.equal(destinations.room('busy'), 15);
    destinations.abandoned(underWay);
  });
});
