/** Rotation of identity keys: run twice, run at once, and killed anywhere. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Identity } from '../../src/gateway/identity.ts';
import type { IdentityKeys, Records } from '../../src/gateway/ports.ts';
import { DAY, MINUTE } from '../../src/gateway/time.ts';
import { machineRandom } from '../../src/machine.ts';
import { type GatewayRoom, INTERNET_ADDRESS, openGatewayRoom } from '../support/gateway-room.ts';

interface Options {
  readonly records?: Records;
  readonly identityKeys?: IdentityKeys;
  readonly takeover?: number;
}

/** Another process's view of the room's identity. */
function another({ backends, clock }: GatewayRoom, options: Options = {}): Promise<Identity> {
  const { identityKeys, records } = backends;
  const parts = { internetAddress: INTERNET_ADDRESS, identityKeys, records, random: machineRandom, clock };
  return Identity.open({ ...parts, ...options });
}

const nodeIds = (identity: Identity) => identity.allKeys().map(({ publicKey }) => publicKey.nodeId);

const keyRecords = ({ backends }: GatewayRoom) => Array.fromAsync(backends.records.list('identity-keys'));

/** Records that call `before` and then never come back from the write of a record of this kind: the process was killed. */
function killedAt(records: Records, kind: string, isAfter: boolean, killed: () => void): Records {
  return {
    get: (...args) => records.get(...args),
    list: (...args) => records.list(...args),
    put: (...args) => records.put(...args),
    delete: (...args) => records.delete(...args),
    replace: (...args) => records.replace(...args),
    async create(name, ...args) {
      if (name !== kind) {
        return records.create(name, ...args);
      }
      if (isAfter) {
        await records.create(name, ...args);
      }
      killed();
      return new Promise<never>(() => {});
    },
  };
}

test('A rotation that is run again within a day makes no further key, unless it is forced', async () => {
  await using room = await openGatewayRoom();
  const { identity, clock } = room;
  assert.equal(await identity.rotateKey(), true, 'the first key was no rotation');
  assert.equal(await identity.rotateKey(), false);
  clock.advance(DAY - 1);
  assert.equal(await identity.rotateKey(), false);
  assert.equal(nodeIds(identity).length, 2);
  assert.equal(await identity.rotateKey({ isForced: true }), true);
  assert.equal(nodeIds(identity).length, 3);
  clock.advance(DAY);
  assert.equal(await identity.rotateKey(), true);
  assert.equal(identity.id, nodeIds(identity)[3]);
});

for (const [kind, isAfter, countsBefore] of [
  ['identity-keys', false, false],
  ['identity-keys', true, true],
  ['own-certificates', false, true],
  ['own-certificates', true, true],
] as const) {
  test(`A rotation that is killed ${isAfter ? 'after' : 'before'} it wrote ${kind} and run again is one rotation`, async () => {
    await using room = await openGatewayRoom();
    const first = room.identity.id;
    const { promise: wasKilled, resolve: killed } = Promise.withResolvers<void>();
    const dying = await another(room, { records: killedAt(room.backends.records, kind, isAfter, killed) });
    void dying.rotateKey();
    await wasKilled;

    const next = await another(room);
    assert.equal(await next.rotateKey(), !countsBefore);
    assert.equal(nodeIds(next).length, 2);
    assert.equal(nodeIds(next)[0], first);
    assert.notEqual(next.id, first);
    assert.equal(next.issuer().certificate.subjectId, next.id);
    assert.equal(next.trusted().length, 2);
    // Who ran meanwhile takes it over.
    await room.identity.refresh();
    assert.deepEqual(nodeIds(room.identity), nodeIds(next));
  });
}

test('Two processes that rotate at once make one key', async () => {
  await using room = await openGatewayRoom();
  const { identityKeys, records } = room.backends;
  // Neither writes before both have read, and made their keys.
  const arrived = Promise.withResolvers<void>();
  let waiting = 0;
  const held: IdentityKeys = {
    open: (reference) => identityKeys.open(reference),
    async create() {
      const key = await identityKeys.create();
      if (++waiting === 2) {
        arrived.resolve();
      }
      await arrived.promise;
      return key;
    },
  };
  const [one, other] = await Promise.all([
    another(room, { identityKeys: held }),
    another(room, { identityKeys: held }),
  ]);
  const outcomes = await Promise.all([one.rotateKey(), other.rotateKey()]);
  assert.deepEqual(outcomes.sort(), [false, true]);
  assert.equal((await Array.fromAsync(records.list('identity-keys'))).length, 2);
  await Promise.all([one.refresh(), other.refresh()]);
  assert.equal(one.id, other.id);
  assert.deepEqual(
    one.allCertificates().map(({ raw }) => raw),
    other.allCertificates().map(({ raw }) => raw),
  );
});

test('Where processes share the records a new key only verifies at first, and issues once all know of it', async () => {
  await using room = await openGatewayRoom();
  const takeover = 3 * MINUTE;
  const [one, other] = await Promise.all([another(room, { takeover }), another(room, { takeover })]);
  const first = one.id;
  await one.rotateKey();
  assert.equal(one.id, first);
  assert.equal(one.issuer().certificate.subjectId, first);
  const [, second] = nodeIds(one);

  room.clock.advance(takeover - 1);
  await other.refresh();
  assert.equal(one.id, first);
  assert.equal(other.id, first);
  assert.ok(
    other.trusted().some(({ subjectId }) => subjectId === second),
    'what it will issue is trusted before',
  );
  room.clock.advance(1);
  for (const identity of [one, other]) {
    assert.equal(identity.id, second);
    assert.equal(identity.issuer().certificate.subjectId, second);
  }
  const single = await another(room);
  assert.equal(single.id, second);
});

test('An old key is served until its certificates and authorizations have ended, and is not opened afterwards', async () => {
  await using room = await openGatewayRoom();
  const { identity, clock, backends } = room;
  const first = identity.id;
  await identity.rotateKey();
  const [, second] = nodeIds(identity);
  clock.advance(181 * DAY);
  await identity.refresh();
  assert.ok(!identity.trusted().some(({ subjectId }) => subjectId === first), 'its certificates have ended');
  assert.ok(identity.ownKey(first), 'but authorizations that name it may last');

  clock.advance(179 * DAY + 1);
  await identity.refresh();
  assert.equal(identity.ownKey(first), undefined);
  assert.equal(identity.id, second);
  // Its keeper may destroy it now.
  const [record] = await keyRecords(room);
  const opened: string[] = [];
  const destroyed: IdentityKeys = {
    create: () => backends.identityKeys.create(),
    open: (reference) => {
      opened.push(reference);
      return backends.identityKeys.open(reference);
    },
  };
  const later = await another(room, { identityKeys: destroyed });
  assert.equal(later.id, second);
  assert.equal(opened.length, 1);
  assert.ok(!opened.includes(record?.fields['reference'] as string));
  // Numbers go on after it.
  assert.equal(await later.rotateKey(), true);
  assert.deepEqual(
    (await keyRecords(room)).map(({ key }) => key),
    ['0001', '0002', '0003'],
  );
});

test('A certificate is made at once where that is forced, and otherwise only when it is due', async () => {
  await using room = await openGatewayRoom();
  const { identity } = room;
  const first = identity.issuer().certificate;
  assert.equal(identity.isRenewalDue(), false);
  await identity.refresh();
  assert.deepEqual(identity.allCertificates(), [first]);

  // At the same instant: certificates tell seconds.
  await identity.renewCertificate();
  const second = identity.issuer().certificate;
  assert.notEqual(second, first);
  assert.equal(second.subjectId, first.subjectId);
  assert.equal(identity.trusted().length, 2);
  assert.equal((await another(room)).issuer().certificate.serialNumber, second.serialNumber);
});
