import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readEnvelopedData } from '../../src/awala/cms/enveloped-data.ts';
import { writeEnvelopedData } from '../../src/awala/cms/write-enveloped-data.ts';
import type { PublicSessionKey } from '../../src/awala/session-key.ts';
import { ChannelSessions } from '../../src/gateway/channel-sessions.ts';
import { PeerSessionKeys } from '../../src/gateway/peer-session-keys.ts';
import { machineRandom } from '../../src/machine.ts';
import { type GatewayRoom, openGatewayRoom } from '../support/gateway-room.ts';
import { newSessionKey } from '../support/pki.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const PEER = `0${'a'.repeat(64)}`;
const OTHER_PEER = `0${'b'.repeat(64)}`;
const PLAINTEXT = Buffer.from('plaintext');

function open(room: GatewayRoom) {
  const peerKeys = new PeerSessionKeys({ records: room.backends.records });
  return {
    peerKeys,
    sessions: new ChannelSessions({ sessionKeys: room.sessionKeys, peerKeys, random: machineRandom }),
  };
}

/** A peer's message for a key of ours. */
function message(recipient: PublicSessionKey, sender = newSessionKey()): Buffer {
  return writeEnvelopedData({ plaintext: PLAINTEXT, recipient, sender, random: machineRandom });
}

describe('A channel session', () => {
  test('goes back and forth, with a new key in each message', async () => {
    await using room = await openGatewayRoom();
    const { sessions } = open(room);
    let ours: PublicSessionKey = await room.sessionKeys.create(PEER, room.clock.now() + DAY);
    const ids = new Set<string>();
    for (let turn = 0; turn < 3; turn++) {
      const theirs = newSessionKey();
      assert.deepEqual(await sessions.decrypt(message(ours, theirs), PEER, room.clock.now() + turn), PLAINTEXT);
      await using messages = sessions.messagesTo(PEER);
      const answer = readEnvelopedData(Buffer.concat(await messages.encrypt([PLAINTEXT])));
      assert.deepEqual(answer.recipientKeyId, theirs.keyId);
      assert.deepEqual(answer.decrypt(theirs.privateKey), PLAINTEXT);
      ours = { keyId: answer.originatorKeyId, publicKey: answer.originatorKey.spki };
      ids.add(ours.keyId.toString('hex'));
    }
    assert.equal(ids.size, 3);
  });

  test('cannot begin with us', async () => {
    await using room = await openGatewayRoom();
    await using messages = open(room).sessions.messagesTo(PEER);
    await assert.rejects(messages.encrypt([PLAINTEXT]), { code: 'SESSION_KEY_UNKNOWN' });
    assert.deepEqual(await Array.fromAsync(room.backends.records.list('session-keys', `${PEER}/`)), []);
  });

  test('sends many messages, each with a key of its own that is stored before, and leaves no other key behind', async () => {
    await using room = await openGatewayRoom();
    const { sessions, peerKeys } = open(room);
    await peerKeys.offer(PEER, newSessionKey(), room.clock.now());
    const stored = async () =>
      (await Array.fromAsync(room.backends.records.list('session-keys', `${PEER}/`))).map(({ key }) => key);
    const used: string[] = [];
    {
      await using messages = sessions.messagesTo(PEER);
      // Between two batches of keys that are made ahead.
      for (let count = 0; count < 20; count++) {
        const { originatorKeyId } = readEnvelopedData(Buffer.concat(await messages.encrypt([PLAINTEXT])));
        const name = `${PEER}/${originatorKeyId.toString('hex')}`;
        assert.ok((await stored()).includes(name));
        assert.ok(await room.sessionKeys.open(originatorKeyId, PEER));
        used.push(name);
      }
      assert.ok((await stored()).length > used.length, 'some are made ahead');
    }
    assert.equal(new Set(used).size, 20);
    assert.deepEqual((await stored()).toSorted(), used.toSorted());
  });

  test("never decrypts a message with another peer's key, and takes no key from one", async () => {
    await using room = await openGatewayRoom();
    const { sessions, peerKeys } = open(room);
    const ours = await room.sessionKeys.create(PEER, room.clock.now() + DAY);
    await assert.rejects(sessions.decrypt(message(ours), OTHER_PEER, room.clock.now()), {
      code: 'SESSION_KEY_UNKNOWN',
    });
    const forged = message({ ...newSessionKey(), keyId: ours.keyId });
    await assert.rejects(sessions.decrypt(forged, PEER, room.clock.now()), { code: 'DECRYPTION_FAILED' });
    assert.equal(await peerKeys.newest(PEER), undefined);
    assert.equal(await peerKeys.newest(OTHER_PEER), undefined);
  });
});

describe("A peer's newest key", () => {
  test('is that of the message created last, in whatever order they are read', async () => {
    await using room = await openGatewayRoom();
    const { peerKeys } = open(room);
    const keys = Array.from({ length: 20 }, () => newSessionKey());
    const { length } = keys;
    const now = room.clock.now();
    // Two workers, from both ends.
    await Promise.all(
      keys.flatMap((key, creation) => [
        peerKeys.offer(PEER, key, now + creation),
        peerKeys.offer(PEER, keys[length - 1 - creation] ?? key, now + length - 1 - creation),
      ]),
    );
    assert.deepEqual((await peerKeys.newest(PEER))?.keyId, keys.at(-1)?.keyId);
    await peerKeys.offer(PEER, keys[0] ?? newSessionKey(), now);
    assert.deepEqual((await peerKeys.newest(PEER))?.keyId, keys.at(-1)?.keyId);
  });

  test('may be any of messages that were created together', async () => {
    await using room = await openGatewayRoom();
    const { peerKeys } = open(room);
    const [one, other] = [newSessionKey(), newSessionKey()];
    await peerKeys.offer(PEER, one, room.clock.now());
    await peerKeys.offer(PEER, other, room.clock.now());
    assert.deepEqual((await peerKeys.newest(PEER))?.keyId, other.keyId);
  });
});

describe('Keys of ours', () => {
  test('that went out with messages go 30 days after a newer one was used', async () => {
    await using room = await openGatewayRoom();
    const { sessions } = open(room);
    const older = await room.sessionKeys.createForMessage(PEER);
    const foreign = await room.sessionKeys.createForMessage(OTHER_PEER);
    room.clock.advance(DAY);
    const newer = await room.sessionKeys.createForMessage(PEER);
    room.clock.advance(40 * DAY);
    // Nothing came: none goes.
    assert.ok(await room.sessionKeys.open(older.keyId, PEER));
    await sessions.decrypt(message(newer), PEER, room.clock.now());

    room.clock.advance(30 * DAY - HOUR);
    assert.deepEqual(await sessions.decrypt(message(older), PEER, room.clock.now()), PLAINTEXT);
    room.clock.advance(2 * HOUR);
    assert.equal(await room.sessionKeys.open(older.keyId, PEER), undefined);
    assert.ok(await room.sessionKeys.open(newer.keyId, PEER));
    assert.ok(await room.sessionKeys.open(foreign.keyId, OTHER_PEER));
  });

  test('that were given at a registration stay for as long as the certificate, whatever else is used', async () => {
    await using room = await openGatewayRoom();
    const { sessions } = open(room);
    const registered = await room.sessionKeys.create(PEER, room.clock.now() + 180 * DAY);
    room.clock.advance(DAY);
    const newer = await room.sessionKeys.createForMessage(PEER);
    await sessions.decrypt(message(newer), PEER, room.clock.now());
    room.clock.advance(178 * DAY);
    assert.deepEqual(await sessions.decrypt(message(registered), PEER, room.clock.now()), PLAINTEXT);
    room.clock.advance(DAY + HOUR);
    assert.equal(await room.sessionKeys.open(registered.keyId, PEER), undefined);
  });

  test('are stored wrapped, and of no use under another name', async () => {
    await using room = await openGatewayRoom();
    const { records } = room.backends;
    const key = await room.sessionKeys.createForMessage(PEER);
    const id = key.keyId.toString('hex');
    const stored = await records.get('session-keys', `${PEER}/${id}`);
    assert.ok(stored);
    const wrapped = Buffer.from(stored.fields['privateKey'] as Uint8Array);
    assert.equal(wrapped.includes(key.privateKey), false);
    await records.put('session-keys', `${OTHER_PEER}/${id}`, stored.fields);
    await assert.rejects(room.sessionKeys.open(key.keyId, OTHER_PEER));
  });
});
