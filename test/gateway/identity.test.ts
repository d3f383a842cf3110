import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { Identity } from '../../src/gateway/identity.ts';
import { DAY, HOUR } from '../../src/gateway/time.ts';
import { machineRandom } from '../../src/machine.ts';
import { INTERNET_ADDRESS, openGatewayRoom } from '../support/gateway-room.ts';

test('The first start makes one key and a self-issued certificate of 180 days that began hours ago', async () => {
  await using room = await openGatewayRoom();
  const [certificate, ...others] = room.identity.allCertificates();
  assert.ok(certificate);
  assert.equal(others.length, 0);
  assert.equal(certificate.subjectId, room.identity.id);
  assert.ok(certificate.isSelfIssued && certificate.isSignedBy(room.identity.issuingKey().publicKey));
  assert.equal(certificate.isCa, true);
  assert.equal(certificate.pathLength, 2);
  assert.equal(certificate.notAfter - certificate.notBefore, 180 * DAY);
  const age = room.clock.now() - certificate.notBefore;
  assert.ok(age >= 3 * HOUR && age < 3 * HOUR + 1000, `began ${age} ms ago`);
  // Somebody else's reader agrees.
  const x509 = new X509Certificate(certificate.raw);
  assert.equal(x509.verify(x509.publicKey), true);
  assert.equal(x509.ca, true);
});

test('Replicas that start together on empty records end with the same key and certificate', async () => {
  await using room = await openGatewayRoom();
  const { identityKeys, records } = room.backends;
  for await (const { key } of records.list('identity-keys')) {
    await records.delete('identity-keys', key);
  }
  for await (const { key } of records.list('own-certificates')) {
    await records.delete('own-certificates', key);
  }
  // Nobody goes on before both have found that there is no key: the race is sure.
  const arrived = Promise.withResolvers<void>();
  let waiting = 0;
  const barrier = {
    ...identityKeys,
    open: (reference: string) => identityKeys.open(reference),
    async create() {
      if (++waiting === 2) {
        arrived.resolve();
      }
      await arrived.promise;
      return identityKeys.create();
    },
  };
  const open = () =>
    Identity.open({
      internetAddress: INTERNET_ADDRESS,
      identityKeys: barrier,
      records,
      random: machineRandom,
      clock: room.clock,
    });
  const [one, other] = await Promise.all([open(), open()]);
  assert.equal(waiting, 2);
  assert.equal(one.id, other.id);
  await Promise.all([one.refresh(), other.refresh()]);
  assert.deepEqual(
    one.allCertificates().map(({ raw }) => raw),
    other.allCertificates().map(({ raw }) => raw),
  );
  assert.equal(one.allCertificates().length, 1);
});

test('A new certificate is made once less than 150 days remain, and both are valid meanwhile', async () => {
  await using room = await openGatewayRoom();
  const [first] = room.identity.allCertificates();
  assert.ok(first);

  room.clock.advance(first.notAfter - 150 * DAY - room.clock.now());
  await room.identity.refresh();
  assert.equal(room.identity.allCertificates().length, 1, 'exactly 150 days are enough');

  room.clock.advance(1);
  await room.identity.refresh();
  await room.identity.refresh();
  assert.equal(room.identity.trusted().length, 2);
  const { certificate } = room.identity.issuer();
  assert.ok(certificate.notAfter > first.notAfter, 'the one that expires last signs');
  assert.equal(certificate.subjectId, first.subjectId);

  room.clock.advance(first.notAfter + 1 - room.clock.now());
  assert.deepEqual(room.identity.trusted(), [certificate]);
  await room.identity.refresh();
  assert.equal(
    room.identity.allCertificates().some(({ raw }) => raw.equals(first.raw)),
    false,
    'what expired leaves the records',
  );
});

test('A further key issues from then on, while what the earlier one issued stays trusted until its end', async () => {
  await using room = await openGatewayRoom();
  const earlier = room.identity.issuer();
  await room.identity.rotateKey();

  const { certificate } = room.identity.issuer();
  assert.notEqual(certificate.subjectId, earlier.certificate.subjectId);
  assert.equal(room.identity.id, certificate.subjectId);
  assert.deepEqual(
    room.identity.publicKeys().map(({ nodeId }) => nodeId),
    [earlier.certificate.subjectId, certificate.subjectId],
  );
  assert.ok(room.identity.trusted().some(({ raw }) => raw.equals(earlier.certificate.raw)));

  room.clock.advance(31 * DAY);
  await room.identity.refresh();
  const subjects = room.identity.allCertificates().map(({ subjectId }) => subjectId);
  assert.equal(subjects.filter((id) => id === earlier.certificate.subjectId).length, 1, 'the earlier is not renewed');
  assert.equal(subjects.filter((id) => id === certificate.subjectId).length, 2);

  room.clock.advance(180 * DAY);
  assert.equal(
    room.identity.trusted().some(({ subjectId }) => subjectId === earlier.certificate.subjectId),
    false,
  );
});

test('A process that opens the same records later has the same identity', async () => {
  await using room = await openGatewayRoom();
  await room.identity.rotateKey();
  const { identityKeys, records } = room.backends;
  const again = await Identity.open({
    internetAddress: INTERNET_ADDRESS,
    identityKeys,
    records,
    random: machineRandom,
    clock: room.clock,
  });
  assert.equal(again.id, room.identity.id);
  assert.deepEqual(
    again.publicKeys().map(({ nodeId }) => nodeId),
    room.identity.publicKeys().map(({ nodeId }) => nodeId),
  );
});

test('A key that was used and is missing is not replaced: the start is refused, and tells the mend', async () => {
  for (const trace of ['own-certificates', 'private-gateways'] as const) {
    await using room = await openGatewayRoom();
    const { records, identityKeys } = room.backends;
    await records.create('private-gateways', `0${'a'.repeat(64)}`, {});
    for (const kind of ['identity-keys', 'own-certificates', 'private-gateways'] as const) {
      for (const { key } of await Array.fromAsync(records.list(kind))) {
        if (kind !== trace) {
          await records.delete(kind, key);
        }
      }
    }
    const parts = {
      internetAddress: INTERNET_ADDRESS,
      identityKeys,
      records,
      random: machineRandom,
      clock: room.clock,
    };
    await assert.rejects(Identity.open(parts), { code: 'IDENTITY_KEY_MISSING', message: /backup/ });
    assert.deepEqual(await Array.fromAsync(records.list('identity-keys')), [], `${trace} tell of a key`);
  }
});

test('A key that is missing beside an older one is not passed over, and who runs goes on as before', async () => {
  await using room = await openGatewayRoom();
  const { identity, backends } = room;
  await identity.rotateKey();
  const { id } = identity;
  await backends.records.delete('identity-keys', '0002');
  await assert.rejects(identity.refresh(), { code: 'IDENTITY_KEY_MISSING', message: new RegExp(id) });
  assert.equal(identity.id, id);
  assert.equal(identity.trusted().length, 2);
});

test('Who may not sign waits for the identity that others make, and makes nothing', async () => {
  await using room = await openGatewayRoom();
  const { identityKeys, records } = room.backends;
  const { clock } = room;
  const parts = { internetAddress: INTERNET_ADDRESS, identityKeys, records, random: machineRandom, clock };
  const reader = await Identity.open({ ...parts, isIssuer: false });
  assert.equal(reader.id, room.identity.id);

  // Its last certificate has ended, and nobody has made another.
  clock.advance(200 * DAY);
  await reader.reload();
  await assert.rejects(Identity.open({ ...parts, isIssuer: false }), { code: 'IDENTITY_PENDING' });
  for (const order of [reader.refresh(), reader.renewCertificate(), reader.rotateKey({ isForced: true })]) {
    await assert.rejects(order, { code: 'ISSUING_ELSEWHERE', message: /poweb, cogrpc or worker/ });
  }
  assert.equal((await Array.fromAsync(records.list('identity-keys'))).length, 1);

  // On stores without any identity, it makes no key either.
  for (const kind of ['identity-keys', 'own-certificates'] as const) {
    for await (const { key } of records.list(kind)) {
      await records.delete(kind, key);
    }
  }
  await assert.rejects(Identity.open({ ...parts, isIssuer: false }), { code: 'IDENTITY_PENDING' });
  assert.deepEqual(await Array.fromAsync(records.list('identity-keys')), []);
  const maker = await Identity.open(parts);
  assert.equal((await Identity.open({ ...parts, isIssuer: false })).id, maker.id);
});
