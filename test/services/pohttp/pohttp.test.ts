/**
 * PoHTTP: every status of protocol section 8, on real sockets and stores.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { request } from 'undici';
import { AwalaError } from '../../../src/awala/errors.ts';
import { GatewayError } from '../../../src/gateway/errors.ts';
import { type Amount, StoreError } from '../../../src/gateway/ports.ts';
import { pohttpRefusal } from '../../../src/services/pohttp/refusal.ts';
import { openDoors } from '../../support/doors.ts';
import { INTERNET_ADDRESS } from '../../support/gateway-room.ts';
import { testChain, testParcel } from '../../support/pki.ts';

async function setUp(t: TestContext, options: { rate?: number; mailboxQuota?: Amount } = {}) {
  const { rate, mailboxQuota } = options;
  const doors = await openDoors(t, { quotas: mailboxQuota ? { mailboxQuota } : {} });
  const chain = await testChain({
    gateway: doors.room.asNode(),
    ...(rate !== undefined && { pdaRateLimit: { limit: rate, periodMs: 60_000 } }),
  });
  const post = async (body: Buffer, headers: Record<string, string> = {}) => {
    const response = await request(doors.pohttp, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/vnd.awala.parcel', ...headers },
    });
    return { status: response.statusCode, headers: response.headers, body: await response.body.text() };
  };
  return { ...doors, chain, post };
}

describe('Delivery over PoHTTP', () => {
  test('stores a parcel for an endpoint behind this gateway and answers 202', async (t) => {
    const { post, chain, room, lines } = await setUp(t);
    for (const internetAddress of [undefined, INTERNET_ADDRESS, INTERNET_ADDRESS.toUpperCase()]) {
      const recipient = { id: chain.endpoint.id, ...(internetAddress && { internetAddress }) };
      const { status, body, headers } = await post(await testParcel(chain, { recipient }));
      assert.deepEqual({ status, body }, { status: 202, body: '' });
      assert.equal(headers['set-cookie'], undefined);
    }
    const kept = await Array.fromAsync(room.mailboxes.list(chain.privateGateway.id));
    assert.equal(kept.length, 3);
    assert.equal(lines.filter(({ msg, sender }) => msg === 'Parcel accepted' && sender === chain.sender.id).length, 3);
  });

  test('answers what is no parcel with 400', async (t) => {
    const { post, chain } = await setUp(t);
    assert.equal((await post(Buffer.from('not a parcel'))).status, 400);
    assert.equal((await post((await testParcel(chain)).subarray(0, 500))).status, 400);
    assert.equal((await post(Buffer.alloc(0))).status, 400);
  });

  test('answers a parcel that is invalid or not for us with 403', async (t) => {
    const { post, chain } = await setUp(t);
    const now = Date.now();
    const recipient = { id: chain.endpoint.id, internetAddress: 'example.org' };
    const forged = await testParcel(chain);
    forged[forged.length - 1] = (forged.at(-1) as number) ^ 1;
    const refused = {
      'for another gateway': await testParcel(chain, { recipient }),
      expired: await testParcel(chain, { creation: now - 10 * 3_600_000, ttl: 60 }),
      'under another gateway': await testParcel(await testChain({ keys: { gateway: 'stranger' } })),
      'with a wrong signature': forged,
    };
    for (const [reason, parcel] of Object.entries(refused)) {
      assert.equal((await post(parcel)).status, 403, reason);
    }
  });

  test('answers a body that is too large with 413, and another content type with 415', async (t) => {
    const { post, chain } = await setUp(t);
    assert.equal((await post(Buffer.alloc(9_437_185))).status, 413);
    assert.equal((await post(Buffer.alloc(8_322_038))).status, 413);
    assert.equal((await post(await testParcel(chain), { 'content-type': 'application/json' })).status, 415);
    assert.equal(
      (await post(await testParcel(chain), { 'content-type': 'APPLICATION/vnd.awala.parcel;a=b' })).status,
      202,
    );
  });

  test("answers a parcel over its sender's rate with 507", async (t) => {
    const { post, chain } = await setUp(t, { rate: 1 });
    assert.equal((await post(await testParcel(chain))).status, 202);
    assert.equal((await post(await testParcel(chain))).status, 507);
  });

  test('answers a parcel for a full mailbox with 507', async (t) => {
    const { post, chain } = await setUp(t, { mailboxQuota: { count: 1, octets: 1_000_000 } });
    assert.equal((await post(await testParcel(chain))).status, 202);
    assert.equal((await post(await testParcel(chain))).status, 507);
  });

  test('answers with 503 and Retry-After while the store is away', async (t) => {
    const { post, chain, room, lines } = await setUp(t);
    await room.backends[Symbol.asyncDispose]();
    const { status, headers } = await post(await testParcel(chain));
    assert.equal(status, 503);
    assert.equal(headers['retry-after'], '10');
    assert.ok(lines.some(({ code, level }) => code === 'STORE_AWAY' && level === 40));
  });

  test('explains errors in JSON where that is accepted, else in plain text', async (t) => {
    const { post } = await setUp(t);
    const json = await post(Buffer.from('not a parcel'), { accept: 'application/json' });
    assert.equal(json.headers['content-type'], 'application/json');
    const { message } = JSON.parse(json.body) as { message: string };
    assert.match(message, /does not start with "Awala"/);
    const plain = await post(Buffer.from('not a parcel'));
    assert.equal(plain.headers['content-type'], 'text/plain');
    assert.equal(plain.body, `${message}\n`);
  });

  test('maps what may go better later to 507 and 503, and never to a 4xx', () => {
    const status = (error: Error) => pohttpRefusal(error)?.status;
    assert.equal(status(new GatewayError('MAILBOX_FULL', '')), 507);
    assert.equal(status(new StoreError('STORE_FULL', '')), 507);
    assert.equal(status(new StoreError('STORE_AWAY', '')), 503);
    assert.equal(status(new AwalaError('CERTIFICATE_MALFORMED', '')), 400);
    assert.equal(status(new Error('A bug')), undefined);
  });

  test('answers GET / with 200, OPTIONS with 204 and PUT with 405', async (t) => {
    const { pohttp } = await setUp(t);
    for (const [method, expected] of [
      ['GET', 200],
      ['HEAD', 200],
      ['OPTIONS', 204],
      ['PUT', 405],
    ] as const) {
      const { statusCode, headers, body } = await request(pohttp, { method });
      await body.dump();
      assert.equal(statusCode, expected);
      assert.equal(headers['allow'], expected >= 204 ? 'GET, HEAD, POST, OPTIONS' : undefined);
    }
  });
});
