/** A full disk, on a small volume of its own: new messages are refused, and nothing else suffers. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type LocalBackends, openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import type { StoreLog } from '../../../src/backends/local/store-files.ts';
import { Identity } from '../../../src/gateway/identity.ts';
import { StoreError } from '../../../src/gateway/ports.ts';
import { DAY } from '../../../src/gateway/time.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { needsSmallVolume, smallVolume } from '../../support/small-volume.ts';

const VOLUME_MIB = 48;
const MIB = 1024 * 1024;
const options = { ...needsSmallVolume(), timeout: 60_000 };

test(
  'A volume filled by messages refuses more, keeps all that it took, and has room again after deletes',
  options,
  async () => {
    using volume = smallVolume(VOLUME_MIB);
    const clock = new ManualClock();
    const expiry = clock.now() + 1e9;
    const kept = new Map<string, Buffer>();
    {
      await using backends = await open(volume.path, clock);
      await backends.records.put('configuration', 'a', { n: 1 });
      const refused = await fill(kept, (key, body) => backends.objects.put(key, body, { expiry }));
      assert.equal(refused.code, 'STORE_FULL');
      await assertFull(backends.objects.put('m/large', randomBytes(3 * MIB), { expiry }));
      await assertServes(backends, kept);
      await backends.check();
    }
    // It starts on the full volume, too.
    await using backends = await open(volume.path, clock);
    await assertServes(backends, kept);
    assert.deepEqual((await backends.records.get('configuration', 'a'))?.fields, { n: 1 });
    await deleteAll(backends, kept);
    await backends.housekeeping();
    await backends.objects.put('again', randomBytes(4 * MIB), { expiry });
    assert.equal((await backends.objects.get('again'))?.size, 4 * MIB);
    assert.equal(backends.damaged, 0);
  },
);

test(
  'A volume filled to the last octet by somebody else still lets messages be collected and deleted',
  options,
  async () => {
    using volume = smallVolume(VOLUME_MIB);
    const clock = new ManualClock();
    const expiry = clock.now() + 1000;
    const kept = new Map<string, Buffer>();
    {
      await using backends = await open(volume.path, clock);
      for (let number = 0; number < 200; number++) {
        const body = randomBytes(number % 50 === 0 ? MIB : 2000);
        kept.set(`m/${number}`, body);
        await backends.objects.put(`m/${number}`, body, { expiry });
      }
      await fillVolume(join(volume.path, 'somebody-elses'));
      // More than the rest of a page that the log has already: room was last looked for when there was some.
      await assertFull(backends.objects.put('m/more', randomBytes(16_384), { expiry }));
      await assertFull(backends.records.create('single-use-tokens', 'a', {}));
      await assertServes(backends, kept);
      for (let number = 0; number < 100; number++) {
        await backends.objects.delete(`m/${number}`);
        kept.delete(`m/${number}`);
      }
      await assertServes(backends, kept);
    }
    await fillVolume(join(volume.path, 'somebody-elses-again'));
    {
      await using backends = await open(volume.path, clock);
      await assertServes(backends, kept);
      for (let number = 100; number < 150; number++) {
        await backends.objects.delete(`m/${number}`);
        kept.delete(`m/${number}`);
      }
      await assertFull(backends.objects.put('m/more', randomBytes(1024), { expiry }));
      // What expires goes as well.
      clock.advance(2000);
      await backends.housekeeping();
      assert.deepEqual(await Array.fromAsync(backends.objects.list('')), []);
      await rm(join(volume.path, 'somebody-elses'));
      await rm(join(volume.path, 'somebody-elses-again'), { force: true });
      await backends.objects.put('m/more', randomBytes(1024), { expiry: clock.now() + 1000 });
      assert.equal((await backends.objects.get('m/more'))?.size, 1024);
      assert.equal(backends.damaged, 0);
    }
  },
);

test(
  'A directory on a volume that is full from the start opens or says why not, and works once there is room',
  options,
  async () => {
    using volume = smallVolume(VOLUME_MIB);
    const clock = new ManualClock();
    const filler = join(volume.path, 'filler');
    await fillVolume(filler);
    const path = join(volume.path, 'data');
    await assert.rejects(open(path, clock), (error) => error instanceof Error && 'code' in error);
    await rm(filler);
    await using backends = await open(path, clock);
    await backends.objects.put('a', randomBytes(1024), { expiry: clock.now() + 1000 });
  },
);

test(
  'A gateway whose certificate is due for renewal starts on a full volume with the one that it has',
  options,
  async () => {
    using volume = smallVolume(VOLUME_MIB);
    const clock = new ManualClock();
    const openIdentity = ({ identityKeys, records }: LocalBackends) =>
      Identity.open({ internetAddress: 'gateway.test', identityKeys, records, random: randomBytes, clock });
    let id: string;
    {
      await using backends = await open(volume.path, clock);
      id = (await openIdentity(backends)).id;
    }
    await fillVolume(join(volume.path, 'somebody-elses'));
    clock.advance(40 * DAY);
    await using backends = await open(volume.path, clock);
    const identity = await openIdentity(backends);
    assert.equal(identity.id, id);
    assert.equal(identity.allCertificates().length, 1);
    await assertFull(identity.refresh());
    await rm(join(volume.path, 'somebody-elses'));
    await identity.refresh();
    assert.equal(identity.allCertificates().length, 2);
  },
);

async function fill(
  kept: Map<string, Buffer>,
  put: (key: string, body: Buffer) => Promise<unknown>,
): Promise<StoreError> {
  for (let number = 0; ; number++) {
    // Several at once, so that some of a batch are taken and others refused.
    const batch = Array.from({ length: 4 }, (_, index) => ({
      key: `m/${number}/${index}`,
      body: randomBytes(index === 0 ? 600_000 : 5000),
    }));
    const results = await Promise.allSettled(batch.map(({ key, body }) => put(key, body)));
    for (const [index, result] of results.entries()) {
      if (result.status === 'fulfilled') {
        const { key, body } = batch[index] as { key: string; body: Buffer };
        kept.set(key, body);
      }
    }
    const refusal = results.find((result) => result.status === 'rejected');
    if (refusal) {
      assert.ok(refusal.reason instanceof StoreError, String(refusal.reason));
      return refusal.reason;
    }
    assert.ok(number < 1000, 'the volume is small');
  }
}

async function assertServes(backends: LocalBackends, kept: Map<string, Buffer>): Promise<void> {
  const listed = (await Array.fromAsync(backends.objects.list('m/'))).map(({ key }) => key);
  assert.deepEqual(listed.sort(), [...kept.keys()].sort());
  for (const [key, body] of kept) {
    assert.ok((await backends.objects.get(key))?.body.equals(body), key);
  }
}

async function deleteAll(backends: LocalBackends, kept: Map<string, Buffer>): Promise<void> {
  for (const key of kept.keys()) {
    await backends.objects.delete(key);
  }
}

async function assertFull(promise: Promise<unknown>): Promise<void> {
  await assert.rejects(promise, { name: 'StoreError', code: 'STORE_FULL' });
}

/** Takes all that is left, to the last octet. */
async function fillVolume(path: string): Promise<void> {
  for (let octets = MIB; octets >= 512; octets /= 2) {
    try {
      for (;;) {
        await writeFile(path, Buffer.alloc(octets), { flag: 'a' });
      }
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
    }
  }
  assert.equal((await statfs(path)).bavail, 0);
}

function open(directory: string, clock: ManualClock, log?: StoreLog) {
  return openLocalBackends({ directory, clock, random: randomBytes, log });
}
