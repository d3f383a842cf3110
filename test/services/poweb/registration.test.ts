/**
 * Registration over PoWeb: every status of the tables in protocol section 7, on real sockets and stores.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { request } from 'undici';
import { readConnectionParams } from '../../../src/awala/connection-params.ts';
import { readRegistration } from '../../../src/awala/poweb/registration.ts';
import { writeRegistrationRequest } from '../../../src/awala/poweb/registration-request.ts';
import { StoreError } from '../../../src/gateway/ports.ts';
import { DAY } from '../../../src/gateway/time.ts';
import { registrationRefusal } from '../../../src/services/poweb/refusal.ts';
import { openDoors } from '../../support/doors.ts';
import { INTERNET_ADDRESS } from '../../support/gateway-room.ts';
import { type TestIdentity, testIdentity } from '../../support/pki.ts';

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
}

async function post(url: string, type: string, body: Buffer | string, headers = {}): Promise<Answer> {
  const response = await request(url, { method: 'POST', body, headers: { 'content-type': type, ...headers } });
  return {
    status: response.statusCode,
    headers: response.headers,
    body: Buffer.from(await response.body.arrayBuffer()),
  };
}

function preRegister(poweb: string, digest: string, headers = {}): Promise<Answer> {
  return post(`${poweb}/v1/pre-registrations`, 'text/plain', digest, headers);
}

function register(poweb: string, body: Buffer): Promise<Answer> {
  return post(`${poweb}/v1/nodes`, 'application/vnd.awala.node-registration.request', body);
}

function digestOf(identity: TestIdentity): string {
  return identity.publicKey.digest.toString('hex');
}

async function registrationRequest(poweb: string, identity: TestIdentity): Promise<Buffer> {
  const { status, body } = await preRegister(poweb, digestOf(identity));
  assert.equal(status, 200);
  return writeRegistrationRequest({ publicKey: identity.publicKey, authorization: body }, identity.key);
}

describe('Pre-registration', () => {
  for (const path of ['/v1/pre-registration', '/v1/pre-registrations']) {
    test(`at ${path} gives an authorization`, async (t) => {
      const { poweb } = await openDoors(t);
      const { status, headers } = await post(poweb + path, 'Text/Plain; charset=utf-8', 'aB'.repeat(32));
      assert.equal(status, 200);
      assert.equal(headers['content-type'], 'application/vnd.awala.node-registration.authorization');
    });
  }

  test('of what is not 64 hexadecimal digits is answered with 400', async (t) => {
    const { poweb } = await openDoors(t);
    for (const digest of [
      '',
      'a'.repeat(63),
      'a'.repeat(65),
      'g'.repeat(64),
      `${'a'.repeat(64)}\n`,
      'a'.repeat(1024),
    ]) {
      assert.equal((await preRegister(poweb, digest)).status, 400, digest);
    }
  });

  test('of another content type is answered with 415', async (t) => {
    const { poweb } = await openDoors(t);
    const { status } = await post(`${poweb}/v1/pre-registrations`, 'application/json', 'a'.repeat(64));
    assert.equal(status, 415);
  });
});

describe('Registration', () => {
  test('gives a certificate, our own, our address and a session key', async (t) => {
    const { poweb, room, lines } = await openDoors(t);
    const identity = await testIdentity('private-gateway');
    const { status, headers, body } = await register(poweb, await registrationRequest(poweb, identity));
    assert.equal(status, 200);
    assert.equal(headers['content-type'], 'application/vnd.awala.node-registration.registration');
    const registration = readRegistration(body);
    assert.equal(registration.nodeCertificate.subjectId, identity.id);
    assert.equal(registration.gatewayCertificate.subjectId, room.identity.id);
    assert.equal(registration.internetAddress, INTERNET_ADDRESS);
    assert.equal(registration.sessionKey?.keyId.length, 8);
    assert.ok(lines.some(({ msg, peer }) => msg === 'Private gateway registered' && peer === identity.id));
  });

  test('that is malformed, or not signed with its key, is answered with 400', async (t) => {
    const { poweb } = await openDoors(t);
    assert.equal((await register(poweb, Buffer.from('not a request'))).status, 400);
    const [identity, stranger] = [await testIdentity('private-gateway'), await testIdentity('stranger')];
    const { body: authorization } = await preRegister(poweb, digestOf(identity));
    const request = await writeRegistrationRequest({ publicKey: identity.publicKey, authorization }, stranger.key);
    assert.equal((await register(poweb, request)).status, 400);
  });

  test("with another key's authorization is answered with 403", async (t) => {
    const { poweb } = await openDoors(t);
    const [identity, stranger] = [await testIdentity('private-gateway'), await testIdentity('stranger')];
    const { body: authorization } = await preRegister(poweb, digestOf(stranger));
    const request = await writeRegistrationRequest({ publicKey: identity.publicKey, authorization }, identity.key);
    assert.equal((await register(poweb, request)).status, 403);
  });

  test('with a used authorization is answered with 403', async (t) => {
    const { poweb } = await openDoors(t);
    const request = await registrationRequest(poweb, await testIdentity('private-gateway'));
    assert.equal((await register(poweb, request)).status, 200);
    assert.equal((await register(poweb, request)).status, 403);
  });

  test('with an authorization of 10 seconds ago is answered with 403', async (t) => {
    const { poweb, room } = await openDoors(t);
    const request = await registrationRequest(poweb, await testIdentity('private-gateway'));
    room.clock.advance(10_000);
    assert.equal((await register(poweb, request)).status, 403);
  });

  test('over 1 MiB is answered with 413, and of another content type with 415', async (t) => {
    const { poweb } = await openDoors(t);
    assert.equal((await register(poweb, Buffer.alloc(1024 * 1024 + 1))).status, 413);
    assert.equal((await post(`${poweb}/v1/nodes`, 'application/octet-stream', 'a')).status, 415);
  });

  test('is answered with 503 and Retry-After while the store is away', async (t) => {
    const { poweb, room } = await openDoors(t);
    const request = await registrationRequest(poweb, await testIdentity('private-gateway'));
    await room.backends[Symbol.asyncDispose]();
    const { status, headers } = await register(poweb, request);
    assert.equal(status, 503);
    assert.equal(headers['retry-after'], '10');
    assert.equal(registrationRefusal(new StoreError('STORE_FULL', ''))?.status, 503);
  });

  test('is answered with 500 and no detail when our own key is missing', async (t) => {
    const { poweb, room } = await openDoors(t);
    room.clock.advance(70 * DAY);
    await room.backends.records.delete('identity-keys', '0001');
    const { status, body } = await register(
      poweb,
      await registrationRequest(poweb, await testIdentity('private-gateway')),
    );
    assert.equal(status, 500);
    assert.equal(body.toString(), 'Something went wrong here\n');
  });
});

describe('The limits of a neighbourhood', () => {
  const forwarded = (address: string) => ({ 'x-forwarded-for': address });
  const digest = 'a'.repeat(64);
  const trustedProxies = ['127.0.0.1'];

  async function statuses(t: TestContext, requests: readonly [digest: string, address: string][], rates: object) {
    const { poweb, room } = await openDoors(t, { rates, trustedProxies });
    const ask = async (which: readonly [string, string][]) => {
      const answers: number[] = [];
      for (const [text, address] of which) {
        answers.push((await preRegister(poweb, text, forwarded(address))).status);
      }
      return answers;
    };
    return { first: await ask(requests), ask, room };
  }

  test('are its own, and come back with time', async (t) => {
    const { first, ask, room } = await statuses(
      t,
      [
        [digest, '203.0.113.1'],
        [digest, '203.0.113.2'],
        [digest, '203.0.113.3'],
        [digest, '203.0.114.1'],
      ],
      { preRegistration: { limit: 2, period: 60_000 } },
    );
    assert.deepEqual(first, [200, 200, 503, 200]);
    room.clock.advance(60_001);
    assert.deepEqual(await ask([[digest, '203.0.113.3']]), [200]);
  });

  test('stop those who fail too often for a while', async (t) => {
    const { first, ask, room } = await statuses(
      t,
      [
        ['wrong', '2001:db8::1'],
        ['wrong', '2001:db8:0:ff::2'],
        [digest, '2001:db8::3'],
        ['wrong', '2001:db8::4'],
        [digest, '2001:db8::3'],
        [digest, '2001:db8:1::1'],
      ],
      { failedRegistration: { limit: 2, period: 60_000 } },
    );
    assert.deepEqual(first, [400, 400, 200, 400, 503, 200]);
    room.clock.advance(6_001);
    assert.deepEqual(await ask([[digest, '2001:db8::3']]), [200]);
  });

  test('on signatures are for requests that are right; one that came too early is good later', async (t) => {
    const { poweb, room } = await openDoors(t, { rates: { signature: { limit: 2, period: 1000 } } });
    const identity = await testIdentity('private-gateway');
    const request = await registrationRequest(poweb, identity);
    for (let count = 0; count < 5; count++) {
      assert.equal((await preRegister(poweb, 'wrong')).status, 400);
      assert.equal((await register(poweb, Buffer.from('not a request'))).status, 400);
    }
    assert.equal((await preRegister(poweb, digest)).status, 200);
    assert.equal((await register(poweb, request)).status, 503);
    room.clock.advance(1001);
    assert.equal((await register(poweb, request)).status, 200);
  });

  test('leave GET / alone', async (t) => {
    const { poweb } = await openDoors(t, { rates: { preRegistration: { limit: 1, period: 60_000 } } });
    assert.equal((await preRegister(poweb, digest)).status, 200);
    const limited = await preRegister(poweb, digest);
    assert.equal(limited.status, 503);
    assert.equal(limited.headers['retry-after'], '10');
    const { statusCode, body } = await request(poweb);
    assert.equal(statusCode, 200);
    await body.dump();
  });
});

describe('Connection parameters', () => {
  test('are served with exactly their content type', async (t) => {
    const { poweb, room } = await openDoors(t);
    const { statusCode, headers, body } = await request(`${poweb}/connection-params.der`);
    assert.equal(statusCode, 200);
    assert.equal(headers['content-type'], 'application/vnd.etsi.tsl.der');
    const params = readConnectionParams(Buffer.from(await body.arrayBuffer()));
    assert.equal(params.internetAddress, INTERNET_ADDRESS);
    assert.equal(params.identityKey.nodeId, room.identity.id);
  });
});
