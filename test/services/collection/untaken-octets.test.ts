/** Parcels that slow clients leave in memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type SlowClient, UntakenOctets } from '../../../src/services/collection/untaken-octets.ts';
import { CollectionClient } from '../../support/collection-client.ts';
import { openCollectionDoor } from '../../support/collection-door.ts';

const MIB = 1024 * 1024;

class Client implements SlowClient {
  isCut = false;

  cut(): void {
    this.isCut = true;
  }
}

test('Of too many, the client goes that has taken nothing for longest', () => {
  const untaken = new UntakenOctets(100, 0);
  const [slow, taking, late] = [new Client(), new Client(), new Client()];
  untaken.add(taking, 40);
  untaken.add(slow, 40);
  untaken.touch(taking);
  untaken.add(late, 20);
  assert.ok(!slow.isCut);
  untaken.add(late, 10);
  assert.deepEqual([slow.isCut, taking.isCut, late.isCut], [true, false, false]);
  assert.equal(untaken.size, 70);
  // What it had is told once more, and counts no more.
  untaken.remove(slow, 40);
  assert.equal(untaken.size, 70);
  untaken.remove(late, 10);
  untaken.add(taking, 50);
  assert.deepEqual([taking.isCut, late.isCut], [true, false]);
  untaken.remove(late, 20);
  assert.equal(untaken.size, 0);
});

test('Nobody goes who has taken something lately', () => {
  const untaken = new UntakenOctets(100, 60_000);
  const [one, other] = [new Client(), new Client()];
  untaken.add(one, 100);
  untaken.add(other, 100);
  assert.ok(!one.isCut && !other.isCut);
});

test('A client that reads nothing is cut when others need the memory, and its parcel stays', {
  timeout: 60_000,
}, async () => {
  const untaken = new UntakenOctets(4 * MIB, 0);
  await using door = await openCollectionDoor({ untaken, times: { pongTimeout: 60_000 } });
  const { chain, otherChain } = door;
  using deaf = await CollectionClient.collect(door.url, [chain.privateGateway]);
  await deaf.settled();
  deaf.socket.pause();
  const first = await door.put({ payload: Buffer.alloc(3 * MIB) });
  while (untaken.size < 3 * MIB) {
    await pause(5);
  }
  const second = await door.put({ payload: Buffer.alloc(3 * MIB) }, otherChain);
  using reading = await CollectionClient.collect(door.url, [otherChain.privateGateway]);
  assert.deepEqual(await reading.collectNext(), second);
  deaf.socket.resume();
  assert.equal((await deaf.closed).code, 1006);
  using again = await CollectionClient.collect(door.url, [chain.privateGateway]);
  assert.deepEqual(await again.collectNext(), first);
});
