import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import type { AwalaErrorCode } from '../../src/awala/errors.ts';
import { readRegistration } from '../../src/awala/poweb/registration.ts';
import { writeRegistrationRequest } from '../../src/awala/poweb/registration-request.ts';
import { DAY, HOUR, SECOND } from '../../src/gateway/time.ts';
import { type GatewayRoom, INTERNET_ADDRESS, openGatewayRoom } from '../support/gateway-room.ts';
import { type TestIdentity, testIdentity } from '../support/pki.ts';

async function requestOf(room: GatewayRoom, node: TestIdentity): Promise<Buffer> {
  const authorization = await room.registration.preRegister(node.publicKey.digest);
  return writeRegistrationRequest({ publicKey: node.publicKey, authorization }, node.key);
}

async function register(room: GatewayRoom, node: TestIdentity) {
  const { registration, peer } = await room.registration.register(await requestOf(room, node));
  return { ...readRegistration(registration), peer };
}

const refusedWith = (code: AwalaErrorCode | 'TOKEN_USED') => (error: Error & { code?: string }) => {
  assert.equal(error.code, code, error.message);
  return true;
};

test('A registered private gateway gets a certificate inside the dates of its issuer and a session key of its own', async () => {
  await using room = await openGatewayRoom();
  const node = await testIdentity('private-gateway');
  const { nodeCertificate, gatewayCertificate, internetAddress, sessionKey, peer } = await register(room, node);

  assert.equal(peer, node.id);
  assert.equal(internetAddress, INTERNET_ADDRESS);
  assert.deepEqual(gatewayCertificate.raw, room.identity.issuer().certificate.raw);
  assert.equal(nodeCertificate.subjectId, node.id);
  assert.ok(nodeCertificate.isSignedBy(gatewayCertificate.publicKey));
  assert.ok(nodeCertificate.isCa);
  assert.equal(nodeCertificate.pathLength, 1);
  assert.ok(nodeCertificate.notBefore >= gatewayCertificate.notBefore);
  assert.ok(nodeCertificate.notBefore <= room.clock.now() - 2 * HOUR, 'clients date messages 90 minutes back');
  assert.ok(nodeCertificate.notAfter <= gatewayCertificate.notAfter);

  assert.ok(sessionKey);
  const name = `${node.id}/${sessionKey.keyId.toString('hex')}`;
  const stored = await room.backends.records.get('session-keys', name);
  const wrapped = Buffer.from(stored?.fields['privateKey'] as Uint8Array);
  assert.throws(() => createPrivateKey({ key: wrapped, format: 'der', type: 'pkcs8' }), 'not stored in the clear');
  const unwrapped = await room.backends.wrapping.unwrap(wrapped, `session-key/${name}`);
  const publicHalf = createPublicKey(createPrivateKey({ key: unwrapped, format: 'der', type: 'pkcs8' }));
  assert.deepEqual(publicHalf.export({ format: 'der', type: 'spki' }), sessionKey.publicKey);
});

test('Keys of 3072 and 4096 bits register too', async () => {
  await using room = await openGatewayRoom();
  for (const name of ['rsa-3072', 'rsa-4096'] as const) {
    const node = await testIdentity(name);
    assert.equal((await register(room, node)).nodeCertificate.subjectId, node.id);
  }
});

test('An authorization is good for one registration, also when two race for it', async () => {
  await using room = await openGatewayRoom();
  const request = await requestOf(room, await testIdentity('private-gateway'));
  const results = await Promise.allSettled([room.registration.register(request), room.registration.register(request)]);
  assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  await assert.rejects(room.registration.register(request), refusedWith('TOKEN_USED'));
});

test('An authorization ends in under ten seconds', async () => {
  await using room = await openGatewayRoom();
  const request = await requestOf(room, await testIdentity('private-gateway'));
  room.clock.advance(10 * SECOND);
  await assert.rejects(room.registration.register(request), refusedWith('REGISTRATION_EXPIRED'));
});

test('An authorization for one key does not register another', async () => {
  await using room = await openGatewayRoom();
  const thief = await testIdentity('stranger');
  const authorization = await room.registration.preRegister((await testIdentity('private-gateway')).publicKey.digest);
  const request = await writeRegistrationRequest({ publicKey: thief.publicKey, authorization }, thief.key);
  await assert.rejects(room.registration.register(request), refusedWith('REGISTRATION_UNAUTHORIZED'));
});

test('Authorizations of an earlier identity key are honoured', async () => {
  await using room = await openGatewayRoom();
  const request = await requestOf(room, await testIdentity('private-gateway'));
  await room.identity.rotateKey();
  const { registration } = await room.registration.register(request);
  assert.equal(readRegistration(registration).gatewayCertificate.subjectId, room.identity.id);
});

test('A private gateway that registers again gets a further certificate and keeps its session keys', async () => {
  await using room = await openGatewayRoom();
  const node = await testIdentity('private-gateway');
  const first = await register(room, node);
  room.clock.advance(40 * DAY);
  await room.identity.refresh();
  const second = await register(room, node);

  assert.ok(second.nodeCertificate.notAfter > first.nodeCertificate.notAfter);
  assert.notEqual(second.nodeCertificate.serialNumber, first.nodeCertificate.serialNumber);
  for (const { sessionKey, nodeCertificate } of [first, second]) {
    assert.ok(await room.sessionKeys.open(sessionKey?.keyId ?? Buffer.alloc(0), node.id));
    // Usable for as long as the certificate that was issued with it.
    assert.ok(nodeCertificate.notAfter > room.clock.now());
  }
  assert.ok(room.identity.trusted().some((own) => first.nodeCertificate.isSignedBy(own.publicKey)));
});

test('Nobody gets a certificate of less than 120 days, even if housekeeping has slept', async () => {
  await using room = await openGatewayRoom();
  room.clock.advance(100 * DAY);
  const { nodeCertificate } = await register(room, await testIdentity('private-gateway'));
  assert.ok(nodeCertificate.notAfter - room.clock.now() >= 120 * DAY);
});

test('A registered peer is remembered for as long as its certificate', async () => {
  await using room = await openGatewayRoom();
  const node = await testIdentity('private-gateway');
  const { nodeCertificate } = await register(room, node);
  const stored = await room.backends.records.get('private-gateways', node.id);
  assert.deepEqual(Buffer.from(stored?.fields['publicKey'] as Uint8Array), node.publicKey.spki);
  room.clock.advance(nodeCertificate.notAfter + 1 - room.clock.now());
  assert.equal(await room.backends.records.get('private-gateways', node.id), undefined);
});
