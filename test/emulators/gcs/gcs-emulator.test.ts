/** The emulator of Cloud Storage does what the vendor's pages say, asked by the vendor's client. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import { Storage } from '@google-cloud/storage';
import { startGcsEmulator } from './gcs-emulator.ts';

const DAY = 86_400_000;

suite('The emulator of Cloud Storage', () => {
  test('takes resumable uploads in pieces', async () => {
    await using emulator = await startGcsEmulator({ bucket: 'b' });
    const file = new Storage({ apiEndpoint: emulator.url, projectId: 'p' }).bucket('b').file('large');
    const body = randomBytes(700 * 1024);
    await file.save(body, { resumable: true, chunkSize: 256 * 1024, validation: 'crc32c' });
    const [read] = await file.download();
    assert.ok(read.equals(body));
    assert.ok(emulator.operations.filter((operation) => operation === 'objects.insert').length >= 4);
  });

  test('makes a bucket, lists it with a delimiter and in pages, and deletes by its lifecycle', async () => {
    let now = Date.now();
    await using emulator = await startGcsEmulator({ bucket: 'b', now: () => now });
    const storage = new Storage({ apiEndpoint: emulator.url, projectId: 'p' });
    const lifecycle = { rule: [{ action: { type: 'Delete' as const }, condition: { daysSinceCustomTime: 1 } }] };
    const [bucket] = await storage.createBucket('messages', { lifecycle });
    for (const name of ['a/1', 'a/2', 'b/1', 'c']) {
      const metadata = name === 'c' ? {} : { customTime: new Date(now).toISOString() };
      await bucket.file(name).save('x', { resumable: false, metadata });
    }
    const [top, , answer] = await bucket.getFiles({ delimiter: '/', autoPaginate: false });
    assert.deepEqual(
      top.map(({ name }) => name),
      ['c'],
    );
    assert.deepEqual((answer as { prefixes: string[] }).prefixes, ['a/', 'b/']);
    const [page, next] = await bucket.getFiles({ maxResults: 3, autoPaginate: false });
    const [rest, last] = await bucket.getFiles(next as object);
    assert.deepEqual(
      [...page, ...rest].map(({ name }) => name),
      ['a/1', 'a/2', 'b/1', 'c'],
    );
    assert.equal(last, null);
    now += DAY - 1;
    assert.equal(emulator.bucket('messages').applyLifecycle(), 0);
    now += 1;
    assert.equal(emulator.bucket('messages').applyLifecycle(), 3);
  });

  test('holds writers to their preconditions', async () => {
    await using emulator = await startGcsEmulator({ bucket: 'b' });
    const file = new Storage({ apiEndpoint: emulator.url, projectId: 'p' }).bucket('b').file('a');
    const save = (ifGenerationMatch: number | string) =>
      file.save('x', { resumable: false, preconditionOpts: { ifGenerationMatch } });
    await save(0);
    const first = `${file.metadata.generation}`;
    await assert.rejects(save(0), { code: 412 });
    await save(first);
    assert.ok(BigInt(file.metadata.generation as string) > BigInt(first));
    await assert.rejects(save(first), { code: 412 });
    await assert.rejects(file.delete({ ifGenerationMatch: first }), { code: 412 });
    await file.delete();
    await assert.rejects(file.delete(), { code: 404 });
  });

  test('refuses octets that do not have the checksum that was given', async () => {
    await using emulator = await startGcsEmulator({ bucket: 'b' });
    const file = new Storage({ apiEndpoint: emulator.url, projectId: 'p' }).bucket('b').file('a');
    const wrong = { resumable: false, validation: false, metadata: { crc32c: 'AAAAAA==' } };
    await assert.rejects(file.save('x', wrong), /Provided CRC32C "AAAAAA==" doesn't match calculated CRC32C/);
    assert.equal(emulator.bucket('b').size, 0);
  });
});
