import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConnectionParams } from '../../src/awala/connection-params.ts';
import { ConnectionParams } from '../../src/gateway/connection-params.ts';
import { DAY } from '../../src/gateway/time.ts';
import { type GatewayRoom, INTERNET_ADDRESS, openGatewayRoom } from '../support/gateway-room.ts';

const current = async (params: ConnectionParams) => readConnectionParams(await params.current());

/** Another replica on the same records. */
const replica = ({ identity, sessionKeys, backends, clock }: GatewayRoom) =>
  new ConnectionParams({ identity, sessionKeys, records: backends.records, clock });

test('Connection parameters name the address, the identity key and an unbound session key', async () => {
  await using room = await openGatewayRoom();
  const params = await current(room.connectionParams);
  assert.equal(params.internetAddress, INTERNET_ADDRESS);
  assert.equal(params.identityKey.nodeId, room.identity.id);
  const stored = await room.backends.records.get('session-keys', `unbound/${params.sessionKey.keyId.toString('hex')}`);
  assert.ok(stored);
});

test('Every replica gives the same session key, also those that start at once', async () => {
  await using room = await openGatewayRoom();
  const replicas = [room.connectionParams, replica(room), replica(room)];
  const [one, two, three] = await Promise.all(replicas.map((params) => params.current()));
  assert.deepEqual(one, two);
  assert.deepEqual(one, three);
  assert.deepEqual(await replica(room).current(), one);
});

test('The session key is renewed at 30 days and can decrypt until 60', async () => {
  await using room = await openGatewayRoom();
  const first = (await current(room.connectionParams)).sessionKey.keyId;
  const isKept = async () =>
    (await room.backends.records.get('session-keys', `unbound/${first.toString('hex')}`)) !== undefined;

  room.clock.advance(30 * DAY - 1);
  assert.deepEqual((await current(room.connectionParams)).sessionKey.keyId, first);
  room.clock.advance(1);
  const second = (await current(room.connectionParams)).sessionKey.keyId;
  assert.notDeepEqual(second, first);
  assert.deepEqual((await current(replica(room))).sessionKey.keyId, second);

  room.clock.advance(30 * DAY - 1);
  assert.equal(await isKept(), true);
  room.clock.advance(2);
  assert.equal(await isKept(), false);
});

test('A new identity key shows in the parameters at once', async () => {
  await using room = await openGatewayRoom();
  const before = await current(room.connectionParams);
  await room.identity.rotateKey();
  const after = await current(room.connectionParams);
  assert.equal(after.identityKey.nodeId, room.identity.id);
  assert.notEqual(after.identityKey.nodeId, before.identityKey.nodeId);
  assert.deepEqual(after.sessionKey.keyId, before.sessionKey.keyId);
});
