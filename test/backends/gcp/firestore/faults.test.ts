/** Records whose Firestore is away, slow, busy, or answers into a broken connection. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { openFirestoreRecords } from '../../../../src/backends/gcp/firestore/open-firestore.ts';
import { StoreError } from '../../../../src/gateway/ports.ts';
import { machineClock, machineRandom } from '../../../../src/machine.ts';
import { TestBounds } from '../../../support/call-bounds.ts';
import {
  type FirestoreEmulator,
  needsFirestore,
  newProject,
  startFirestore,
} from '../../../support/firestore-emulator.ts';
import { openFirestoreRoom } from '../../../support/firestore-records.ts';
import type { Fate, GrpcProxy } from '../../../support/grpc-proxy.ts';
import { startGrpcProxy } from '../../../support/grpc-proxy.ts';

const SHORT = { attempt: 500, total: 1000 };

const isAway = (error: unknown) => error instanceof StoreError && error.code === 'STORE_AWAY';

/** Has these fates befall the next calls of the method; later ones pass. */
function next(proxy: GrpcProxy, method: string, ...fates: Fate[]): void {
  proxy.decide = (called) => (called === method ? (fates.shift() ?? 'pass') : 'pass');
}

suite('Faults of Firestore', needsFirestore(), () => {
  let emulator: FirestoreEmulator;
  before(async () => {
    emulator = await startFirestore();
  });
  after(() => emulator[Symbol.asyncDispose]());

  for (const trouble of ['hangs', 'refuses connections', 'breaks connections', 'is out of quota'] as const) {
    test(`where it ${trouble}, all fails within the bound, and goes well once that is over`, async () => {
      const bounds = new TestBounds();
      await using room = await openFirestoreRoom(emulator.host, bounds);
      const { records, proxy } = room;
      await records.put('configuration', 'a', { n: 1 });
      const { version } = (await records.get('configuration', 'a')) as { version: string };
      bounds.drawIn(SHORT);
      if (trouble === 'refuses connections') {
        await proxy.goAway();
      } else {
        const quota = { status: status.RESOURCE_EXHAUSTED, message: 'Quota exceeded.' };
        const fate: Fate = trouble === 'hangs' ? 'hang' : trouble === 'breaks connections' ? 'cut' : quota;
        proxy.decide = () => fate;
      }
      const operations = [
        () => records.get('configuration', 'a'),
        () => records.put('configuration', 'b', {}),
        () => records.create('configuration', 'b', {}),
        () => records.replace('configuration', 'a', version, {}),
        () => records.delete('configuration', 'b'),
        () => records.delete('configuration', 'a', version),
        () => Array.fromAsync(records.list('configuration')),
        () => records.check(),
      ];
      // Without a bound they would never end.
      await Promise.all(operations.map((operation) => assert.rejects(operation, isAway)));

      bounds.letOut();
      proxy.decide = () => 'pass';
      if (trouble === 'refuses connections') {
        await proxy.comeBack();
      }
      assert.deepEqual((await records.get('configuration', 'a'))?.fields, { n: 1 });
    });
  }

  test('contention is waited out', async () => {
    await using room = await openFirestoreRoom(emulator.host);
    const { records, proxy } = room;
    const busy = { status: status.ABORTED, message: 'Too much contention on these documents.' };
    next(proxy, 'Commit', busy, busy, busy);
    assert.equal(await records.create('cca-claims', 'a', { n: 1 }), true);
    assert.equal(proxy.counts['Commit'], 4);
    assert.equal(proxy.counts['BatchGetDocuments'], undefined);
  });

  test('a creation whose answer was lost is known as ours', async () => {
    await using room = await openFirestoreRoom(emulator.host);
    const { records, proxy } = room;
    next(proxy, 'Commit', 'lose-answer');
    assert.equal(await records.create('single-use-tokens', 'a', { n: 1 }), true);
    assert.equal(proxy.counts['Commit'], 2);
    assert.equal(await records.create('single-use-tokens', 'a', { n: 1 }), false);
  });

  test("a creation that never arrived is not taken for another's", async () => {
    await using room = await openFirestoreRoom(emulator.host);
    const { records, proxy } = room;
    const other = await room.another();
    let calls = 0;
    proxy.decide = async (method) => {
      if (method !== 'Commit' || ++calls > 1) {
        return 'pass';
      }
      assert.equal(await other.create('single-use-tokens', 'a', { n: 1 }), true);
      return 'cut';
    };
    assert.equal(await records.create('single-use-tokens', 'a', { n: 1 }), false);
    assert.equal(calls, 2);
  });

  test('a replacement whose answer was lost is known as ours; one that was overtaken is not', async () => {
    await using room = await openFirestoreRoom(emulator.host);
    const { records, proxy } = room;
    const other = await room.another();
    await records.put('cca-claims', 'a', { n: 0 });
    const first = (await records.get('cca-claims', 'a')) as { version: string };
    next(proxy, 'Commit', 'lose-answer');
    assert.equal(await records.replace('cca-claims', 'a', first.version, { n: 1 }), true);

    const second = (await records.get('cca-claims', 'a')) as { version: string };
    let calls = 0;
    proxy.decide = async (method) => {
      if (method !== 'Commit' || ++calls > 1) {
        return 'pass';
      }
      assert.equal(await other.replace('cca-claims', 'a', second.version, { n: 2 }), true);
      return 'cut';
    };
    assert.equal(await records.replace('cca-claims', 'a', second.version, { n: 3 }), false);
    assert.deepEqual((await records.get('cca-claims', 'a'))?.fields, { n: 2 });
  });

  test("a deletion by version whose answer was lost is nobody's for certain, and told so", async () => {
    await using room = await openFirestoreRoom(emulator.host);
    const { records, proxy } = room;
    await records.put('cca-claims', 'a', { n: 0 });
    const { version } = (await records.get('cca-claims', 'a')) as { version: string };
    next(proxy, 'Commit', 'lose-answer');
    await assert.rejects(records.delete('cca-claims', 'a', version), isAway);
    assert.equal(await records.get('cca-claims', 'a'), undefined);
  });

  test('a list whose page breaks off in the middle is read to its end', async () => {
    await using room = await openFirestoreRoom(emulator.host);
    const { records, proxy } = room;
    await Promise.all(['a', 'b', 'c'].map((key) => records.put('blocked-peers', key, {})));
    next(proxy, 'RunQuery', 'lose-answer');
    const listed = await Array.fromAsync(records.list('blocked-peers'));
    assert.deepEqual(
      listed.map(({ key }) => key),
      ['a', 'b', 'c'],
    );
    assert.equal(proxy.counts['RunQuery'], 2);
  });

  test('a start waits for Firestore, and tells of it', async () => {
    await using proxy = await startGrpcProxy(emulator.host);
    await proxy.goAway();
    const warnings: string[] = [];
    const opening = openFirestoreRecords({
      ...{ project: newProject(), database: '(default)', emulator: proxy.host, bounds: SHORT },
      ...{ clock: machineClock, random: machineRandom },
      log: {
        warn(_, message) {
          warnings.push(message);
          if (warnings.length === 1) {
            void proxy.comeBack();
          }
        },
      },
    });
    await using records = await opening;
    await records.check();
    assert.match(warnings[0] as string, /^Firestore is away/);
  });

  for (const [name, code] of [
    ['there is no such database', status.NOT_FOUND],
    ['the credentials do not allow it', status.PERMISSION_DENIED],
  ] as const) {
    test(`a start ends at once, in one line, where ${name}`, async () => {
      await using proxy = await startGrpcProxy(emulator.host);
      proxy.decide = () => ({ status: code, message: 'The database (default)\ncannot be used' });
      const opening = openFirestoreRecords({
        ...{ project: 'no-such-project', database: '(default)', emulator: proxy.host },
        ...{ clock: machineClock, random: machineRandom },
      });
      await assert.rejects(opening, ({ message }: Error) => {
        assert.match(message, /^Firestore database projects\/no-such-project\/databases\/\(default\) cannot be used: /);
        assert.ok(!message.includes('\n'));
        return true;
      });
      assert.equal(proxy.counts['BatchGetDocuments'], 1);
    });
  }
});
