/** What a client is sent, and what it acknowledges. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { StoreError } from '../../../src/gateway/ports.ts';
import { CollectionClient } from '../../support/collection-client.ts';
import { openCollectionDoor, type TestCollectionDoor } from '../../support/collection-door.ts';

const UNTIL_EMPTY = { headers: { 'X-Awala-Streaming-Mode': 'close-upon-completion' } };

/** As Ktor, the Kotlin stack's HTTP library, names itself. */
const KOTLIN = { headers: { 'User-Agent': 'Ktor client' } };

describe('A collection', () => {
  let door: TestCollectionDoor;

  before(async () => {
    door = await openCollectionDoor();
  });

  after(() => door[Symbol.asyncDispose]());

  const collect = (options = {}) => CollectionClient.collect(door.url, [door.chain.privateGateway], options);

  /** Takes what earlier tests left. */
  const empty = async () => {
    using client = await collect(UNTIL_EMPTY);
    while (await client.collectNext().catch(() => undefined)) {}
  };

  it('gives parcels oldest first and deletes what is acknowledged', async () => {
    const parcels = [await door.put(), await door.put(), await door.put()];
    using client = await collect(UNTIL_EMPTY);
    for (const parcel of parcels) {
      assert.deepEqual(await client.collectNext(), parcel);
    }
    assert.equal((await client.closed).code, 1000);
    assert.equal(await door.countWaiting(), 0);
  });

  for (const header of ['X-Awala-Streaming-Mode', 'X-Relaynet-Streaming-Mode']) {
    it(`ends with 1000 once all is collected, when ${header} asks for that`, async () => {
      const parcel = await door.put();
      using client = await collect({ headers: { [header]: 'close-upon-completion' } });
      const { deliveryId, parcel: delivered } = await client.nextDelivery();
      await client.settled();
      assert.equal(client.socket.readyState, client.socket.OPEN);
      client.acknowledge(deliveryId);
      assert.equal((await client.closed).code, 1000);
      assert.deepEqual(delivered, parcel);
    });

    it(`ends with 1000 at once when nothing waits, when ${header} asks for that`, async () => {
      using client = await collect({ headers: { [header]: 'close-upon-completion' } });
      assert.equal((await client.closed).code, 1000);
    });
  }

  for (const [name, headers] of Object.entries({
    'no streaming mode': {},
    'keep-alive': { 'X-Awala-Streaming-Mode': 'keep-alive' },
    'an unknown streaming mode': { 'X-Relaynet-Streaming-Mode': 'whatever' },
  })) {
    it(`goes on after the last parcel with ${name}, and gives what comes later`, async () => {
      const waiting = await door.put();
      using client = await collect({ headers });
      assert.deepEqual(await client.collectNext(), waiting);
      await client.settled();
      const live = await door.put();
      assert.deepEqual(await client.collectNext(), live);
      await door.emptied();
      assert.equal(client.socket.readyState, client.socket.OPEN);
    });
  }

  it('takes acknowledgements in binary and in fragments', async () => {
    await door.put();
    await door.put();
    using client = await collect(UNTIL_EMPTY);
    const first = await client.nextDelivery();
    client.socket.send(Buffer.from(first.deliveryId));
    const second = await client.nextDelivery();
    client.socket.send(second.deliveryId, { fin: false });
    client.socket.send('', { fin: true });
    assert.equal((await client.closed).code, 1000);
    assert.equal(await door.countWaiting(), 0);
  });

  it('ends with 1003 upon an unknown acknowledgement, an empty one, one beyond all size, and a second one', async () => {
    await door.put();
    for (const acknowledgement of ['unknown', '', 'x'.repeat(1000)]) {
      using client = await collect();
      await client.nextDelivery();
      client.acknowledge(acknowledgement);
      assert.equal((await client.closed).code, 1003);
    }
    assert.equal(await door.countWaiting(), 1);
    using client = await collect();
    const { deliveryId } = await client.nextDelivery();
    client.acknowledge(deliveryId);
    client.acknowledge(deliveryId);
    assert.equal((await client.closed).code, 1003);
    await door.emptied();
  });

  it('sends one at a time to clients that are not known to keep the borders of messages', async () => {
    const parcels = [await door.put(), await door.put(), await door.put()];
    using client = await collect();
    for (const parcel of parcels) {
      const delivery = await client.nextDelivery();
      await client.settled();
      assert.equal(client.waiting, 0);
      assert.deepEqual(delivery.parcel, parcel);
      client.acknowledge(delivery.deliveryId);
    }
    await door.emptied();
  });

  it('sends five to a client that keeps the borders, and a further one for each acknowledgement', async () => {
    const parcels = [];
    for (let count = 0; count < 7; count++) {
      parcels.push(await door.put());
    }
    using client = await collect({ headers: { ...KOTLIN.headers, ...UNTIL_EMPTY.headers } });
    const deliveries = [];
    for (let count = 0; count < 5; count++) {
      deliveries.push(await client.nextDelivery());
    }
    await client.settled();
    assert.equal(client.waiting, 0);
    // Two quick acknowledgements, out of order: each stands for itself.
    const [first, second, third, ...others] = deliveries;
    assert.ok(first && second && third);
    client.acknowledge(third.deliveryId);
    client.acknowledge(first.deliveryId);
    deliveries.push(await client.nextDelivery(), await client.nextDelivery());
    for (const { deliveryId } of [second, ...others, ...deliveries.slice(5)]) {
      client.acknowledge(deliveryId);
    }
    assert.equal((await client.closed).code, 1000);
    assert.deepEqual(
      deliveries.map(({ parcel }) => parcel),
      parcels,
    );
    assert.equal(await door.countWaiting(), 0);
  });

  it('keeps what was not acknowledged for the next connection', async () => {
    const parcel = await door.put();
    {
      using client = await collect();
      assert.deepEqual((await client.nextDelivery()).parcel, parcel);
    }
    using client = await collect();
    assert.deepEqual(await client.collectNext(), parcel);
    await client.settled();
  });

  it('gives the newer of two parcels with one id, and leaves it alone when the older is acknowledged late', async () => {
    await empty();
    const older = await door.put({ messageId: 'one', payload: Buffer.from('older') });
    using client = await collect();
    const delivery = await client.nextDelivery();
    assert.deepEqual(delivery.parcel, older);
    const newer = await door.put({ messageId: 'one', payload: Buffer.from('newer') });
    client.acknowledge(delivery.deliveryId);
    assert.deepEqual((await client.nextDelivery()).parcel, newer);
    using next = await collect();
    assert.deepEqual(await next.collectNext(), newer);
    await door.emptied();
  });

  it('leaves out what has expired', async () => {
    await empty();
    const start = door.room.clock.now();
    await door.put({ creation: start - 60_000, ttl: 120 });
    const lasting = await door.put();
    door.room.clock.advance(60_001);
    using client = await collect(UNTIL_EMPTY);
    assert.deepEqual(await client.collectNext(), lasting);
    assert.equal((await client.closed).code, 1000);
  });

  it('gives a parcel of the largest size whole', async () => {
    await empty();
    const parcel = await door.put({ payload: Buffer.alloc(8 * 1024 * 1024 - 71_000, 'large') });
    using client = await collect(UNTIL_EMPTY);
    assert.ok((await client.collectNext()).equals(parcel));
    assert.equal((await client.closed).code, 1000);
  });

  it('logs each parcel under its ids when it is collected, and never its bytes', async () => {
    await door.put({ messageId: 'traced' });
    using client = await collect(UNTIL_EMPTY);
    await client.collectNext();
    await client.closed;
    const line = door.lines.find(({ msg, parcel }) => msg === 'Parcel collected' && parcel === 'traced');
    assert.ok(line);
    assert.equal(line['trace'], 'test');
    assert.equal(line['peer'], door.chain.privateGateway.id);
    assert.equal(line['sender'], door.chain.sender.id);
    assert.equal(line['recipient'], door.chain.endpoint.id);
    assert.equal(typeof line['collection'], 'string');
  });
});

describe('A collection whose store fails', () => {
  it('ends with 1011', async () => {
    let isAway = false;
    await using door = await openCollectionDoor({
      objects: (objects) => ({
        put: (key, body, options) => objects.put(key, body, options),
        putUnless: (...parameters) => objects.putUnless(...parameters),
        get: (key) => objects.get(key),
        find: (key) => objects.find(key),
        list: (prefix) => objects.list(prefix),
        delete: (key, version) =>
          isAway ? Promise.reject(new StoreError('STORE_AWAY', 'Away')) : objects.delete(key, version),
      }),
    });
    await door.put();
    using client = await CollectionClient.collect(door.url, [door.chain.privateGateway]);
    const { deliveryId } = await client.nextDelivery();
    isAway = true;
    client.acknowledge(deliveryId);
    assert.equal((await client.closed).code, 1011);
    isAway = false;
    using next = await CollectionClient.collect(door.url, [door.chain.privateGateway]);
    await next.collectNext();
    await door.emptied();
  });

  it('ends with 1011 when it cannot list', async () => {
    await using door = await openCollectionDoor({
      objects: (objects) => ({
        put: (key, body, options) => objects.put(key, body, options),
        putUnless: (...parameters) => objects.putUnless(...parameters),
        get: (key) => objects.get(key),
        find: (key) => objects.find(key),
        // biome-ignore lint/correctness/useYield: it fails before its first entry
        list: async function* () {
          throw new StoreError('STORE_AWAY', 'Away');
        },
        delete: (key, version) => objects.delete(key, version),
      }),
    });
    using client = await CollectionClient.collect(door.url, [door.chain.privateGateway]);
    assert.equal((await client.closed).code, 1011);
  });
});
