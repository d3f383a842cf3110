/**
 * A real Prometheus scrapes a gateway under a load of known size: each query of each panel and each rule gives the known
 * figure, and an alert fires.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { StreamingMode } from '@relaycorp/relaynet-core';
import { stringify } from 'yaml';
import { type AllDoors, openAllDoors, type Traffic } from '../support/all-doors.ts';
import { needsPrometheus, type Prometheus, type QueryResult, startPrometheus } from '../support/prometheus.ts';
import { allRules, panelQueries, readRules } from '../support/watch-queries.ts';

/** Makes each series appear, so that Prometheus sees the growth of all of them afterwards. */
const FIRST: Traffic = { poweb: 1, pohttp: 1, cargo: 1, internet: 1, down: 1, refused: 1 };

const LOAD: Traffic = { poweb: 7, pohttp: 5, cargo: 4, internet: 3, down: 2, refused: 6 };
const LOADED = LOAD.poweb + LOAD.pohttp + LOAD.cargo;

/** What stays in the mailbox. */
const LAST: Traffic = { poweb: 0, pohttp: 2, cargo: 0, internet: 0, down: 0, refused: 0 };

/** Scrapes within the range of a rate, so that what Prometheus adds at its ends is little. */
const SCRAPES = 12;

/** Prometheus extends what it saw to the whole range: within so much of the figure. */
const TOLERANCE = 0.25;

/** How long a figure may take to come right: a scrape may be late. */
const PATIENCE = 20_000;

/** What a query is to give, by the values of the labels of each result, divided by spaces and in their order. */
type Figures = Readonly<Record<string, number | Range>>;

interface Range {
  readonly least: number;
  readonly most: number;
}

const some: Range = { least: Number.MIN_VALUE, most: Number.POSITIVE_INFINITY };
const any: Range = { least: 0, most: Number.POSITIVE_INFINITY };
const seconds: Range = { least: 0.0001, most: 30 };
const places = (figures: Record<string, number | Range>) => ({ mailbox: 0, outbox: 0, held: 0, cargo: 0, ...figures });
const WAITING_OUTSIDE = FIRST.down + LOAD.down;

/** By the panel's title. */
const FIGURES: Readonly<Record<string, readonly Figures[]>> = {
  'Parcels in': [
    { poweb: LOAD.poweb + LOAD.internet + LOAD.down, pohttp: LOAD.pohttp + LAST.pohttp, cargo: LOAD.cargo },
  ],
  'Parcels refused': [{ 'poweb RAMF_FORMAT_UNKNOWN': LOAD.refused }],
  'Parcels out': [
    { 'poweb sent': LOADED, 'cargo loaded': LAST.pohttp, 'pohttp sent-on': LOAD.internet, 'pohttp given-up': 0 },
  ],
  'Parcels at the end of their way': [{ poweb: LOADED, cargo: 0, pohttp: LOAD.internet }],
  'Time here': [
    { poweb: seconds, cargo: seconds, pohttp: seconds },
    { poweb: seconds, cargo: seconds, pohttp: seconds },
  ],
  Collections: [{ '': 1 }],
  'Cargo in': [{ accepted: 1, refused: 0, 'not-now': 0 }],
  'Cargo out': [{ collected: 1, 'broken-off': 0, 'collection-refused': 0, failed: 0 }],
  Answers: [
    {
      'poweb 200': 0,
      'poweb 202': LOAD.poweb + LOAD.internet + LOAD.down,
      'poweb 400': LOAD.refused,
      'pohttp 202': LOAD.pohttp + LAST.pohttp,
    },
  ],
  'Slow answers': [{ poweb: seconds, pohttp: seconds }],
  "Couriers' calls": [{ 'DeliverCargo OK': 1, 'CollectCargo OK': 1 }],
  'From outside': [{}],
  Waiting: [places({ mailbox: LAST.pohttp, outbox: WAITING_OUTSIDE })],
  'Their size': [places({ mailbox: { least: 2000, most: 20_000 }, outbox: { least: 2000, most: 20_000 } })],
  'The oldest': [places({ mailbox: { least: 0.1, most: 600 }, outbox: { least: 0.1, most: 600 } })],
  Owners: [places({ mailbox: 1, outbox: 1 }), places({ mailbox: LAST.pohttp, outbox: WAITING_OUTSIDE })],
  'Queue lag': [{ 'internet-delivery': { least: 0, most: 5 }, cargo: 0 }],
  // The first node's rest may end meanwhile, and the second's.
  Retries: [{ 'trial CONNECTION_FAILED': { least: 1, most: 10 } }],
  Attempts: [{ 'sent-on': seconds, postponed: seconds }],
  'Cargo opened': [{ opened: 1, dropped: 0, waiting: 0 }],
  Processor: [{ gateway: some }],
  'Event loop': [{ gateway: some }, { gateway: any }],
  Memory: [{ gateway: { least: 50e6, most: 2e9 } }],
  'Open files': [{ gateway: { least: 10, most: 1000 } }],
  Checks: [
    Object.fromEntries(
      ['stores', 'poweb', 'pohttp', 'cogrpc', 'ops', 'internet-delivery', 'cargo-worker'].map((name) => [name, 1]),
    ),
  ],
  Calls: [{ 'keys local': any, 'objects local': some, 'records local': some, 'work local': some }],
  Failures: [{}],
  Certificates: [{ '': { least: 179, most: 180 } }, {}],
  Backup: [{}],
  Cost: [{ '': 0 }],
  Versions: [{ '0.1.0': 1 }],
};

/** Too many series to name: each port's own operations. */
const FASTER_THAN = 30;

/** Tells how busy the machine is: here, with other tests. */
const OF_THE_MACHINE = 'RelayGatewayEventLoopSlow';

describe('Prometheus', needsPrometheus(), () => {
  let doors: AllDoors;
  let prometheus: Prometheus;
  /** From when on the series were all there, in milliseconds. */
  let seen: number;

  before(async () => {
    doors = await openAllDoors({ HOUSEKEEPING_PERIOD: '1s' });
    const rules = readRules();
    for (const { rules: ofGroup } of rules.groups) {
      for (const rule of ofGroup) {
        // Hours are long for a test; the conditions are as they are shipped.
        Object.assign(rule, rule.for && { for: '1s' });
      }
    }
    prometheus = await startPrometheus(new URL(doors.gateway.ops).host, stringify(rules));

    await doors.send(FIRST);
    await doors.collectByCourier();
    await doors.collect();
    await prometheus.until('relay_gateway_parcels_out_total{door="poweb",outcome="acknowledged"}', isAt(3));
    await scrapes(1);
    seen = Date.now();
    // The range begins before the growth.
    await scrapes(2);

    await doors.send(LOAD);
    await doors.collect();
    await doors.send(LAST);
    await doors.collectByCourier();
    const { promise: handshaken, resolve } = Promise.withResolvers<void>();
    doors.sender
      .collect(StreamingMode.KEEP_ALIVE, resolve)
      .next()
      .catch(() => undefined);
    await handshaken;
    await scrapes(SCRAPES);
  });

  after(async () => {
    await prometheus?.[Symbol.asyncDispose]();
    await doors?.[Symbol.asyncDispose]();
  });

  const isAt = (figure: number) => (results: readonly QueryResult[]) => results.some(({ value }) => value === figure);

  /** Resolves after so many more scrapes. */
  async function scrapes(count: number): Promise<void> {
    const text = 'count_over_time(up[10m])';
    const [before] = await prometheus.until(text, (results) => results.length > 0);
    await prometheus.until(text, ([now]) => (now?.value ?? 0) >= (before?.value ?? 0) + count);
  }

  /** What a query of a panel gives, growth instead of rates. */
  async function figures(expr: string): Promise<Record<string, number>> {
    const range = Math.floor((Date.now() - seen) / 1000);
    const isRate = expr.includes('$__rate_interval');
    const results = await prometheus.query(expr.replaceAll('$__rate_interval', `${range}s`));
    const factor = isRate && !expr.includes('histogram_quantile') && !/process|eventloop/.test(expr) ? range : 1;
    return Object.fromEntries(results.map(({ metric, value }) => [nameOf(metric, expr), value * factor]));
  }

  for (const title of new Set(panelQueries().map(({ panel }) => panel))) {
    const queries = panelQueries().filter(({ panel }) => panel === title);
    for (const [index, { expr }] of queries.entries()) {
      test(`gives the figures of "${title}": ${expr}`, async () => {
        if (title === 'Slow calls') {
          const found = await figures(expr);
          assert.ok('objects put' in found);
          assert.ok(Object.values(found).every((value) => Number.isNaN(value) || value < FASTER_THAN));
          return;
        }
        const expected = FIGURES[title]?.[index];
        assert.ok(expected, 'This panel has no known figure');
        await eventually(async () => assertFigures(await figures(expr), expected));
      });
    }
  }

  for (const { alert, record, expr } of allRules().filter(({ alert: name }) => name !== OF_THE_MACHINE)) {
    test(`evaluates ${alert ?? record} as what it is`, async () => {
      const found = await prometheus.query(expr);
      assert.deepEqual(
        found.map(({ value }) => value),
        record ? [0] : [],
      );
    });
  }

  test('has an alert fire when the gateway is gone, and none before', async () => {
    const firing = `ALERTS{alertstate="firing",alertname!="${OF_THE_MACHINE}"}`;
    assert.deepEqual(await prometheus.query(firing), []);
    await doors.gateway.gateway.stop(AbortSignal.timeout(5000));
    const [alert] = await prometheus.until(firing, (results) => results.length > 0);
    assert.equal(alert?.metric['alertname'], 'RelayGatewayAbsent');
    assert.equal(alert?.metric['severity'], 'critical');
  });
});

/** The values of the labels that the query groups by, in their order there; the instance is told by a name. */
function nameOf(metric: Readonly<Record<string, string>>, expr: string): string {
  const labels = /\bby \(([\w, ]+)\)/.exec(expr)?.[1]?.split(', ') ?? [];
  const named = labels.filter((label) => label !== 'le');
  return named.map((label) => (label === 'instance' ? 'gateway' : metric[label])).join(' ');
}

function assertFigures(found: Readonly<Record<string, number>>, expected: Figures): void {
  assert.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort());
  for (const [name, figure] of Object.entries(expected)) {
    const value = found[name] as number;
    const { least, most } =
      typeof figure === 'number'
        ? { least: figure * (1 - TOLERANCE), most: figure * (1 + TOLERANCE) }
        : { least: figure.least * (1 - TOLERANCE), most: figure.most * (1 + TOLERANCE) };
    assert.ok(value >= least && value <= most, `${name}: ${value}, not from ${least} to ${most}`);
  }
}

async function eventually(check: () => Promise<void>): Promise<void> {
  for (const end = Date.now() + PATIENCE; ; ) {
    try {
      await check();
      return;
    } catch (error) {
      if (Date.now() > end) {
        throw error;
      }
      await pause(500);
    }
  }
}
