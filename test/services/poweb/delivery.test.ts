/**
 * Delivery of parcels over PoWeb: every status of the table in protocol section 7, on real sockets and stores.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { request } from 'undici';
import { AwalaError } from '../../../src/awala/errors.ts';
import { writeParcelCountersignature } from '../../../src/awala/poweb/countersignature.ts';
import { MAX_PARCEL_LENGTH } from '../../../src/awala/ramf/parcel.ts';
import { MAX_MESSAGE_LENGTH } from '../../../src/awala/ramf/ramf-message.ts';
import { writeParcel } from '../../../src/awala/ramf/write-ramf.ts';
import { GatewayError } from '../../../src/gateway/errors.ts';
import { type Amount, StoreError } from '../../../src/gateway/ports.ts';
import type { AddressRates } from '../../../src/services/http/address-limits.ts';
import { deliveryRefusal } from '../../../src/services/poweb/refusal.ts';
import { type Doors, openDoors } from '../../support/doors.ts';
import {
  authorities,
  issued,
  type TestChain,
  type TestNode,
  testChain,
  testIdentity,
  testParcel,
} from '../../support/pki.ts';

interface Setting extends Doors {
  readonly chain: TestChain;
}

async function setUp(
  t: TestContext,
  options: {
    rate?: number;
    quotas?: { mailboxQuota?: Amount; outboxQuota?: Amount };
    rates?: Partial<AddressRates>;
  } = {},
): Promise<Setting> {
  const { rate, quotas = {}, rates = {} } = options;
  const doors = await openDoors(t, { quotas, rates });
  const chain = await testChain({
    gateway: doors.room.asNode(),
    ...(rate !== undefined && { pdaRateLimit: { limit: rate, periodMs: 60_000 } }),
  });
  return { ...doors, chain };
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

async function deliver(
  { poweb, chain }: Setting,
  parcel: Buffer,
  options: { signer?: TestNode; signed?: Buffer; scheme?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const { signer = chain.privateGateway, signed = parcel, scheme = 'Awala-Countersignature', headers } = options;
  const countersignature = await writeParcelCountersignature(signed, signer);
  return post(poweb, parcel, { authorization: `${scheme} ${countersignature.toString('base64')}`, ...headers });
}

async function post(poweb: string, body: Buffer, headers: Record<string, string>): Promise<Answer> {
  const response = await request(`${poweb}/v1/parcels`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/vnd.awala.parcel', ...headers },
  });
  return { status: response.statusCode, headers: response.headers, body: await response.body.text() };
}

async function stored({ room }: Setting, prefix: string): Promise<Buffer[]> {
  const bodies: Buffer[] = [];
  for await (const { key } of room.backends.objects.list(prefix)) {
    bodies.push((await room.backends.objects.get(key))?.body ?? Buffer.alloc(0));
  }
  return bodies;
}

describe('Delivery over PoWeb', () => {
  test('goes on for a private gateway whose neighbours do wrong, until they countersign wrongly, too', async (t) => {
    const wrongs = { limit: 3, period: 100_000 };
    const setting = await setUp(t, { rates: { request: wrongs, signedRequest: wrongs } });
    // Each on a connection of its own, of which nothing is known.
    const headers = { connection: 'close' };
    const elsewhere = async () => (await request(`${setting.poweb}/nothing`, { headers })).statusCode;
    for (let number = 0; number < 4; number++) {
      assert.equal(await elsewhere(), 404);
    }
    assert.equal(await elsewhere(), 503);
    assert.equal((await deliver(setting, await testParcel(setting.chain), { headers })).status, 202);
    const parcel = await testParcel(setting.chain);
    for (let number = 0; number < 4; number++) {
      assert.equal((await deliver(setting, parcel, { signed: Buffer.from('another'), headers })).status, 403);
    }
    assert.equal((await deliver(setting, parcel, { headers })).status, 503);
    setting.room.clock.advance(10_001);
    assert.equal((await deliver(setting, parcel, { headers })).status, 202);
  });

  for (const scheme of ['Awala-Countersignature', 'Relaynet-Countersignature', 'aWALA-cOUNTERSIGNATURE']) {
    test(`accepts a parcel countersigned under ${scheme} with 202`, async (t) => {
      const setting = await setUp(t);
      const parcel = await testParcel(setting.chain);
      const { status, body } = await deliver(setting, parcel, { scheme });
      assert.deepEqual({ status, body }, { status: 202, body: '' });
      assert.deepEqual(await stored(setting, `mailboxes/${setting.chain.privateGateway.id}/`), [parcel]);
    });
  }

  test('takes the content type in any case and with parameters', async (t) => {
    const setting = await setUp(t);
    const headers = { 'content-type': 'Application/VND.Awala.Parcel ; version=1' };
    const { status } = await deliver(setting, await testParcel(setting.chain), { headers });
    assert.equal(status, 202);
  });

  test('keeps a parcel for another Internet node in the outbox', async (t) => {
    const setting = await setUp(t);
    const { chain } = setting;
    const parcel = await testParcel(chain, { recipient: { id: chain.endpoint.id, internetAddress: 'example.org' } });
    assert.equal((await deliver(setting, parcel)).status, 202);
    assert.deepEqual(await stored(setting, `outbox/${chain.privateGateway.id}/`), [parcel]);
  });

  test('answers a parcel that is malformed with 400', async (t) => {
    const setting = await setUp(t);
    const { status } = await deliver(setting, Buffer.from('not a parcel'));
    assert.equal(status, 400);
    const parcel = await testParcel(setting.chain);
    assert.equal((await deliver(setting, parcel.subarray(0, 40))).status, 400);
    assert.equal((await deliver(setting, Buffer.alloc(0))).status, 400);
  });

  test('answers a missing or malformed countersignature with 401 and a challenge', async (t) => {
    const setting = await setUp(t);
    const { poweb, chain } = setting;
    const parcel = await testParcel(chain);
    const headers = [
      {},
      { authorization: 'Awala-Countersignature' },
      { authorization: 'Bearer abcd' },
      { authorization: 'Awala-Countersignature !!!!' },
      { authorization: 'Awala-Countersignature YWJj!!!!ZA==' },
      { authorization: 'Awala-CountersignatureYWJjZA==' },
      { authorization: 'Awala-Countersignature YWJjZA==' },
    ];
    for (const header of headers) {
      const answer = await post(poweb, parcel, header);
      assert.equal(answer.status, 401, JSON.stringify(header));
      assert.equal(answer.headers['www-authenticate'], 'Awala-Countersignature, Relaynet-Countersignature');
    }
    assert.deepEqual(await stored(setting, ''), []);
  });

  test('answers an invalid countersignature with 403', async (t) => {
    const setting = await setUp(t);
    const { chain } = setting;
    const parcel = await testParcel(chain);
    const stranger = (await testChain({ keys: { gateway: 'stranger' } })).privateGateway;
    assert.equal((await deliver(setting, parcel, { signer: stranger })).status, 403);
    assert.equal((await deliver(setting, parcel, { signed: Buffer.from('something else') })).status, 403);
    assert.equal((await deliver(setting, parcel, { signer: chain.endpoint })).status, 403);
    const expired = await issued(await testIdentity('private-gateway'), setting.room.asNode(), {
      notBefore: Date.now() - 3 * 3_600_000,
      notAfter: Date.now() - 2.5 * 3_600_000,
    });
    assert.equal((await deliver(setting, parcel, { signer: expired })).status, 403);
    assert.deepEqual(await stored(setting, ''), []);
  });

  test('answers a body over 9,437,184 octets with 413', async (t) => {
    const { poweb } = await setUp(t);
    const headers = { authorization: 'Awala-Countersignature YWJjZA==' };
    const { status } = await post(poweb, Buffer.alloc(MAX_MESSAGE_LENGTH + 1), headers);
    assert.equal(status, 413);
  });

  test('answers any other content type with 415', async (t) => {
    const setting = await setUp(t);
    const parcel = await testParcel(setting.chain);
    for (const type of ['application/octet-stream', 'application/vnd.awala.parcels', 'x', 'text/plain']) {
      assert.equal((await deliver(setting, parcel, { headers: { 'content-type': type } })).status, 415, type);
    }
    const typeless = await request(`${setting.poweb}/v1/parcels`, { method: 'POST', body: parcel });
    assert.equal(typeless.statusCode, 415);
    await typeless.body.dump();
    const empty = await request(`${setting.poweb}/v1/parcels`, { method: 'POST' });
    assert.equal(empty.statusCode, 415);
    await empty.body.dump();
  });

  test('answers a countersigned parcel that is refused for good with 422, so that the client forgets it', async (t) => {
    const setting = await setUp(t);
    const { chain } = setting;
    const long = await longParcel(chain, MAX_PARCEL_LENGTH + 1);
    const now = Date.now();
    const stranger = await testChain({ keys: { gateway: 'stranger' } });
    const forged = await testParcel(chain);
    forged[forged.length - 1] = (forged.at(-1) as number) ^ 1;
    const refused = {
      'over 8,322,037 octets': long,
      expired: await testParcel(chain, { creation: now - 10 * 3_600_000, ttl: 60 }),
      'from the future': await testParcel(chain, { creation: now + 3 * 3_600_000 }),
      'not authorized by its recipient': await testParcel(chain, {
        recipient: { id: stranger.endpoint.id.replace(/.$/, 'a') },
      }),
      'of another gateway': await testParcel(stranger),
      'with a wrong signature': forged,
    };
    for (const [reason, parcel] of Object.entries(refused)) {
      const { status } = await deliver(setting, parcel);
      assert.equal(status, 422, reason);
    }
    assert.deepEqual(await stored(setting, ''), []);
  });

  test('accepts a parcel of exactly 8,322,037 octets', async (t) => {
    const setting = await setUp(t);
    const parcel = await longParcel(setting.chain, MAX_PARCEL_LENGTH);
    assert.equal((await deliver(setting, parcel)).status, 202);
    const [kept] = await stored(setting, 'mailboxes/');
    assert.ok(kept?.equals(parcel));
  });

  test('accepts a parcel over the rate that its recipient allows, or for a full mailbox, with 202', async (t) => {
    const setting = await setUp(t, { rate: 1 });
    assert.equal((await deliver(setting, await testParcel(setting.chain))).status, 202);
    assert.equal((await deliver(setting, await testParcel(setting.chain))).status, 202);
    assert.equal((await stored(setting, 'mailboxes/')).length, 1);

    const full = await setUp(t, { quotas: { mailboxQuota: { count: 0, octets: 0 } } });
    const { lines } = full;
    assert.equal((await deliver(full, await testParcel(full.chain))).status, 202);
    assert.ok(lines.some(({ msg, place }) => msg === 'Parcel accepted' && place === 'held'));
  });

  test('answers with 503 and Retry-After when neither mailbox nor outbox has room', async (t) => {
    const none = { count: 0, octets: 0 };
    const setting = await setUp(t, { quotas: { mailboxQuota: none, outboxQuota: none } });
    const { status, headers } = await deliver(setting, await testParcel(setting.chain));
    assert.equal(status, 503);
    assert.equal(headers['retry-after'], '10');
  });

  test('answers with 503 and Retry-After while the store is away', async (t) => {
    const setting = await setUp(t);
    await setting.room.backends[Symbol.asyncDispose]();
    const { status, headers, body } = await deliver(setting, await testParcel(setting.chain));
    assert.equal(status, 503);
    assert.equal(headers['retry-after'], '10');
    assert.equal(body, 'Storage is full or away\n');
  });

  test('maps what the gateway may refuse later to 503, and never to 429', () => {
    const ids = { trace: 'a', peer: 'b' };
    for (const code of ['MAILBOX_FULL', 'OUTBOX_FULL', 'RATE_EXCEEDED'] as const) {
      assert.equal(deliveryRefusal(new GatewayError(code, ''), ids)?.status, 503);
    }
    for (const code of ['STORE_FULL', 'STORE_AWAY'] as const) {
      assert.equal(deliveryRefusal(new StoreError(code, ''), ids)?.status, 503);
    }
    assert.equal(deliveryRefusal(new Error('A bug'), ids), undefined);
    const unknownSender = deliveryRefusal(new AwalaError('CERTIFICATE_EXPIRED', ''), { trace: 'a' });
    assert.equal(unknownSender?.status, 403);
  });

  test('logs what it accepts and refuses with all ids, and no payload or credential', async (t) => {
    const setting = await setUp(t);
    const { chain, lines } = setting;
    const ids = { peer: chain.privateGateway.id, sender: chain.sender.id, recipient: chain.endpoint.id };
    await deliver(setting, await testParcel(chain, { messageId: 'accepted' }));
    await deliver(setting, await testParcel(chain, { messageId: 'refused', ttl: 0, creation: Date.now() - 8_000_000 }));
    const accepted = lines.find(({ parcel }) => parcel === 'accepted');
    assert.partialDeepStrictEqual(accepted, { msg: 'Parcel accepted', level: 30, service: 'poweb', ...ids });
    const refused = lines.filter(({ parcel }) => parcel === 'refused');
    assert.equal(refused.length, 1);
    assert.partialDeepStrictEqual(refused[0], {
      msg: 'Refused',
      level: 30,
      code: 'MESSAGE_EXPIRED',
      status: 422,
      ...ids,
    });
    assert.doesNotMatch(JSON.stringify(lines), /parcelparcel|countersignature /i);
  });
});

/** A parcel of exactly so many octets. */
async function longParcel(chain: TestChain, octets: number): Promise<Buffer> {
  const message = {
    recipient: { id: chain.endpoint.id },
    messageId: 'long',
    creation: Date.now() - 60_000,
    ttl: 86_400,
    payload: Buffer.alloc(octets - 10_000),
  };
  const certificates = authorities(chain).slice(0, 2);
  const { length } = await writeParcel(message, chain.sender, certificates);
  const payload = Buffer.alloc(message.payload.length + octets - length);
  const parcel = await writeParcel({ ...message, payload }, chain.sender, certificates);
  assert.equal(parcel.length, octets);
  return parcel;
}
