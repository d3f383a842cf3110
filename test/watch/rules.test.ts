/** Alerts and dashboards as they are shipped: each query asks for what there is, and each alert fires when it should. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { type InProcessGateway, projectRoot, startGateway } from '../support/gateway.ts';
import { needsPrometheus } from '../support/prometheus.ts';
import { allRules, metricsOf, panelQueries, RULES_FILE } from '../support/watch-queries.ts';

const run = promisify(execFile);
const CASES = path.join(import.meta.dirname, 'alerts.yaml');

/** Of the uptime probes' own exporter. */
const FOREIGN = ['probe_success'];

const alerts = allRules().filter(({ alert }) => alert !== undefined);

describe('Queries', () => {
  let gateway: InProcessGateway;
  let known: Set<string>;

  before(async () => {
    gateway = await startGateway();
    const text = await (await fetch(`${gateway.ops}/metrics`)).text();
    known = new Set(FOREIGN);
    for (const [, name = '', kind] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
      const suffixes = kind === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
      for (const suffix of suffixes) {
        known.add(`${name}${suffix}`);
      }
    }
    for (const { record } of allRules()) {
      known.add(record ?? '');
    }
  });

  after(() => gateway[Symbol.asyncDispose]());

  test('of all panels and rules ask for metrics that the gateway has, and for nothing else', () => {
    const queries = [...panelQueries().map(({ expr }) => expr), ...allRules().map(({ expr }) => expr)];
    assert.ok(queries.length > 40);
    for (const query of queries) {
      const names = metricsOf(query);
      assert.ok(names.length > 0, query);
      for (const name of names) {
        assert.ok(known.has(name), `${name} in ${query}`);
      }
    }
  });

  test('of panels leave out no metric of the gateway that people should see', () => {
    const shown = new Set(panelQueries().flatMap(({ expr }) => metricsOf(expr)));
    const unseen = [...known].filter(
      (name) =>
        name.startsWith('relay_gateway_') &&
        !/_(sum|bucket|count)$/.test(name) &&
        ![...shown].some((one) => one === name),
    );
    // Of the largest mailbox the count is shown, and the time of a count is for whoever doubts it.
    assert.deepEqual(unseen.sort(), [
      'relay_gateway_waiting_counted_timestamp_seconds',
      'relay_gateway_waiting_most_bytes',
    ]);
  });
});

test('Uptime probes ask each public host, with a module that there is', needsPrometheus('promtool'), async () => {
  const folder = path.join(projectRoot, 'deploy/uptime');
  const file = path.join(folder, 'prometheus.yml');
  await run('promtool', ['check', 'config', '--syntax-only', file]);
  const { modules } = parse(readFileSync(path.join(folder, 'blackbox.yml'), 'utf8')) as { modules: object };
  const { scrape_configs: jobs } = parse(readFileSync(file, 'utf8')) as {
    scrape_configs: { job_name: string; static_configs: { labels: { module: string; host: string } }[] }[];
  };
  const labels = jobs.flatMap(({ static_configs: targets }) => targets.map((target) => target.labels));
  assert.deepEqual(labels.map(({ host }) => host).sort(), ['cogrpc', 'pohttp', 'poweb']);
  assert.ok(labels.every(({ module }) => module in modules));
  const unreachable = alerts.find(({ alert }) => alert === 'RelayGatewayUnreachable');
  assert.ok(unreachable?.expr.includes(`job="${jobs[0]?.job_name}"`));
});

describe('Alerts', () => {
  test('have a severity, a text for people, and a section of the runbook', () => {
    const runbook = readFileSync(path.join(projectRoot, 'docs/runbook.md'), 'utf8');
    const sections = [...runbook.matchAll(/^## (\w+)$/gm)].map(([, title]) => title);
    assert.deepEqual(sections.sort(), alerts.map(({ alert }) => alert).sort());
    for (const { alert = '', labels, annotations } of alerts) {
      assert.match(labels?.['severity'] ?? '', /^(critical|warning)$/, alert);
      assert.ok(annotations?.['summary'] && annotations['description'], alert);
      assert.equal(annotations?.['runbook'], `docs/runbook.md#${alert.toLowerCase()}`);
    }
  });

  test('have a case each', () => {
    const { tests } = parse(readFileSync(CASES, 'utf8')) as { tests: { name: string }[] };
    const names = tests.map(({ name }) => name);
    assert.deepEqual(
      alerts.map(({ alert }) => alert).filter((alert) => !names.includes(alert ?? '')),
      [],
    );
  });

  test('fire in their cases, and only then', needsPrometheus('promtool'), async () => {
    await run('promtool', ['check', 'rules', RULES_FILE]);
    const { stdout } = await run('promtool', ['test', 'rules', CASES]);
    assert.match(stdout, /SUCCESS/);
  });
});
