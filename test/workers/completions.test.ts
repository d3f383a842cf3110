/** How parcels that were sent on are brought to their end. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { fingerprintOf } from '../../src/gateway/sent-memory.ts';
import { Completions, type SentParcelAtRest } from '../../src/workers/internet-delivery/completions.ts';
import { openGatewayRoom } from '../support/gateway-room.ts';

const PEER = `0${'a'.repeat(64)}`;
const HOUR = 3_600_000;

/** Parcels in hand, of which the Internet node has each. */
async function setting(t: TestContext, count: number) {
  const room = await openGatewayRoom();
  t.after(() => room[Symbol.asyncDispose]());
  const { outbox, internetQueue: queue, sent } = room.storage;
  const expiry = room.clock.now() + HOUR;
  for (let index = 0; index < count; index++) {
    const at = { digest: `${index}`, bytes: Buffer.from(`parcel ${index}`), expiry, metadata: {} };
    await outbox.put(PEER, at, 'node.example');
  }
  const options = { count, lease: HOUR, room: () => count };
  const items = await queue.take(options, AbortSignal.timeout(10_000));
  assert.equal(items.length, count);
  const parcels = items.map(async (item): Promise<SentParcelAtRest> => {
    const stored = await outbox.read(item.key);
    assert.ok(stored);
    const digest = item.key.split('/').at(-1) as string;
    return { item, peer: PEER, digest, fingerprints: fingerprintOf(stored.body), entry: stored };
  });
  const left = async () => ({
    parcels: (await Array.fromAsync(room.backends.objects.list('outbox/'))).length,
    work: (await Array.fromAsync(queue.list('node.example'))).length,
  });
  return { outbox, queue, sent, parcels: await Promise.all(parcels), left };
}

test('parcels are remembered as sent before they are deleted and their work ends, and none is left', async (t) => {
  const { parcels, left, ...parts } = await setting(t, 3);
  const remembered: boolean[] = [];
  // The same parcel may have come again, and another worker take it as soon as this work ends.
  const queue = Object.assign(Object.create(parts.queue), {
    async finish(item: Parameters<typeof parts.queue.finish>[0]) {
      const parcel = parcels.find(({ item: { key } }) => key === item.key) as SentParcelAtRest;
      remembered.push(await parts.sent.includes(parcel.digest, parcel.fingerprints));
      return await parts.queue.finish(item);
    },
  });
  const outbox = Object.assign(Object.create(parts.outbox), {
    async remove(...[peer, entry]: Parameters<typeof parts.outbox.remove>) {
      const parcel = parcels.find(({ entry: { key } }) => key === entry.key) as SentParcelAtRest;
      remembered.push(await parts.sent.includes(parcel.digest, parcel.fingerprints));
      await parts.outbox.remove(peer, entry);
    },
  });
  const completions = new Completions({ ...parts, outbox, queue });
  await Promise.all(parcels.map((parcel) => completions.add(parcel)));
  assert.deepEqual(remembered, Array(6).fill(true));
  assert.deepEqual(await left(), { parcels: 0, work: 0 });
});

test('one that cannot be remembered stays, and the others come to their end', async (t) => {
  const { parcels, left, ...parts } = await setting(t, 3);
  const sent = Object.assign(Object.create(parts.sent), {
    async add(...[digest, fingerprint, expiry]: Parameters<typeof parts.sent.add>) {
      if (digest === '1') {
        throw new Error('The store is away');
      }
      await parts.sent.add(digest, fingerprint, expiry);
    },
    async addAll(all: Parameters<typeof parts.sent.addAll>[0]) {
      assert.ok(all.some(({ digest }) => digest === '1'));
      throw new Error('The store is away');
    },
  });
  const completions = new Completions({ ...parts, sent });
  const outcomes = await Promise.allSettled(parcels.map((parcel) => completions.add(parcel)));
  const failed = parcels.filter((_, index) => outcomes[index]?.status === 'rejected');
  assert.deepEqual(
    failed.map(({ digest }) => digest),
    ['1'],
  );
  assert.deepEqual(await left(), { parcels: 1, work: 1 });
});

test('a lone one waits for others only so long, and many do not wait', async (t) => {
  const { parcels, left, ...parts } = await setting(t, 201);
  const completions = new Completions(parts);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const [lone, ...many] = parcels as [SentParcelAtRest, ...SentParcelAtRest[]];
  const first = completions.add(lone);
  await turn();
  assert.equal((await left()).parcels, 201, 'it waits');
  t.mock.timers.tick(50);
  await first;
  assert.equal((await left()).parcels, 200);
  // The first of these begins to wait; no time goes by.
  const begun = completions.add(many[0] as SentParcelAtRest);
  await turn();
  await Promise.all([begun, ...many.slice(1).map((parcel) => completions.add(parcel))]);
  assert.deepEqual(await left(), { parcels: 0, work: 0 });
});
