/**
 * The ops port: what `GET /ping` tells of services and stores.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { request } from 'undici';
import { createHttpServer } from '../../../src/services/http/server.ts';
import { serveOps } from '../../../src/services/ops/ops.ts';
import type { Check } from '../../../src/services/service.ts';
import { temporaryBackends } from '../../support/local-backends.ts';
import { logLines } from '../../support/log-lines.ts';

async function startOps(t: TestContext, checks: Check[]) {
  const server = await createHttpServer({ name: 'ops', host: '127.0.0.1', port: 0, log: logLines().log });
  await serveOps(server, { checks });
  checks.push(server);
  const url = await server.listen();
  t.after(() => server.stop(AbortSignal.abort()));
  return async () => {
    const { statusCode, headers, body } = await request(`${url}/ping`);
    return { status: statusCode, type: headers['content-type'], results: await body.json() };
  };
}

describe('GET /ping', () => {
  test('answers 200 with a JSON list while every service and store answers', async (t) => {
    const stores = await temporaryBackends();
    t.after(() => stores[Symbol.asyncDispose]());
    const ping = await startOps(t, [{ name: 'stores', check: () => stores.backends.check() }]);
    assert.deepEqual(await ping(), {
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
    const ping = await startOps(t, [{ name: 'stores', check: () => stores.backends.check() }]);
    await stores[Symbol.asyncDispose]();
    const { status, results } = await ping();
    assert.equal(status, 503);
    const [store, ops] = results as [{ ok: boolean; error: string }, { ok: boolean }];
    assert.equal(store.ok, false);
    assert.notEqual(store.error, '');
    assert.equal(ops.ok, true);
  });

  test('answers although a check hangs', async (t) => {
    const ping = await startOps(t, [{ name: 'hung', check: () => new Promise(() => {}) }]);
    const { status, results } = await ping();
    assert.equal(status, 503);
    assert.partialDeepStrictEqual(results, [{ name: 'hung', ok: false, error: 'No answer in 5 seconds' }]);
  });
});
