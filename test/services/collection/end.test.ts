/** How collections end by our doing: of age, and when the server stops. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { CollectionClient } from '../../support/collection-client.ts';
import { openCollectionDoor } from '../../support/collection-door.ts';

const MAX_AGE = 600;

describe('A collection that has lasted long enough', { concurrency: true, timeout: 120_000 }, () => {
  it('is ended with 4000', async () => {
    await using door = await openCollectionDoor({ maxAge: MAX_AGE });
    using client = await CollectionClient.collect(door.url, [door.chain.privateGateway]);
    const { code, after } = await client.closed;
    assert.equal(code, 4000);
    assert.ok(after >= MAX_AGE * 0.9 - 1, `ended after ${after} ms`);
  });

  it('goes on until what is in flight is acknowledged, with its pings', async () => {
    await using door = await openCollectionDoor({ maxAge: MAX_AGE, times: { pingInterval: 300 } });
    await door.put();
    using client = await CollectionClient.collect(door.url, [door.chain.privateGateway]);
    const { deliveryId } = await client.nextDelivery();
    while ((client.pings.at(-1) ?? 0) < 2 * MAX_AGE) {
      await client.pinged(client.pings.length + 1);
    }
    client.acknowledge(deliveryId);
    assert.equal((await client.closed).code, 4000);
    await door.emptied();
  });

  it('is not counted from before the handshake, in whose midst nothing is ended', async () => {
    await using door = await openCollectionDoor({ maxAge: MAX_AGE });
    using client = await CollectionClient.connect(door.url);
    await pause(2 * MAX_AGE);
    await client.settled();
    assert.equal(client.socket.readyState, client.socket.OPEN);
    const start = performance.now();
    await client.answerChallenge([door.chain.privateGateway]);
    assert.equal((await client.closed).code, 4000);
    const after = performance.now() - start;
    assert.ok(after >= MAX_AGE * 0.9 - 1, `ended ${after} ms after the answer`);
  });
});

describe('A private gateway with many collections', { timeout: 120_000 }, () => {
  it('has the oldest ended with 4000 for each that is too many, and others theirs', async () => {
    await using door = await openCollectionDoor({ openPerPeer: 2 });
    const { chain, otherChain } = door;
    using other = await CollectionClient.collect(door.url, [otherChain.privateGateway]);
    await other.settled();
    const clients: CollectionClient[] = [];
    for (let count = 0; count < 4; count++) {
      const client = await CollectionClient.collect(door.url, [chain.privateGateway]);
      await client.settled();
      clients.push(client);
    }
    const [first, second, ...rest] = clients;
    assert.equal((await first?.closed)?.code, 4000);
    assert.equal((await second?.closed)?.code, 4000);
    for (const client of [...rest, other]) {
      await client.settled();
      assert.equal(client.socket.readyState, client.socket.OPEN);
    }
    const parcel = await door.put();
    for (const client of rest) {
      assert.deepEqual((await client.nextDelivery()).parcel, parcel);
    }
    // One that ends makes room again.
    rest[0]?.socket.terminate();
    await rest[0]?.closed;
    while (door.door.size > 2) {
      await pause(5);
    }
    using next = await CollectionClient.collect(door.url, [chain.privateGateway]);
    assert.deepEqual((await next.nextDelivery()).parcel, parcel);
    await rest[1]?.settled();
    assert.equal(rest[1]?.socket.readyState, rest[1]?.socket.OPEN);
    for (const client of clients) {
      client.socket.terminate();
    }
  });

  it('loses none of its parcels when there is memory for a few of them only', async () => {
    await using door = await openCollectionDoor({ queueOctets: 1 });
    const parcels: Buffer[] = [];
    for (let count = 0; count < 11; count++) {
      parcels.push(await door.put());
    }
    using client = await CollectionClient.collect(door.url, [door.chain.privateGateway]);
    const collected: Buffer[] = [];
    for (let count = 0; count < 11; count++) {
      collected.push(await client.collectNext());
    }
    assert.deepEqual(collected, parcels);
    await door.emptied();
    assert.equal(client.waiting, 0);
  });
});

describe('The stop of the server', { concurrency: true, timeout: 120_000 }, () => {
  it('ends collections with 4000 at a pace, and those that close upon completion too', async () => {
    await using door = await openCollectionDoor({ drainRate: 40, openPerPeer: 0 });
    const clients: CollectionClient[] = [];
    for (let count = 0; count < 20; count++) {
      clients.push(await CollectionClient.collect(door.url, [door.chain.privateGateway]));
    }
    await door.put({}, door.otherChain);
    const mode = { headers: { 'X-Awala-Streaming-Mode': 'close-upon-completion' } };
    const completing = await CollectionClient.collect(door.url, [door.otherChain.privateGateway], mode);
    await completing.nextDelivery();
    const start = performance.now();
    const stopped = door.server.stop(AbortSignal.timeout(20_000));
    for (const client of [...clients, completing]) {
      assert.equal((await client.closed).code, 4000);
    }
    const took = performance.now() - start;
    await stopped;
    assert.equal(door.door.size, 0);
    // Two in each step of 50 ms.
    assert.ok(took >= 400, `all within ${took} ms`);
    assert.equal(await door.countWaiting(door.otherChain), 1);
  });

  it('lets a handshake come to its end, and takes acknowledgements that are on their way', async () => {
    await using door = await openCollectionDoor();
    await door.put();
    using client = await CollectionClient.connect(door.url);
    using collecting = await CollectionClient.collect(door.url, [door.chain.privateGateway]);
    const { deliveryId } = await collecting.nextDelivery();
    const stopped = door.server.stop(AbortSignal.timeout(20_000));
    collecting.acknowledge(deliveryId);
    assert.equal((await collecting.closed).code, 4000);
    await door.emptied();
    assert.equal(client.socket.readyState, client.socket.OPEN);
    await client.answerChallenge([door.chain.privateGateway]);
    assert.equal((await client.closed).code, 4000);
    await stopped;
  });

  it('cuts at the deadline what is still open', async () => {
    await using door = await openCollectionDoor();
    using client = await CollectionClient.connect(door.url);
    const start = performance.now();
    await door.server.stop(AbortSignal.timeout(500));
    assert.ok(performance.now() - start < 5000);
    assert.equal((await client.closed).code, 1006);
  });

  it('refuses new collections with 503 from its beginning', async () => {
    await using door = await openCollectionDoor();
    using open = await CollectionClient.connect(door.url);
    const draining = door.door.drain(AbortSignal.timeout(10_000));
    const upgrade = request(`${door.url}/v1/parcel-collection`, {
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
      },
    });
    upgrade.end();
    const [response] = await once(upgrade, 'response');
    assert.equal(response.statusCode, 503);
    assert.ok(Number(response.headers['retry-after']) > 0);
    response.resume();
    open.socket.terminate();
    await draining;
  });
});
