/** What the log has in it, and what never. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { createLogger, type LogOptions, shortAddress } from '../../src/log.ts';
import { openAllDoors } from '../support/all-doors.ts';

function logged(log: (logger: ReturnType<typeof createLogger>) => void, options?: LogOptions): Record<string, unknown> {
  let line = '';
  const write = (text: string) => {
    line = text;
  };
  log(createLogger('trace', { write }, options));
  return JSON.parse(line) as Record<string, unknown>;
}

describe('A line of the log', () => {
  const severities = [
    ['trace', 'DEBUG'],
    ['debug', 'DEBUG'],
    ['info', 'INFO'],
    ['warn', 'WARNING'],
    ['error', 'ERROR'],
    ['fatal', 'CRITICAL'],
  ] as const;
  for (const [level, severity] of severities) {
    test(`has the severity by which Google Cloud knows ${level}`, () => {
      assert.equal(logged((log) => log[level]('Hello'))['severity'], severity);
      assert.equal(logged((log) => log.child({ service: 'poweb' })[level]('Hello'))['severity'], severity);
    });
  }

  test('has its text under the key that is configured', () => {
    assert.equal(logged((log) => log.info('Hello'))['msg'], 'Hello');
    assert.equal(logged((log) => log.info('Hello'), { messageKey: 'message' })['message'], 'Hello');
  });

  test('has of an error its code, text and causes, and nothing that a library hung on it', () => {
    const secret = 'hunter2';
    const cause = Object.assign(new Error('Wrong password'), { command: { name: 'auth', args: [secret] } });
    const error = Object.assign(new Error('Redis fails', { cause }), { code: 'STORE_AWAY', request: { body: secret } });
    const line = logged((log) => log.error({ err: error }, 'Failed'));
    assert.partialDeepStrictEqual(line['err'] as object, { type: 'Error', code: 'STORE_AWAY' });
    assert.match(JSON.stringify(line), /Redis fails.*Wrong password/);
    assert.doesNotMatch(JSON.stringify(line), new RegExp(secret));
  });

  test('has addresses shortened, unless they are wanted whole', () => {
    const lineOf = (options?: LogOptions) =>
      logged((log) => log.child({}).info({ address: '203.0.113.77' }, 'Refused'), options)['address'];
    assert.equal(lineOf(), '203.0.113.0/24');
    assert.equal(lineOf({ addresses: 'full' }), '203.0.113.77');
  });
});

test('An address is shortened to its /24 or /48', () => {
  const cases = [
    ['192.0.2.255', '192.0.2.0/24'],
    ['::ffff:192.0.2.7', '192.0.2.0/24'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1::/48'],
    ['::1', '::/48'],
    ['not an address', 'unknown'],
    [undefined, 'unknown'],
  ] as const;
  for (const [address, short] of cases) {
    assert.equal(shortAddress(address), short);
  }
});

/** People behind a proxy, as it tells of them. */
const PEOPLE = ['203.0.113.77', '2001:db8:1234:5678::9abc'];

async function runAllDoors(environment: Record<string, string>): Promise<{ text: string; secrets: Buffer[] }> {
  const payload = randomBytes(24).toString('hex');
  await using doors = await openAllDoors({ LOG_LEVEL: 'trace', TRUSTED_PROXIES: '127.0.0.0/8,::1', ...environment });
  await doors.send({ poweb: 2, pohttp: 2, cargo: 2, internet: 1, down: 1, refused: 1 }, payload);
  await doors.collectByCourier();
  assert.equal(await doors.collect(), 6);
  for (const address of PEOPLE) {
    for (const [url, route] of [
      [doors.gateway.poweb, '/v1/parcels'],
      [doors.gateway.poweb, '/v1/nodes'],
      [doors.gateway.poweb, '/v1/pre-registrations'],
      [doors.gateway.pohttp, '/'],
    ]) {
      const headers = { 'x-forwarded-for': address, 'content-type': 'text/plain', authorization: `Bearer ${payload}` };
      const { status } = await fetch(`${url}${route}`, { method: 'POST', headers, body: payload });
      assert.ok(status >= 400);
    }
  }
  const secrets = [Buffer.from(payload), readFileSync(path.join(doors.gateway.directory, 'master.key'))];
  const expected = ['Private gateway registered', 'Parcel accepted', 'Cargo opened', 'Cargo collected', 'Parcel sent'];
  for (const message of [...expected, 'Parcel not sent yet', 'Parcel collected', 'Refused', 'Collection started']) {
    assert.ok(
      doors.lines.some(({ msg }) => msg === message),
      message,
    );
  }
  return { text: doors.lines.map((line) => JSON.stringify(line)).join('\n'), secrets };
}

describe('The log of a run through all doors', () => {
  test('has no secret, no payload and no whole address of anybody in it, at any level', async () => {
    const { text, secrets } = await runAllDoors({});
    for (const secret of secrets) {
      for (const encoding of ['utf8', 'hex', 'base64', 'base64url'] as const) {
        // A part of it would be enough.
        const written = secret.toString(encoding).slice(0, 40);
        assert.ok(!text.includes(written), `${encoding} of a secret`);
      }
    }
    for (const address of PEOPLE) {
      assert.ok(!text.includes(address), address);
    }
    assert.ok(text.includes('203.0.113.0/24'));
    assert.ok(text.includes('2001:db8:1234::/48'));
  });

  test('has whole addresses where these are wanted', async () => {
    const { text } = await runAllDoors({ LOG_ADDRESSES: 'full' });
    for (const address of PEOPLE) {
      assert.ok(text.includes(address), address);
    }
  });
});
