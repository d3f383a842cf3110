/** Ports that tell of their calls, and change nothing of them. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { type ObjectStore, StoreError } from '../../src/gateway/ports.ts';
import type { BackingCall } from '../../src/telemetry/gateway-metrics.ts';
import { measuredPorts } from '../../src/telemetry/measured-ports.ts';
import { watchedJournal } from '../../src/telemetry/watched-journal.ts';
import { temporaryBackends } from '../support/local-backends.ts';

const BACKENDS = { objects: 'gcs', records: 'local', signals: 'local', keys: 'local' };
const DAY = 86_400_000;

async function openMeasured(t: TestContext, objects?: ObjectStore) {
  const stores = await temporaryBackends();
  t.after(() => stores[Symbol.asyncDispose]());
  const calls: BackingCall[] = [];
  const { backends } = stores;
  const ports = { ...backends, work: backends.work, ...(objects && { objects }) };
  const measured = measuredPorts(ports, BACKENDS, (call) => calls.push(call));
  const told = () => calls.splice(0).map(({ port, backend, operation, code }) => [port, backend, operation, code]);
  return { measured, calls, told, backends };
}

describe('A measured port', () => {
  test('gives what the port gives, and tells of each call once', async (t) => {
    const { measured, told } = await openMeasured(t);
    const { objects, records, work } = measured;
    const entry = await objects.put('a/1', Buffer.from('one'), { expiry: Date.now() + DAY });
    assert.equal((await objects.get('a/1'))?.version, entry.version);
    assert.deepEqual(told(), [
      ['objects', 'gcs', 'put', undefined],
      ['objects', 'gcs', 'get', undefined],
    ]);
    await records.create('configuration', 'x', { value: 1 });
    await work.addMissing('cargo', [{ key: 'k', group: 'g', size: 1, expiry: Date.now() + DAY }]);
    const [item] = await work.take('cargo', { count: 1, lease: DAY, room: () => 1 }, new AbortController().signal);
    assert.ok(item && (await work.finish('cargo', item)));
    assert.deepEqual(told(), [
      ['records', 'local', 'create', undefined],
      ['work', 'local', 'addMissing', undefined],
      ['work', 'local', 'finish', undefined],
    ]);
  });

  test('tells of a list once it is over, also where its reader has left early, and not of what the reader did', async (t) => {
    const { measured, calls, told } = await openMeasured(t);
    for (const key of ['a/1', 'a/2', 'a/3']) {
      await measured.objects.put(key, Buffer.from('x'), { expiry: Date.now() + DAY });
    }
    told();
    const start = performance.now();
    let reading = 0;
    for await (const _entry of measured.objects.list('a/')) {
      const began = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 100));
      reading = performance.now() - began;
      break;
    }
    const whole = performance.now() - start;
    assert.equal(calls.length, 1);
    assert.ok(
      (calls[0]?.took ?? whole) <= whole - reading,
      `${calls[0]?.took} of ${whole} ms, ${reading} of the reader`,
    );
    assert.equal((await Array.fromAsync(measured.objects.list('a/'))).length, 3);
    assert.deepEqual(told(), [
      ['objects', 'gcs', 'list', undefined],
      ['objects', 'gcs', 'list', undefined],
    ]);
  });

  test('tells the code of a failure, and throws it on', async (t) => {
    const away = new StoreError('STORE_AWAY', 'Away');
    const broken = new TypeError('Broken');
    const objects = {
      put: () => Promise.reject(away),
      get: () => Promise.reject(broken),
      async *list() {
        yield await Promise.reject(away);
      },
      delete: async () => true,
    } as unknown as ObjectStore;
    const { measured, told } = await openMeasured(t, objects);
    await assert.rejects(measured.objects.put('a', Buffer.alloc(0), { expiry: 0 }), away);
    await assert.rejects(measured.objects.get('a'), broken);
    await assert.rejects(Array.fromAsync(measured.objects.list('a')), away);
    assert.deepEqual(told(), [
      ['objects', 'gcs', 'put', 'STORE_AWAY'],
      ['objects', 'gcs', 'get', 'OTHER'],
      ['objects', 'gcs', 'list', 'STORE_AWAY'],
    ]);
  });

  test('is left alone where looking at the clock would cost as much as the call', async (t) => {
    const { measured, backends } = await openMeasured(t);
    assert.equal(measured.meters, backends.meters);
  });
});

test('A watched journal tells of everything, and keeps only what somebody could ask for', () => {
  const kept: unknown[] = [];
  const told: unknown[] = [];
  const journal = watchedJournal({ record: (entry) => kept.push(entry), find: async () => [] }, [
    (entry) => told.push(entry),
  ]);
  const readable = { event: 'refused', trace: 't', parcel: 'p', code: 'X' } as const;
  const rubbish = { event: 'refused', trace: 't', code: 'RAMF_MALFORMED' } as const;
  journal.record(readable);
  journal.record(rubbish);
  assert.deepEqual(kept, [readable]);
  assert.deepEqual(told, [readable, rubbish]);
});
