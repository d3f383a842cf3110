import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { describe, test } from 'node:test';
import { CollectedParcels } from '../../../src/gateway/cargo/collected-parcels.ts';
import { openGatewayRoom } from '../../support/gateway-room.ts';

const DAY = 86_400_000;
const PEER = `0${'a'.repeat(64)}`;
const OTHER_PEER = `0${'b'.repeat(64)}`;

const digest = (text: string) => hash('sha256', text, 'buffer');

describe('Acknowledgements owed to a private gateway', () => {
  test('are bounded, and make room as they expire', async () => {
    await using room = await openGatewayRoom();
    const { records, meters } = room.backends;
    const { clock } = room;
    const collected = new CollectedParcels({ records, meters, clock, maxOwed: 2 });
    const parcel = (messageId: string) => ({
      sender: 'sender',
      recipient: 'recipient',
      messageId,
      content: digest(messageId),
      expiry: clock.now() + DAY,
    });
    assert.equal(await collected.add(PEER, parcel('1')), true);
    assert.equal(await collected.add(PEER, parcel('2')), true);
    assert.equal(await collected.add(PEER, parcel('3')), false);
    assert.equal(await collected.add(OTHER_PEER, parcel('3')), true);
    clock.advance(DAY + 1);
    assert.equal(await collected.add(PEER, parcel('4')), true);
  });

  test('last for 180 days at most, whatever the parcel claims, and not at all once it has expired', async () => {
    await using room = await openGatewayRoom();
    const { records, meters } = room.backends;
    const { clock } = room;
    const collected = new CollectedParcels({ records, meters, clock });
    const name = { sender: 'sender', recipient: 'recipient', messageId: 'a', content: digest('a') };
    await collected.add(PEER, { ...name, expiry: clock.now() + 10_000 * DAY });
    await collected.add(PEER, { ...name, messageId: 'b', expiry: clock.now() - 1 });
    const owed = await Array.fromAsync(collected.owedTo(PEER));
    assert.deepEqual(
      owed.map(({ ack, expiry }) => [ack.parcelId, expiry - clock.now()]),
      [['a', 180 * DAY]],
    );
    assert.equal(await collected.includes(PEER, name), true);
    assert.equal(await collected.includes(OTHER_PEER, name), false);
    assert.equal(await collected.includes(PEER, { ...name, content: digest('other') }), false);
    for (let version = 0; version < 8; version++) {
      await collected.add(PEER, { ...name, content: digest(`${version}`), expiry: clock.now() + DAY });
    }
    assert.equal(await collected.includes(PEER, { ...name, content: digest('0') }), true);
    assert.equal(await collected.includes(PEER, { ...name, content: digest('7') }), true);
    // There is an end to what is remembered.
    assert.equal(await collected.includes(PEER, name), false);
  });
});
