/** How much each private gateway has among the held parcels, and what it costs to know. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeldCensus } from '../../src/gateway/held-census.ts';
import { heldKey } from '../../src/gateway/held-key.ts';
import { ParcelStorage } from '../../src/gateway/parcel-storage.ts';
import type { ObjectStore } from '../../src/gateway/ports.ts';
import { DAY, SECOND } from '../../src/gateway/time.ts';
import { openGatewayRoom } from '../support/gateway-room.ts';
import { ManualClock } from '../support/manual-clock.ts';

const PARCELS = 25;

/** Mailboxes and senders need only be different here. */
async function openRoom() {
  const room = await openGatewayRoom(new ManualClock(Date.now()));
  const { objects } = room.backends;
  const expiry = room.clock.now() + DAY;
  const hold = (sender: string, digest: string, octets = 10) =>
    objects.put(heldKey('mailbox', sender, digest), Buffer.alloc(octets), { expiry, metadata: {} });
  return { room, objects, hold, clock: room.clock, [Symbol.asyncDispose]: () => room[Symbol.asyncDispose]() };
}

/** The same store, with its lists of held parcels counted. */
function counted(objects: ObjectStore) {
  const calls = { lists: 0 };
  const list: ObjectStore['list'] = (prefix, ...rest) => {
    calls.lists += prefix === 'held/' ? 1 : 0;
    return objects.list(prefix, ...rest);
  };
  return {
    calls,
    objects: new Proxy(objects, { get: (store, name) => (name === 'list' ? list : bound(store, name)) }),
  };
}

function bound(store: ObjectStore, name: string | symbol): unknown {
  const member = Reflect.get(store, name);
  return typeof member === 'function' ? member.bind(store) : member;
}

test('All held parcels are looked through once, for however many senders', async () => {
  await using held = await openRoom();
  const { calls, objects } = counted(held.objects);
  const census = new HeldCensus({ objects, clock: held.clock });
  for (let number = 0; number < PARCELS; number++) {
    await held.hold(`sender ${number % 5}`, `${number}`);
  }
  const senders = Array.from({ length: 6 }, (_, number) => `sender ${number}`);
  const amounts = await Promise.all(senders.map((sender) => census.amountOf(sender)));
  assert.deepEqual(amounts, [...Array(5).fill({ count: 5, octets: 50 }), { count: 0, octets: 0 }]);
  for (const sender of senders) {
    await census.amountOf(sender);
  }
  assert.equal(calls.lists, 1);
  // Few are counted again soon, and many at their time.
  held.clock.advance(PARCELS - 1);
  await census.amountOf('sender 0');
  assert.equal(calls.lists, 1);
  held.clock.advance(1);
  await census.amountOf('sender 0');
  assert.equal(calls.lists, 2);
});

test('What this process holds and lets go counts at once, also while all are counted', async () => {
  await using held = await openRoom();
  for (let number = 0; number < PARCELS; number++) {
    await held.hold('sender', `${number}`);
  }
  const begun = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const objects = new Proxy(held.objects, {
    get: (store, name) =>
      name === 'list'
        ? async function* list(prefix: string) {
            yield* store.list(prefix);
            begun.resolve();
            await gate.promise;
          }
        : bound(store, name),
  });
  const census = new HeldCensus({ objects, clock: held.clock });
  const counting = census.amountOf('sender');
  await begun.promise;
  census.change('sender', 1, 7);
  census.change('other', 1, 3);
  gate.resolve();
  assert.deepEqual(await counting, { count: PARCELS + 1, octets: 10 * PARCELS + 7 });
  assert.deepEqual(await census.amountOf('other'), { count: 1, octets: 3 });
  census.change('other', -1, 3);
  census.change('sender', -1, 10);
  assert.deepEqual(await census.amountOf('other'), { count: 0, octets: 0 });
  assert.deepEqual(await census.amountOf('sender'), { count: PARCELS, octets: 10 * PARCELS - 3 });
});

test('A count that fails is made again for the next who asks', async () => {
  await using held = await openRoom();
  await held.hold('sender', '1');
  let isAway = true;
  const objects = new Proxy(held.objects, {
    get: (store, name) => {
      if (name === 'list' && isAway) {
        throw new Error('Store is away');
      }
      return bound(store, name);
    },
  });
  const census = new HeldCensus({ objects, clock: held.clock });
  await assert.rejects(census.amountOf('sender'), /away/);
  isAway = false;
  assert.deepEqual(await census.amountOf('sender'), { count: 1, octets: 10 });
});

test('Outboxes that are full of held parcels have them looked through once in a while, and take no more', async () => {
  await using held = await openRoom();
  const { calls, objects } = counted(held.objects);
  const { backends, clock } = held.room;
  const storage = new ParcelStorage({
    ...backends,
    objects,
    clock,
    outboxQuota: { count: PARCELS, octets: 1024 ** 2 },
  });
  const parcel = (digest: string) => ({
    digest,
    bytes: Buffer.alloc(10),
    expiry: clock.now() + DAY,
    metadata: { trace: 'test' },
  });
  const senders = ['one', 'two', 'three'];
  for (const sender of senders) {
    for (let number = 0; number < PARCELS; number++) {
      await storage.outbox.hold(sender, 'mailbox', parcel(`${number}`));
    }
  }
  const before = calls.lists;
  clock.advance(10 * SECOND);
  for (let attempt = 0; attempt < 5; attempt++) {
    for (const sender of senders) {
      await assert.rejects(storage.outbox.hold(sender, 'mailbox', parcel('more')), { code: 'OUTBOX_FULL' });
    }
  }
  assert.equal(calls.lists, before + 1);
  const [oldest] = await Array.fromAsync(objects.list('held/mailbox/one/'));
  assert.ok(oldest);
  await storage.outbox.letGo('one', oldest);
  await storage.outbox.hold('one', 'mailbox', parcel('more'));
  await assert.rejects(storage.outbox.hold('one', 'mailbox', parcel('most')), { code: 'OUTBOX_FULL' });
});
