/**
 * Of two puts under one key, the one whose answer is late or lost never takes the place of the other, which was
 * acknowledged meanwhile. The order of things is that of the barriers in the emulator.
 */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { GcsObjectStore } from '../../../../src/backends/gcp/gcs/object-store.ts';
import { openGcs } from '../../../../src/backends/gcp/gcs/open-gcs.ts';
import { type ObjectStore, StoreError } from '../../../../src/gateway/ports.ts';
import { BUCKET, type EmulatedObjects, emulatedObjects } from '../../../support/gcs-objects.ts';

const HOUR = 3_600_000;
/** Milliseconds after which a put is given up here. */
const PATIENCE = 2000;

const isAway = (error: unknown) => error instanceof StoreError && error.code === 'STORE_AWAY';

/** @param isConditional puts under a condition that all meet: as parcels of one date do */
function putter({ clock }: EmulatedObjects, isConditional = false) {
  return async (objects: ObjectStore, body: string) => {
    const options = { expiry: clock.now() + HOUR, metadata: { body } };
    const entry = isConditional
      ? await objects.putUnless('m/a', Buffer.from(body), options, () => false)
      : await objects.put('m/a', Buffer.from(body), options);
    assert.ok(entry);
    return entry;
  };
}

/** The same bucket in another process. */
function otherProcess({ clock, emulator }: EmulatedObjects): Promise<GcsObjectStore> {
  return openGcs({ bucket: BUCKET, clock, maxAge: HOUR * 24, apiEndpoint: emulator.url, youth: HOUR });
}

async function bodyIn(objects: ObjectStore): Promise<string | undefined> {
  return (await objects.get('m/a'))?.body.toString();
}

// Patience takes a second or two: the tests wait together.
describe('A put to Cloud Storage whose answer is late or lost', { concurrency: true }, () => {
  for (const isInHand of [false, true]) {
    const where = isInHand ? 'the service has it in hand' : 'it is on its way';

    test(`is given up while ${where}, and leaves a newer one in its place`, async () => {
      await using under = await emulatedObjects({ patience: PATIENCE });
      const { objects, emulator } = under;
      const put = putter(under);
      const hold = emulator.faults.hold('objects.insert', { isInHand });
      await Promise.all([assert.rejects(put(objects, 'older'), isAway), hold.reached]);
      const newer = await put(objects, 'newer');
      await hold.abandoned;
      const settled = isInHand ? emulator.answered('objects.insert') : undefined;
      hold.release();
      await settled;
      assert.equal(await bodyIn(objects), 'newer');
      assert.equal((await objects.find('m/a'))?.version, newer.version);
    });
  }

  for (const isConditional of [false, true]) {
    const which = isConditional ? ', though it would replace what is there' : '';

    test(`is made again, and leaves in place what another process has put meanwhile${which}`, async () => {
      await using under = await emulatedObjects();
      const { objects, emulator } = under;
      const put = putter(under, isConditional);
      const other = await otherProcess(under);
      emulator.faults.next('objects.insert', { kind: 'drop-answer' });
      const repetition = emulator.faults.hold('objects.insert');
      const older = assert.rejects(put(objects, 'older'), isAway);
      await repetition.reached;
      const newer = await put(other, 'newer');
      repetition.release();
      await older;
      assert.equal(await bodyIn(objects), 'newer');
      assert.equal((await objects.find('m/a'))?.version, newer.version);
      // Who comes back with it has it stored: nothing is in doubt then.
      await put(objects, 'older once more');
      assert.equal(await bodyIn(other), 'older once more');
    });
  }

  test('does not bring back, once it is given up, what was put again, collected and deleted', async () => {
    await using under = await emulatedObjects({ patience: PATIENCE });
    const { objects, emulator } = under;
    const put = putter(under);
    const hold = emulator.faults.hold('objects.insert');
    await Promise.all([assert.rejects(put(objects, 'same'), isAway), hold.reached]);
    const { version } = await put(objects, 'same');
    assert.equal(await objects.delete('m/a', version), true);
    await hold.abandoned;
    hold.release();
    assert.equal(await bodyIn(objects), undefined);
    assert.equal(emulator.bucket(BUCKET).size, 0);
  });

  test('is known again where it was carried out, as the very one that was put', async () => {
    await using under = await emulatedObjects();
    const { objects, emulator } = under;
    const put = putter(under);
    await put(objects, 'before');
    emulator.operations.length = 0;
    // The first is refused, since there is something; what replaces it loses its answer.
    emulator.faults.next('objects.insert', { kind: 'delay', ms: 0 }, { kind: 'drop-answer' });
    const own = await put(objects, 'own');
    const { operations } = emulator;
    const sent = ['insert', 'get', 'insert', 'insert', 'get'].map((name) => `objects.${name}`);
    assert.deepEqual(operations, sent);
    assert.deepEqual(await objects.find('m/a'), own);
  });

  test('does not take the place of what it finds after senders may have given it up', async () => {
    await using under = await emulatedObjects({ youth: 0 });
    const { objects, emulator } = under;
    const put = putter(under);
    const other = await otherProcess(under);
    await put(other, 'before');
    const look = emulator.faults.hold('objects.get');
    const older = assert.rejects(put(objects, 'older'), isAway);
    await look.reached;
    // Its sender gave up, and had a newer one stored by another process.
    const newer = await put(other, 'newer');
    look.release();
    await older;
    assert.equal((await objects.find('m/a'))?.version, newer.version);
  });

  test('takes the place of what was there when it looked, and of nothing newer', async () => {
    await using under = await emulatedObjects();
    const { objects, emulator } = under;
    const put = putter(under);
    const other = await otherProcess(under);
    await put(other, 'before');
    const replacing = replacementHold(under);
    const first = put(objects, 'first');
    await replacing.reached;
    const second = await put(other, 'second');
    replacing.release();
    const last = await first;
    // Refused for what had come, it looked once more: both came at the same time, and one of the two stayed whole.
    assert.notEqual(last.version, second.version);
    assert.deepEqual(await objects.find('m/a'), last);
    assert.equal(emulator.bucket(BUCKET).size, 1);
  });
});

/** Holds the second insert from now on: the one that replaces. */
function replacementHold({ emulator }: EmulatedObjects) {
  emulator.faults.next('objects.insert', { kind: 'delay', ms: 0 });
  return emulator.faults.hold('objects.insert');
}
