/** Debug mode: it begins, is logged, and ends by itself. */
import assert from 'node:assert/strict';
import { mock, suite, type TestContext, test } from 'node:test';
import { createLogger, setLevel } from '../../../src/log.ts';
import { DebugMode } from '../../../src/services/control/debug-mode.ts';

const HOUR = 3_600_000;

function setting(context: TestContext, level = 'error') {
  context.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_800_000_000_000 });
  const lines: Record<string, unknown>[] = [];
  const log = createLogger(level, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const child = log.child({ service: 'poweb' });
  const mode = new DebugMode({ log, setLevel: (wanted) => setLevel(log, wanted), level, now: Date.now });
  return { lines, log, child, mode, tick: (time: number) => context.mock.timers.tick(time) };
}

const messages = (lines: readonly Record<string, unknown>[]) => lines.map(({ msg }) => msg);

suite('Debug mode', () => {
  test('has the log and its children tell everything until its time is over, and says both', (context) => {
    const { lines, log, child, mode, tick } = setting(context);
    child.trace('before');
    assert.deepEqual(mode.start(1000), { isOn: true, until: new Date(Date.now() + 1000).toISOString() });
    log.trace('meanwhile');
    child.trace('in a child');
    tick(999);
    assert.equal(mode.report().isOn, true);
    tick(1);
    assert.deepEqual(mode.report(), { isOn: false });
    log.warn('after');
    child.trace('after');
    assert.deepEqual(messages(lines), [
      'Debug mode begins by order of the operator',
      'meanwhile',
      'in a child',
      'Debug mode ends',
    ]);
    assert.equal(lines.at(-1)?.['reason'], 'its time is over');
  });

  test('that is begun again ends when the second order says', (context) => {
    const { lines, mode, tick } = setting(context);
    mode.start(1000);
    tick(500);
    mode.start(2000);
    tick(1999);
    assert.equal(mode.report().isOn, true);
    tick(1);
    assert.equal(mode.report().isOn, false);
    assert.deepEqual(
      lines.map(({ isRenewed }) => isRenewed),
      [false, true, undefined],
    );
  });

  test('lasts an hour at most', (context) => {
    const { lines, mode } = setting(context);
    for (const time of [HOUR + 1, 0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => mode.start(time), RangeError);
    }
    assert.deepEqual(lines, []);
    assert.equal(mode.report().isOn, false);
  });

  test('is stopped by order, and with the gateway, once', async (context) => {
    const { lines, mode, tick } = setting(context);
    mode.start(1000);
    assert.deepEqual(mode.stop(), { isOn: false });
    assert.deepEqual(mode.stop(), { isOn: false });
    mode.start(1000);
    await mode[Symbol.asyncDispose]();
    tick(10_000);
    assert.deepEqual(
      lines.filter(({ msg }) => msg === 'Debug mode ends').map(({ reason }) => reason),
      ['order of the operator', 'the gateway stops'],
    );
  });

  test('gives a profile of the processor, one at a time, that ends with it; without it neither profile nor snapshot', async (context) => {
    const { mode, tick } = setting(context);
    await assert.rejects(mode.cpuProfile(1000), /off/);
    assert.throws(() => mode.heapSnapshot(), /off/);
    mode.start(1000);
    const profile = mode.cpuProfile(HOUR);
    await assert.rejects(mode.cpuProfile(1000), /being taken/);
    tick(1000);
    mock.timers.reset();
    const { nodes, samples } = JSON.parse((await profile).toString()) as { nodes: unknown[]; samples: unknown[] };
    assert.ok(nodes.length > 0 && Array.isArray(samples));
  });
});
