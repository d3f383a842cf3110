/**
 * The ops port: what it tells of services and stores, and of the end of the process.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { request } from 'undici';
import { StoreError } from '../../../src/gateway/ports.ts';
import { createHttpServer } from '../../../src/services/http/server.ts';
import { CheckRounds } from '../../../src/services/ops/check-rounds.ts';
import { Ending } from '../../../src/services/ops/ending.ts';
import { serveOps } from '../../../src/services/ops/ops.ts';
import type { Check } from '../../../src/services/service.ts';
import { temporaryBackends } from '../../support/local-backends.ts';
import { logLines } from '../../support/log-lines.ts';

interface Result {
  readonly name: string;
  readonly ok: boolean;
  readonly optional?: boolean;
  readonly code?: string;
  readonly since?: string;
  readonly id?: string;
  readonly error?: string;
}

async function startOps(t: TestContext, checks: Check[]) {
  const { log, lines } = logLines();
  const server = await createHttpServer({ name: 'ops', host: '127.0.0.1', port: 0, log });
  const ending = new Ending(0, log);
  await serveOps(server, {
    checks: new CheckRounds(checks, log),
    stopping: () => ending.reason,
    metrics: { contentType: 'text/plain', text: async () => 'a 1\n' },
  });
  checks.push(server);
  const url = await server.listen();
  t.after(() => server.stop(AbortSignal.abort()));
  return {
    lines,
    ending,
    async ask(path: string) {
      const { statusCode, headers, body } = await request(`${url}${path}`);
      return { status: statusCode, type: headers['content-type'], results: (await body.json()) as Result[] };
    },
  };
}

describe('GET /ping', () => {
  test('answers 200 with a JSON list while every service and store answers', async (t) => {
    const stores = await temporaryBackends();
    t.after(() => stores[Symbol.asyncDispose]());
    const ops = await startOps(t, [{ name: 'stores', check: () => stores.backends.check() }]);
    assert.deepEqual(await ops.ask('/ping'), {
      status: 200,
      type: 'application/json',
      results: [
        { name: 'stores', ok: true },
        { name: 'ops', ok: true },
      ],
    });
  });

  test('answers 503 and says what does not work when a store is away', async (t) => {
    const stores = await temporaryBackends();
    const ops = await startOps(t, [{ name: 'stores', check: () => stores.backends.check() }]);
    await stores[Symbol.asyncDispose]();
    const { status, results } = await ops.ask('/ping');
    assert.equal(status, 503);
    const [store, own] = results;
    assert.equal(store?.ok, false);
    assert.notEqual(store?.error, '');
    assert.equal(own?.ok, true);
  });

  test('answers although a check hangs', async (t) => {
    const ops = await startOps(t, [{ name: 'hung', check: () => new Promise(() => {}) }]);
    const { status, results } = await ops.ask('/ping');
    assert.equal(status, 503);
    assert.partialDeepStrictEqual(results, [{ name: 'hung', ok: false, error: 'No answer in 5 seconds' }]);
  });
});

describe('GET /readyz', () => {
  test('tells of each failing check its code, since when, and what to look for in the log, which has it once', async (t) => {
    const stores = await temporaryBackends();
    const ops = await startOps(t, [{ name: 'stores', check: () => stores.backends.check() }]);
    assert.deepEqual(await ops.ask('/readyz'), {
      status: 200,
      type: 'application/json',
      results: [
        { name: 'serving', ok: true },
        { name: 'stores', ok: true },
        { name: 'ops', ok: true },
      ],
    });
    const before = Date.now();
    await stores[Symbol.asyncDispose]();

    const first = await ops.ask('/readyz');
    const { code, since = '', id = '' } = first.results[1] ?? {};
    assert.equal(first.status, 503);
    assert.equal(code, 'STORE_AWAY');
    assert.ok(Date.parse(since) >= before && Date.parse(since) <= Date.now());
    const second = await ops.ask('/readyz');
    assert.deepEqual(second.results[1], first.results[1]);
    await ops.ask('/ping');
    assert.deepEqual(
      ops.lines.filter(({ incident }) => incident === id).map(({ msg, check, code: told }) => [msg, check, told]),
      [['Check failed', 'stores', 'STORE_AWAY']],
    );
  });

  test('takes a failure that comes back for another one', async (t) => {
    let error: Error | undefined = new StoreError('STORE_FULL', 'Full');
    const flaky: Check = {
      name: 'flaky',
      async check() {
        if (error) {
          throw error;
        }
      },
    };
    const ops = await startOps(t, [flaky]);
    const ask = async () => (await ops.ask('/readyz')).results.find(({ name }) => name === 'flaky');
    const first = await ask();
    assert.equal(first?.code, 'STORE_FULL');
    error = undefined;
    assert.deepEqual(await ask(), { name: 'flaky', ok: true });
    assert.ok(ops.lines.some(({ msg, incident }) => msg === 'Check passes again' && incident === first.id));
    error = new Error('Something else');
    const again = await ask();
    assert.equal(again?.code, 'CHECK_FAILED');
    assert.notEqual(again?.id, first.id);
  });

  test('stays ready while only that is away which the gateway can do without', async (t) => {
    const away = async () => {
      throw new StoreError('STORE_AWAY', 'Redis is away');
    };
    const ops = await startOps(t, [{ name: 'redis', isOptional: true, check: away }]);
    const { status, results } = await ops.ask('/readyz');
    assert.equal(status, 200);
    assert.partialDeepStrictEqual(results[1] ?? {}, { name: 'redis', ok: false, optional: true, code: 'STORE_AWAY' });
    assert.equal((await ops.ask('/ping')).status, 503);
  });

  test('fails as soon as the process is told to stop, whatever the checks say', async (t) => {
    const ops = await startOps(t, []);
    await ops.ending.begin(AbortSignal.abort());
    const { status, results } = await ops.ask('/readyz');
    assert.equal(status, 503);
    assert.deepEqual(
      results.map(({ name, ok, code }) => [name, ok, code]),
      [['serving', false, 'STOPPING']],
    );
    assert.ok(ops.lines.some(({ incident }) => incident === results[0]?.id));
  });
});

test('GET /livez answers 200 whatever is away, also when the process is told to stop', async (t) => {
  const ops = await startOps(t, [
    { name: 'stores', check: () => Promise.reject(new StoreError('STORE_AWAY', 'Away')) },
    { name: 'hung', check: () => new Promise(() => {}) },
  ]);
  await ops.ending.begin(AbortSignal.abort());
  const { status, results } = await ops.ask('/livez');
  assert.equal(status, 200);
  assert.deepEqual(results, { alive: true });
});
