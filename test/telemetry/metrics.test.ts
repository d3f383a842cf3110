/** Metrics as Prometheus reads them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GatewayMetrics } from '../../src/telemetry/gateway-metrics.ts';
import { MAX_SERIES, Metrics } from '../../src/telemetry/metrics.ts';

describe('The text of metrics', () => {
  test('has help, type and each series of a counter', async () => {
    const metrics = new Metrics('my_');
    const parcels = metrics.counter({ name: 'parcels_total', help: 'Parcels.', labels: ['door', 'code'] });
    parcels.of('poweb', '').increase();
    parcels.of('poweb', '').increase(2);
    parcels.of('pohttp', 'A"B\\C\nD').increase();
    assert.equal(
      await metrics.text(),
      `# HELP my_parcels_total Parcels.
# TYPE my_parcels_total counter
my_parcels_total{door="poweb",code=""} 3
my_parcels_total{door="pohttp",code="A\\"B\\\\C\\nD"} 1
`,
    );
  });

  test('has a histogram with cumulative buckets, sum and count', async () => {
    const metrics = new Metrics('my_');
    const seconds = metrics.histogram({ name: 'seconds', help: 'Time.', labels: ['door'] }, [0.1, 1]);
    for (const value of [0.05, 0.1, 0.5, 7]) {
      seconds.of('poweb').observe(value);
    }
    assert.equal(
      await metrics.text(),
      `# HELP my_seconds Time.
# TYPE my_seconds histogram
my_seconds_bucket{door="poweb",le="0.1"} 2
my_seconds_bucket{door="poweb",le="1"} 3
my_seconds_bucket{door="poweb",le="+Inf"} 4
my_seconds_sum{door="poweb"} 7.65
my_seconds_count{door="poweb"} 4
`,
    );
  });

  test('leaves out what cannot be looked up, and keeps the rest', async () => {
    const metrics = new Metrics('my_');
    metrics.looked({ name: 'broken', help: 'Broken.' }, () => Promise.reject(new Error('Store is away')));
    metrics.looked({ name: 'process_fine', help: 'Fine.' }, () => [{ value: 1 }]);
    assert.equal(await metrics.text(), '# HELP process_fine Fine.\n# TYPE process_fine gauge\nprocess_fine 1\n');
  });

  test('stays bounded whatever the labels are: what is beyond the bound is counted together', async () => {
    const metrics = new Metrics('my_');
    const family = metrics.counter({ name: 'a_total', help: 'A.', labels: ['code'] });
    for (let index = 0; index < 10 * MAX_SERIES; index++) {
      family.of(`code-${index}`).increase();
    }
    const lines = (await metrics.text()).split('\n').filter((line) => line.startsWith('my_a_total'));
    assert.equal(lines.length, MAX_SERIES + 1);
    assert.equal(lines.at(-1), `my_a_total{code="other"} ${9 * MAX_SERIES}`);
  });

  test('of the gateway has no id, address or destination of what it counted', async () => {
    const gateway = new GatewayMetrics();
    const secret = 'planted';
    const ids = { trace: secret, parcel: secret, sender: secret, recipient: secret, peer: secret, cargo: secret };
    for (const event of ['accepted', 'refused', 'sent', 'acknowledged', 'postponed', 'sent-on', 'given-up'] as const) {
      const entry = { event, ...ids, destination: secret, mailbox: secret, reason: secret, code: 'NOT_NOW' };
      gateway.parcel({ ...entry, door: 'pohttp', took: 5, waited: 5 });
    }
    gateway.cargo({ event: 'accepted', ids });
    const text = await gateway.metrics.text();
    assert.match(text, /relay_gateway_retries_total\{destination="trial",code="NOT_NOW"\} 1\n/);
    assert.doesNotMatch(text, /planted/);
  });
});
