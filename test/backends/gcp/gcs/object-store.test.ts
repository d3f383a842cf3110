/** How objects lie in the bucket, what each operation costs, and what happens when operations meet. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BUCKET, emulatedObjects } from '../../../support/gcs-objects.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const BODY = Buffer.from('parcel');

describe('A bucket of Cloud Storage', () => {
  test('takes one request to put, to list a page and to delete, two to get, and three to replace', async () => {
    await using under = await emulatedObjects();
    const { objects, emulator, clock } = under;
    const counted = async (operation: () => Promise<unknown>) => {
      emulator.operations.length = 0;
      await operation();
      return emulator.operations.toSorted();
    };
    const put = () => objects.put('m/a', BODY, { expiry: clock.now() + HOUR });
    assert.deepEqual(await counted(put), ['objects.insert']);
    assert.deepEqual(await counted(put), ['objects.get', 'objects.insert', 'objects.insert']);
    assert.deepEqual(await counted(() => objects.get('m/a')), ['objects.get', 'objects.media']);
    assert.deepEqual(await counted(() => Array.fromAsync(objects.list('m/'))), ['objects.list']);
    const { version } = await put();
    assert.deepEqual(await counted(() => objects.delete('m/a', version)), ['objects.delete']);
    assert.deepEqual(await counted(() => objects.delete('m/a')), ['objects.delete']);
    assert.deepEqual(await counted(() => objects.delete('m/a', 'no generation')), []);
    assert.deepEqual(await counted(() => objects.check()), ['objects.list']);
  });

  test('lists 1,000 objects a request', async () => {
    await using under = await emulatedObjects();
    const { objects, emulator, clock } = under;
    const bucket = emulator.bucket(BUCKET);
    const custom = { arrival: '1', expiry: `${clock.now() + HOUR}`, callers: '{}' };
    for (let number = 0; number < 2001; number++) {
      bucket.insert({ name: `m/${number}`, metadata: custom }, BODY, new URLSearchParams());
    }
    assert.equal((await Array.fromAsync(objects.list('m/'))).length, 2001);
    assert.deepEqual(emulator.operations, ['objects.list', 'objects.list', 'objects.list']);
  });

  test('has the expiry of each object as its customTime, its content type and its checksum', async () => {
    await using under = await emulatedObjects();
    const { objects, emulator, clock } = under;
    const expiry = clock.now() + HOUR + 7;
    const { version } = await objects.put('m/a', BODY, { expiry });
    const stored = emulator.bucket(BUCKET).get('m/a', new URLSearchParams());
    assert.equal(Date.parse(stored.customTime as string), expiry);
    assert.equal(stored.contentType, 'application/octet-stream');
    assert.equal(`${stored.generation}`, version);
    assert.deepEqual(stored.body, BODY);
  });

  test('keeps nothing longer than it may, whatever the expiry', async () => {
    await using under = await emulatedObjects();
    const { objects, clock } = under;
    const latest = clock.now() + 180 * DAY;
    assert.equal((await objects.put('m/a', BODY, { expiry: latest + DAY })).expiry, latest);
    assert.equal((await objects.get('m/a'))?.expiry, latest);
    clock.advance(180 * DAY + 1);
    assert.equal(await objects.get('m/a'), undefined);
  });

  test('hides what expired before the lifecycle deletes it', async () => {
    await using under = await emulatedObjects();
    const { objects, emulator, clock } = under;
    await objects.put('m/a', BODY, { expiry: clock.now() + HOUR });
    await objects.put('m/b', BODY, { expiry: clock.now() + 3 * DAY });
    clock.advance(HOUR + 1);
    assert.equal(await objects.get('m/a'), undefined);
    assert.deepEqual(
      (await Array.fromAsync(objects.list(''))).map(({ key }) => key),
      ['m/b'],
    );
    const bucket = emulator.bucket(BUCKET);
    assert.equal(bucket.applyLifecycle(), 0);
    assert.equal(bucket.size, 2);
    clock.advance(DAY);
    assert.equal(bucket.applyLifecycle(), 1);
    assert.ok(await objects.get('m/b'));
  });

  test('gives metadata back that the client would change', async () => {
    await using under = await emulatedObjects();
    const metadata = { parcel: '{{projectId}}', sender: '{{{\\{{"', '{{projectId}}': '' };
    await under.objects.put('m/a', BODY, { expiry: under.clock.now() + HOUR, metadata });
    assert.deepEqual((await under.objects.get('m/a'))?.metadata, metadata);
  });

  test('takes no keys that the client would change, and no more metadata than it keeps', async () => {
    await using under = await emulatedObjects();
    const options = { expiry: under.clock.now() + HOUR };
    for (const key of ['m/{{projectId}}', '', 'ü', 'a\n', 'k'.repeat(513)]) {
      await assert.rejects(under.objects.put(key, BODY, options), TypeError);
      assert.equal(await under.objects.delete(key), false);
    }
    const metadata = { parcel: 'x'.repeat(8192) };
    await assert.rejects(under.objects.put('m/a', BODY, { ...options, metadata }), TypeError);
    assert.deepEqual(under.emulator.operations, []);
  });

  test('leaves objects alone that it did not put', async () => {
    await using under = await emulatedObjects();
    const bucket = under.emulator.bucket(BUCKET);
    bucket.insert({ name: 'm/none' }, BODY, new URLSearchParams());
    bucket.insert(
      { name: 'm/odd', metadata: { arrival: 'x', expiry: '9', callers: '{' } },
      BODY,
      new URLSearchParams(),
    );
    assert.deepEqual(await Array.fromAsync(under.objects.list('m/')), []);
    assert.equal(await under.objects.get('m/none'), undefined);
    assert.equal(await under.objects.get('m/odd'), undefined);
  });
});

describe('Where operations on an object of Cloud Storage meet', () => {
  test('an acknowledgement of the old version that comes after the new one spares it', async () => {
    await using under = await emulatedObjects();
    const { objects, emulator, clock } = under;
    const expiry = clock.now() + HOUR;
    const old = await objects.put('m/a', BODY, { expiry });
    const deletion = emulator.faults.hold('objects.delete');
    const deleted = objects.delete('m/a', old.version);
    await deletion.reached;
    await objects.put('m/a', Buffer.from('newer'), { expiry });
    deletion.release();
    assert.equal(await deleted, false);
    assert.equal((await objects.get('m/a'))?.body.toString(), 'newer');
  });

  test('a read gives one version whole, whichever comes in its middle', async () => {
    for (const held of ['objects.get', 'objects.media'] as const) {
      await using under = await emulatedObjects();
      const { objects, emulator, clock } = under;
      const expiry = clock.now() + HOUR;
      await objects.put('m/a', BODY, { expiry, metadata: { parcel: 'old' } });
      const other = held === 'objects.get' ? 'objects.media' : 'objects.get';
      const first = emulator.faults.hold(held);
      const second = emulator.faults.hold(other);
      const read = objects.get('m/a');
      await Promise.all([first.reached, second.reached]);
      // One of the two is answered before the replacement, the other after it.
      const before = emulator.answered(other);
      second.release();
      await before;
      const newer = await objects.put('m/a', Buffer.from('newer'), { expiry, metadata: { parcel: 'new' } });
      first.release();
      assert.deepEqual(await read, { ...newer, body: Buffer.from('newer') });
      // The replacement looked once, too.
      const looks = held === 'objects.get' ? 1 : 0;
      assert.equal(emulator.operations.filter((operation) => operation === held).length, 2 + looks);
    }
  });

  test('puts of one process under one key go one after the other, and those under others do not wait', async () => {
    await using under = await emulatedObjects();
    const { objects, emulator, clock } = under;
    const expiry = clock.now() + HOUR;
    const insertion = emulator.faults.hold('objects.insert');
    const first = objects.put('m/a', Buffer.from('first'), { expiry });
    const second = objects.put('m/a', Buffer.from('second'), { expiry });
    await insertion.reached;
    await objects.put('m/b', BODY, { expiry });
    assert.deepEqual(emulator.operations, ['objects.insert', 'objects.insert']);
    insertion.release();
    const [older, newer] = await Promise.all([first, second]);
    assert.ok(newer.arrival > older.arrival);
    assert.equal((await objects.get('m/a'))?.version, newer.version);
  });
});
