/** Settings reach what they are for. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { suite, test } from 'node:test';
import { startGateway } from '../support/gateway.ts';
import { newTlsCertificate } from '../support/tls-certificate.ts';

const KEY_DIGEST = 'a'.repeat(64);

function preRegister(poweb: string, forwardedFor?: string): Promise<Response> {
  const headers = { 'content-type': 'text/plain', ...(forwardedFor && { 'x-forwarded-for': forwardedFor }) };
  return fetch(`${poweb}/v1/pre-registrations`, { method: 'POST', headers, body: KEY_DIGEST });
}

suite('Settings', () => {
  test('of TLS put the public ports under it, and not the ops port', async () => {
    using certificate = await newTlsCertificate('gateway.test');
    const { certificateFile: TLS_CERT_FILE, keyFile: TLS_KEY_FILE } = certificate;
    await using gateway = await startGateway({ environment: { TLS_CERT_FILE, TLS_KEY_FILE } });
    for (const url of [gateway.poweb, gateway.pohttp]) {
      const { port } = new URL(url);
      const request = get({ host: '127.0.0.1', port, servername: 'gateway.test', ca: readFileSync(TLS_CERT_FILE) });
      const [response] = await once(request, 'response');
      response.resume();
      assert.equal(response.statusCode, 200);
    }
    assert.match(gateway.ops, /^http:/);
    assert.equal((await fetch(`${gateway.ops}/ping`)).status, 200);
  });

  test('of limits bound the registrations of an address', async () => {
    await using gateway = await startGateway({ environment: { REGISTRATIONS_PER_ADDRESS: '1' } });
    assert.equal((await preRegister(gateway.poweb, '192.0.2.1')).status, 200);
    const refused = await preRegister(gateway.poweb, '198.51.100.1');
    assert.equal(refused.status, 503);
    assert.ok(Number(refused.headers.get('retry-after')) > 0);
  });

  test('of trusted proxies let the address count that they tell', async () => {
    const environment = { REGISTRATIONS_PER_ADDRESS: '1', TRUSTED_PROXIES: '127.0.0.0/8' };
    await using gateway = await startGateway({ environment });
    assert.equal((await preRegister(gateway.poweb, '192.0.2.1')).status, 200);
    assert.equal((await preRegister(gateway.poweb, '198.51.100.1')).status, 200);
    assert.equal((await preRegister(gateway.poweb, '192.0.2.2')).status, 503, 'of the same /24');
  });

  test('of services choose what listens', async () => {
    await using gateway = await startGateway({ environment: { SERVICES: 'poweb,collection,worker' } });
    assert.deepEqual(
      gateway.gateway.services.map(({ name }) => name),
      ['poweb'],
    );
    assert.equal((await fetch(`${gateway.poweb}/v1/parcel-collection`)).status, 426);
    assert.equal((await preRegister(gateway.poweb)).status, 200);
  });

  test('of the Internet address are what private gateways are told', async () => {
    await using gateway = await startGateway({ environment: { INTERNET_ADDRESS: 'relay.example.com' } });
    const published = Buffer.from(await (await fetch(`${gateway.poweb}/connection-params.der`)).arrayBuffer());
    assert.ok(published.includes('relay.example.com'));
  });
});
