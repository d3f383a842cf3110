/** `relay-gateway cost`: operations and prices become dollars, and whoever knows other prices can give them. */
import assert from 'node:assert/strict';
import { mkdtempDisposableSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { suite, test } from 'node:test';
import { type CostReport, costReport } from '../../src/cli/cost.ts';
import { LIST_PRICES } from '../../src/cli/cost-prices.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

const FREE = Object.fromEntries(Object.keys(LIST_PRICES).map((name) => [name, 0])) as Record<
  keyof typeof LIST_PRICES,
  number
>;

/** Everything is free, but for this. */
function only(prices: Partial<typeof FREE>): CostReport {
  return costReport({ ...FREE, redisCommandsPerSecond: 1, devicesPerProcess: 1e6, ...prices });
}

function near(actual: number | undefined, expected: number): void {
  assert.ok(Math.abs((actual ?? Number.NaN) - expected) < 1e-6, `${actual} is not ${expected}`);
}

suite('The cost of the cloud', () => {
  test('of a million parcels is their operations, each at its price', () => {
    // An object put, 100 times 10,000 of them.
    near(only({ classAPer10000: 0.05 }).parcels[0]?.total, 5);
    // One read, one write and one deletion each, 10 times 100,000; with cargo, a thirtieth of what it costs itself.
    const memory = only({
      firestoreReadsPer100000: 0.03,
      firestoreWritesPer100000: 0.09,
      firestoreDeletesPer100000: 0.01,
    });
    assert.deepEqual(
      memory.parcels.map(({ firestore }) => Math.round(firestore * 100) / 100),
      [0, 0, 1.3, 1.36, 0.5],
    );
    // 10 KiB each, for 3 of 30 days.
    near(only({ storageGbMonth: 0.02, parcelOctets: 10_240, waitingDays: 3 }).parcels[1]?.total, 0.02 * 1.024);
    // 4 commands each, of a Redis that has time for a million in a month.
    const month = 30 * 86_400;
    near(only({ redisMonth: 7, redisCommandsPerSecond: 1e6 / month }).parcels[0]?.redis, 28);
  });

  test('of a million devices is their connections, hours, registrations, processes and what those look for', () => {
    near(only({ classAPer10000: 0.05, connectionsPerDeviceDay: 4 }).devices.total, 600 + 720 * 5);
    near(only({ kmsOperationsPer10000: 0.03, registrationsPerDeviceMonth: 0.5 }).devices.kms, 3);
    near(only({ processMonth: 20, devicesPerProcess: 15_000 }).devices.processes, 67 * 20);
    near(only({ firestoreReadsPer100000: 1, devicesPerProcess: 500_000 }).devices.firestore, (2 * 720 * 3000) / 1e5);
  });

  test("is printed for people, and as JSON with all prices, some of them the reader's own", async () => {
    using directory = mkdtempDisposableSync(path.join(tmpdir(), 'prices-'));
    const file = path.join(directory.path, 'prices.json');
    const printed = await runRelayGateway(['cost']);
    assert.equal(printed.code, 0);
    assert.match(printed.stdout, /^a million parcels, collected live +5\.\d\d +0\.00 +0\.00 /m);
    assert.match(printed.stdout, /^a million connected devices, a month .*\d+\.\d\d$/m);

    writeFileSync(file, JSON.stringify({ classAPer10000: 0.5 }));
    const told = await runRelayGateway(['cost', '--json', '--prices', file]);
    const report = JSON.parse(told.stdout) as CostReport;
    assert.deepEqual(report.prices, { ...LIST_PRICES, classAPer10000: 0.5 });
    near(report.parcels[0]?.storage, 50);
  });

  for (const [what, content, message] of [
    ['a price that is not known', '{"classC": 1}', /not known: classC/],
    ['one below zero', '{"classAPer10000": -1}', /classAPer10000 must be a number, 0 or more/],
    ['a capacity of nothing', '{"devicesPerProcess": 0}', /devicesPerProcess must be more than 0/],
    ['no JSON', 'x', /^Prices cannot be read: /],
    ['no object', '[]', /must hold a JSON object/],
  ] as const) {
    test(`refuses ${what} in one line, with exit code 2`, async () => {
      using directory = mkdtempDisposableSync(path.join(tmpdir(), 'prices-'));
      const file = path.join(directory.path, 'prices.json');
      writeFileSync(file, content);
      const refused = await runRelayGateway(['cost', '--prices', file]);
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, message);
      assert.equal(refused.stderr.trim().split('\n').length, 1);
      assert.equal(refused.stdout, '');
    });
  }
});
