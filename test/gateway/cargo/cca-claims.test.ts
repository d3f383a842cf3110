/** Claims on cargo collection authorizations: one call at a time, one to the end, whoever comes when. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type CcaClaim, CcaClaims, type CcaName } from '../../../src/gateway/cargo/cca-claims.ts';
import { GatewayError } from '../../../src/gateway/errors.ts';
import { DAY, HOUR } from '../../../src/gateway/time.ts';
import { type GatewayRoom, openGatewayRoom } from '../../support/gateway-room.ts';
import { heldClaims } from '../../support/held-claims.ts';
import { Barrier } from '../../support/held-stores.ts';

const CALLS = 20;

const ccaOf = (room: GatewayRoom, messageId = 'the-cca'): CcaName => ({
  sender: '0abc',
  messageId,
  expiry: room.clock.now() + DAY,
});

async function roomWith(t: TestContext): Promise<GatewayRoom> {
  const room = await openGatewayRoom();
  t.after(() => room[Symbol.asyncDispose]());
  return room;
}

const refusal = (code: string) => (error: unknown) => error instanceof GatewayError && error.code === code;

test('a newer call takes the claim from the older one, which hears of it and can spend it no more', async (t) => {
  const room = await roomWith(t);
  const claims = new CcaClaims(room.backends);
  const older = await claims.claim(ccaOf(room));
  await older.check();
  const newer = await claims.claim(ccaOf(room));
  assert.ok(older.signal.aborted);
  await assert.rejects(older.check(), refusal('CCA_SUPERSEDED'));
  await assert.rejects(older.spend(), refusal('CCA_SUPERSEDED'));
  await newer.check();
  await newer.spend();
  await assert.rejects(claims.claim(ccaOf(room)), refusal('CCA_SPENT'));
  await (await claims.claim(ccaOf(room, 'another'))).spend();
});

test('a call that no signal reaches finds out by the record', async (t) => {
  const room = await roomWith(t);
  const { records } = room.backends;
  const deaf = { publish: () => undefined, subscribe: async () => ({ close: () => undefined }) };
  const older = await new CcaClaims({ records, signals: deaf }).claim(ccaOf(room));
  await new CcaClaims({ records, signals: deaf }).claim(ccaOf(room));
  assert.ok(!older.signal.aborted);
  await assert.rejects(older.check(), refusal('CCA_SUPERSEDED'));
  assert.ok(older.signal.aborted);
});

test('of 20 calls that claim and spend at the same time one comes to the end', async (t) => {
  const room = await roomWith(t);
  const barrier = new Barrier();
  const claims = new CcaClaims({ ...room.backends, records: heldClaims(room.backends.records, barrier) });
  const claimed: CcaClaim[] = [];
  const calls = Array.from({ length: CALLS }, async () => {
    claimed.push(await claims.claim(ccaOf(room)));
  });
  await Promise.allSettled(calls);
  assert.ok(claimed.length > 0);

  barrier.hold();
  const spent = Promise.allSettled(claimed.map((claim) => claim.spend()));
  const late = Promise.allSettled(Array.from({ length: CALLS }, () => claims.claim(ccaOf(room))));
  await barrier.reached;
  barrier.release();
  const outcomes = (await spent).filter(({ status }) => status === 'fulfilled').length;
  const lateClaims = (await late).flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const lateOutcomes = (await Promise.allSettled(lateClaims.map((claim) => claim.spend()))).filter(
    ({ status }) => status === 'fulfilled',
  ).length;
  assert.equal(outcomes + lateOutcomes, 1);
  await assert.rejects(claims.claim(ccaOf(room)), refusal('CCA_SPENT'));
});

test('a spent CCA stays spent as long as it would be accepted', async (t) => {
  const room = await roomWith(t);
  const claims = new CcaClaims(room.backends);
  const cca = ccaOf(room);
  await (await claims.claim(cca)).spend();
  room.clock.advance(DAY + 2 * HOUR - 1);
  await assert.rejects(claims.claim(cca), refusal('CCA_SPENT'));
});

test('a retry knows what was acknowledged to all calls before it', async (t) => {
  const room = await roomWith(t);
  const claims = new CcaClaims(room.backends);
  const digests = ['11111111', '22222222', '33333333'];
  const first = await claims.claim(ccaOf(room));
  await first.note(Buffer.from(digests.slice(0, 2).join('')));
  const second = await claims.claim(ccaOf(room));
  assert.deepEqual([...second.acknowledged], digests.slice(0, 2));
  await second.note(Buffer.from(digests[2] as string));
  const third = await claims.claim(ccaOf(room));
  assert.deepEqual([...third.acknowledged], digests);
  await third.spend();
  assert.deepEqual(await Array.fromAsync(room.backends.records.list('cca-progress')), []);
});

test('calls without any acknowledgement are counted', async (t) => {
  const room = await roomWith(t);
  const claims = new CcaClaims(room.backends);
  assert.equal((await claims.claim(ccaOf(room))).fruitlessCalls, 0);
  assert.equal((await claims.claim(ccaOf(room))).fruitlessCalls, 1);
  const third = await claims.claim(ccaOf(room));
  assert.equal(third.fruitlessCalls, 2);
  await third.note(Buffer.from('11111111'));
  assert.equal((await claims.claim(ccaOf(room))).fruitlessCalls, 2);
});
