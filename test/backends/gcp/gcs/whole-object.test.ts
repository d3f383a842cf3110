/** A large object of a bucket is there when it is whole, and what is read of it is what was written. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { after, before, beforeEach, suite, test } from 'node:test';
import { type WholeObject, wholeObject } from '../../../../src/backends/gcp/gcs/whole-object.ts';
import { type GcsEmulator, startGcsEmulator } from '../../../emulators/gcs/gcs-emulator.ts';

/** More than one request of an upload. */
const OCTETS = randomBytes(9 * 1024 * 1024);

const PIECE = 64 * 1024;

/** @param end how many octets come before the source fails */
function source(end = Number.POSITIVE_INFINITY): ReadableStream<Uint8Array> {
  const pieces = function* () {
    for (let at = 0; at < OCTETS.length; at += PIECE) {
      if (at >= end) {
        throw new Error('the source is gone');
      }
      yield OCTETS.subarray(at, at + PIECE);
    }
  };
  return ReadableStream.from<Uint8Array>(pieces());
}

suite('A whole object of Cloud Storage', () => {
  let emulator: GcsEmulator;
  let object: WholeObject;

  before(async () => {
    emulator = await startGcsEmulator({ bucket: 'vault' });
  });
  after(() => emulator[Symbol.asyncDispose]());
  beforeEach(() => {
    emulator.faults.clear();
    object = wholeObject('vault', `backup-${randomBytes(4).toString('hex')}`, emulator.url);
  });

  test('comes back as it was written, and gives way to the next', async () => {
    assert.equal(await object.write(source()), OCTETS.length);
    assert.ok((await buffer(object.read())).equals(OCTETS));
    assert.equal(await object.write(ReadableStream.from<Uint8Array>([Buffer.from('next')])), 4);
    assert.equal((await buffer(object.read())).toString(), 'next');
  });

  test('is written though the service fails for a moment', async () => {
    emulator.faults.next('objects.insert', { kind: 'status', status: 503, reason: 'backendError' }, { kind: 'drop' });
    await object.write(source());
    assert.ok((await buffer(object.read())).equals(OCTETS));
  });

  test('is not there when its source failed, which is told', async () => {
    const { size } = emulator.bucket('vault');
    await assert.rejects(object.write(source(OCTETS.length - PIECE)), /the source is gone/);
    assert.equal(emulator.bucket('vault').size, size);
    await assert.rejects(buffer(object.read()), { code: 'STORE_AWAY' });
  });

  test('that changed on its way is refused, up and down', async () => {
    emulator.faults.always(['objects.insert'], { kind: 'keep-corrupt' });
    await assert.rejects(object.write(source()), { code: 'STORE_AWAY' });
    emulator.faults.clear();
    await object.write(source());
    emulator.faults.always(['objects.media'], { kind: 'corrupt' });
    await assert.rejects(buffer(object.read()), { code: 'STORE_AWAY' });
  });

  test('is not written to a bucket that is not there', async () => {
    const elsewhere = wholeObject('no-such-bucket', 'backup', emulator.url);
    await assert.rejects(elsewhere.write(source()), /could not write gs:\/\/no-such-bucket\/backup/);
  });
});
