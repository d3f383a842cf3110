/** What the object store in Cloud Storage does when the service, or the way to it, fails. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openGcs } from '../../../../src/backends/gcp/gcs/open-gcs.ts';
import { StoreError } from '../../../../src/gateway/ports.ts';
import type { Fault, Operation } from '../../../emulators/gcs/faults.ts';
import { startGcsEmulator } from '../../../emulators/gcs/gcs-emulator.ts';
import { BUCKET, type EmulatedObjects, emulatedObjects } from '../../../support/gcs-objects.ts';

const HOUR = 3_600_000;
const BODY = Buffer.from('parcel');
const UNAVAILABLE: Fault = { kind: 'status', status: 503, reason: 'backendError' };
const ALL: readonly Operation[] = ['objects.insert', 'objects.get', 'objects.media', 'objects.list', 'objects.delete'];

const put = ({ objects, clock }: EmulatedObjects) => objects.put('m/a', BODY, { expiry: clock.now() + HOUR });

const isStoreError =
  (code: StoreError['code'], message = /./) =>
  (error: unknown) => {
    assert.ok(error instanceof StoreError, `${error}`);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  };

// Retries wait for a second or two: the tests wait together.
describe('With Cloud Storage at fault, the object store', { concurrency: true }, () => {
  const passing: [name: string, fault: Fault][] = [
    ['an answer of 503', UNAVAILABLE],
    ['an answer of 429', { kind: 'status', status: 429, reason: 'rateLimitExceeded' }],
    ['a dropped connection', { kind: 'drop' }],
  ];
  for (const [name, fault] of passing) {
    test(`tries again after ${name}`, async () => {
      await using under = await emulatedObjects();
      const { objects, emulator } = under;
      for (const operation of ALL) {
        emulator.faults.next(operation, fault);
      }
      const { version } = await put(under);
      assert.deepEqual((await objects.get('m/a'))?.body, BODY);
      assert.equal((await Array.fromAsync(objects.list('m/'))).length, 1);
      assert.equal(await objects.delete('m/a', version), true);
      // A body that did not come is asked for again together with its metadata.
      assert.deepEqual(emulator.operations.toSorted(), [...ALL, ...ALL, 'objects.get'].toSorted());
    });
  }

  test('puts once more where the answer was lost, and gives the version that stayed', async () => {
    await using under = await emulatedObjects();
    under.emulator.faults.next('objects.insert', { kind: 'drop-answer' });
    const { version } = await put(under);
    assert.equal((await under.objects.get('m/a'))?.version, version);
    assert.equal(under.emulator.bucket(BUCKET).size, 1);
  });

  test('deletes where the answer was lost, and claims nothing that it cannot know', async () => {
    await using under = await emulatedObjects();
    const { version } = await put(under);
    under.emulator.faults.next('objects.delete', { kind: 'drop-answer' });
    assert.equal(await under.objects.delete('m/a', version), false);
    assert.equal(under.emulator.bucket(BUCKET).size, 0);
  });

  test('is away where the service answers nothing, within its patience', async () => {
    await using under = await emulatedObjects({ requestTimeout: 10_000, patience: 300 });
    under.emulator.faults.always(ALL, { kind: 'silence' });
    const { objects } = under;
    const away = isStoreError('STORE_AWAY', /in 300 ms/);
    await Promise.all([
      assert.rejects(put(under), away),
      assert.rejects(objects.get('m/a'), away),
      assert.rejects(Array.fromAsync(objects.list('m/')), away),
      assert.rejects(objects.delete('m/a'), away),
      assert.rejects(objects.check(), away),
    ]);
  });

  test('is away while the service answers 503, and works once it is back', async () => {
    await using under = await emulatedObjects({ patience: 3000 });
    under.emulator.faults.always(ALL, UNAVAILABLE);
    await assert.rejects(put(under), isStoreError('STORE_AWAY'));
    await assert.rejects(under.objects.check(), isStoreError('STORE_AWAY'));
    under.emulator.faults.clear();
    await under.objects.check();
    await put(under);
    assert.ok(await under.objects.get('m/a'));
  });

  test('is full where a quota is spent', async () => {
    await using under = await emulatedObjects();
    under.emulator.faults.next('objects.insert', { kind: 'status', status: 403, reason: 'quotaExceeded' });
    await assert.rejects(put(under), isStoreError('STORE_FULL', /quotaExceeded/));
    assert.deepEqual(under.emulator.operations, ['objects.insert']);
  });

  test('does not try again what is forbidden', async () => {
    await using under = await emulatedObjects();
    for (const operation of ALL) {
      under.emulator.faults.next(operation, { kind: 'status', status: 403, reason: 'forbidden' });
    }
    await assert.rejects(put(under), isStoreError('STORE_AWAY', /forbidden/));
    await assert.rejects(under.objects.get('m/a'), isStoreError('STORE_AWAY'));
    await assert.rejects(Array.fromAsync(under.objects.list('')), isStoreError('STORE_AWAY'));
    await assert.rejects(under.objects.delete('m/a'), isStoreError('STORE_AWAY'));
    assert.deepEqual(under.emulator.operations.toSorted(), ALL.toSorted());
  });

  test('puts once more what changed on its way up', async () => {
    await using under = await emulatedObjects();
    under.emulator.faults.next('objects.insert', { kind: 'corrupt' });
    await put(under);
    assert.deepEqual(under.emulator.operations, ['objects.insert', 'objects.insert']);
    assert.deepEqual((await under.objects.get('m/a'))?.body, BODY);
  });

  test('acknowledges nothing that is kept otherwise than it was given, and leaves none of it', async () => {
    await using under = await emulatedObjects();
    under.emulator.faults.next('objects.insert', { kind: 'keep-corrupt' });
    await assert.rejects(put(under), isStoreError('STORE_AWAY', /other octets/));
    assert.equal(under.emulator.bucket(BUCKET).size, 0);
  });

  const damaged: [name: string, fault: Fault][] = [
    ['changed on its way down', { kind: 'corrupt' }],
    ['broke off', { kind: 'drop-within' }],
    ['came without a checksum', { kind: 'no-checksum' }],
  ];
  for (const [name, fault] of damaged) {
    test(`reads once more what ${name}, and never gives it back, nor deletes it`, async () => {
      await using under = await emulatedObjects();
      const { objects, emulator } = under;
      await put(under);
      emulator.faults.next('objects.media', fault);
      assert.deepEqual((await objects.get('m/a'))?.body, BODY);
      emulator.faults.always(['objects.media'], fault);
      await assert.rejects(objects.get('m/a'), isStoreError('STORE_AWAY', /whole/));
      emulator.faults.clear();
      assert.deepEqual((await objects.get('m/a'))?.body, BODY);
    });
  }

  test('starts once the bucket answers, and says meanwhile why it waits', async () => {
    await using emulator = await startGcsEmulator({ bucket: BUCKET });
    emulator.faults.next('objects.list', UNAVAILABLE, UNAVAILABLE, UNAVAILABLE);
    const warnings: string[] = [];
    await openGcs({
      bucket: BUCKET,
      clock: Date,
      maxAge: HOUR,
      apiEndpoint: emulator.url,
      patience: 500,
      log: { warn: (_fields, message) => warnings.push(message) },
    });
    assert.ok(emulator.operations.length > 3, `${emulator.operations}`);
    assert.ok(warnings.length > 0 && warnings.every((message) => /waiting for it/.test(message)));
  });

  test('does not start without its bucket, and says so in one line', async () => {
    await using emulator = await startGcsEmulator({ bucket: BUCKET });
    const open = (bucket: string, patience = {}) =>
      openGcs({ bucket, clock: Date, maxAge: HOUR, apiEndpoint: emulator.url, ...patience });
    await assert.rejects(open('other'), /^Error: GCS_BUCKET "other" cannot be used: .*does not exist\.$/);
    assert.deepEqual(emulator.operations, ['objects.list']);
    emulator.faults.always(['objects.list'], { kind: 'silence' });
    await assert.rejects(
      open(BUCKET, { patience: 300, startPatience: 200 }),
      /^Error: GCS_BUCKET "messages" cannot be used: .* in 300 ms$/,
    );
  });
});
