/** The end of a whole gateway, as a load balancer sees it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { startGateway } from '../support/gateway.ts';
import { newTlsCertificate } from '../support/tls-certificate.ts';

test('Readiness fails first; the doors serve on until the lead is over, and the ops port to the end', async () => {
  await using gateway = await startGateway({ environment: { STOP_LEAD: '10m', GRACE_PERIOD: '11m' } });
  const statusOf = async (url: string) => (await fetch(url)).status;
  while ((await statusOf(`${gateway.ops}/readyz`)) !== 200) {
    await pause(20);
  }

  const deadline = new AbortController();
  const stopped = gateway.gateway.stop(deadline.signal);
  const response = await fetch(`${gateway.ops}/readyz`);
  assert.equal(response.status, 503);
  assert.partialDeepStrictEqual(await response.json(), [{ name: 'serving', ok: false, code: 'STOPPING' }]);
  assert.equal(await statusOf(`${gateway.ops}/livez`), 200);
  const served = await fetch(`${gateway.poweb}/connection-params.der`);
  assert.equal(served.status, 200);
  // Else a client could send its next request into a connection that closes.
  assert.equal(served.headers.get('connection'), 'close');
  assert.equal(await statusOf(gateway.pohttp), 200);

  deadline.abort();
  await stopped;
  await assert.rejects(statusOf(gateway.poweb));
  await assert.rejects(statusOf(`${gateway.ops}/livez`));
});

test('Metrics tell when TLS certificates end', async (t) => {
  const tls = await newTlsCertificate('localhost');
  t.after(() => tls[Symbol.dispose]());
  await using gateway = await startGateway({
    environment: { TLS_CERT_FILE: tls.certificateFile, TLS_KEY_FILE: tls.keyFile },
  });
  const text = await (await fetch(`${gateway.ops}/metrics`)).text();
  const ends = [
    ...text.matchAll(/^relay_gateway_tls_certificate_expiry_timestamp_seconds\{service="(\w+)"\} (\d+)$/gm),
  ];
  assert.deepEqual(ends.map(([, service]) => service).sort(), ['cogrpc', 'pohttp', 'poweb']);
  assert.ok(ends.every(([, , end]) => Number(end) > Date.now() / 1000));
});
