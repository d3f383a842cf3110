/** How records are in Firestore: as its own client sees them, and how races are decided. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { Firestore, Timestamp } from '@google-cloud/firestore';
import { type FirestoreEmulator, needsFirestore, startFirestore } from '../../../support/firestore-emulator.ts';
import { openFirestoreRoom } from '../../../support/firestore-records.ts';
import type { Fate, GrpcProxy } from '../../../support/grpc-proxy.ts';

/** Has the calls of the method wait until so many are there. */
function gather(proxy: GrpcProxy, method: string, count: number): void {
  const all = Promise.withResolvers<'pass'>();
  let waiting = 0;
  proxy.decide = (called) => {
    if (called !== method) {
      return 'pass';
    }
    if (++waiting === count) {
      all.resolve('pass');
    }
    return all.promise;
  };
}

suite('Records in Firestore', needsFirestore(), () => {
  let emulator: FirestoreEmulator;
  before(async () => {
    emulator = await startFirestore();
  });
  after(() => emulator[Symbol.asyncDispose]());

  test("are documents that Google's own client reads: octets, and a timestamp for a TTL policy", async () => {
    await using room = await openFirestoreRoom(emulator.host);
    const { records, clock, project } = room;
    const expiry = clock.now() + 1234.5;
    await records.put('sent-parcels', 'a/b.c', { text: 'x', octets: Buffer.from([1, 2]), n: 7, half: 0.5 }, expiry);
    const client = new Firestore({
      ...{ projectId: project, host: emulator.host, ssl: false },
      // It looks for no credentials then.
      clientOptions: { universeDomain: 'googleapis.com' },
    });
    const { docs } = await client.collection('sent-parcels').get();
    await client.terminate();
    assert.deepEqual(
      docs.map(({ id }) => id),
      ['ka.1b.0c'],
    );
    const { fields, expiry: end, mark, ...others } = docs[0]?.data() ?? {};
    assert.deepEqual(fields, { text: 'x', octets: Buffer.from([1, 2]), n: 7, half: 0.5 });
    assert.deepEqual(end, Timestamp.fromMillis(Math.floor(expiry)));
    assert.equal(mark.length, 12);
    assert.deepEqual(others, {});
  });

  test('cost one call each, an expired one that is created anew three', async () => {
    await using room = await openFirestoreRoom(emulator.host);
    const { records, proxy, clock } = room;
    const cost = async (action: () => Promise<unknown>) => {
      proxy.resetCounts();
      await action();
      return { ...proxy.counts };
    };
    const expiry = clock.now() + 1000;
    assert.deepEqual(await cost(() => records.create('cca-claims', 'a', {}, expiry)), { Commit: 1 });
    assert.deepEqual(await cost(() => records.get('cca-claims', 'a')), { BatchGetDocuments: 1 });
    assert.deepEqual(await cost(() => records.put('cca-claims', 'b', {})), { Commit: 1 });
    assert.deepEqual(await cost(() => Array.fromAsync(records.list('cca-claims'))), { RunQuery: 1 });
    const { version } = (await records.get('cca-claims', 'a')) as { version: string };
    assert.deepEqual(await cost(() => records.replace('cca-claims', 'a', version, {}, expiry)), { Commit: 1 });
    assert.deepEqual(await cost(() => records.replace('cca-claims', 'a', version, {}, expiry)), { Commit: 1 });
    assert.deepEqual(await cost(() => records.delete('cca-claims', 'b')), { Commit: 1 });
    clock.advance(1001);
    const again = await cost(() => records.create('cca-claims', 'a', {}));
    assert.deepEqual(again, { Commit: 2, BatchGetDocuments: 1 });
  });

  test("that several create while each has seen that there is nothing are one's", async () => {
    await using room = await openFirestoreRoom(emulator.host);
    gather(room.proxy, 'Commit', 8);
    const creations = Array.from({ length: 8 }, (_, n) => room.records.create('single-use-tokens', 'a', { n }));
    const results = await Promise.all(creations);
    assert.equal(results.filter(Boolean).length, 1);
    assert.deepEqual((await room.records.get('single-use-tokens', 'a'))?.fields, { n: results.indexOf(true) });
  });

  test("that expired, and that several create anew while each has seen that, are one's", async () => {
    await using room = await openFirestoreRoom(emulator.host);
    const { records, proxy, clock } = room;
    await records.put('cca-claims', 'a', { n: -1 }, clock.now());
    clock.advance(1);
    // All learn that there is a document, then all read it, and only when all would replace it do they so.
    let commits = 0;
    const all = Promise.withResolvers<void>();
    proxy.decide = async (method): Promise<Fate> => {
      if (method === 'Commit' && ++commits > 8) {
        if (commits === 16) {
          all.resolve();
        }
        await all.promise;
      }
      return 'pass';
    };
    const results = await Promise.all(Array.from({ length: 8 }, (_, n) => records.create('cca-claims', 'a', { n })));
    assert.ok(commits >= 16);
    assert.equal(results.filter(Boolean).length, 1);
    assert.deepEqual((await records.get('cca-claims', 'a'))?.fields, { n: results.indexOf(true) });
  });

  test("that two processes replace at once keep one's", async () => {
    await using room = await openFirestoreRoom(emulator.host);
    const { records, proxy } = room;
    await records.put('cca-claims', 'a', { n: -1 });
    const { version } = (await records.get('cca-claims', 'a')) as { version: string };
    gather(proxy, 'Commit', 2);
    const results = await Promise.all([0, 1].map((n) => records.replace('cca-claims', 'a', version, { n })));
    assert.deepEqual([...results].sort(), [false, true]);
    assert.deepEqual((await records.get('cca-claims', 'a'))?.fields, { n: results.indexOf(true) });
  });
});
