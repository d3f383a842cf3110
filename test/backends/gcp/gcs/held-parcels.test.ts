/**
 * A held parcel and the same one in its mailbox, put by two processes whose clocks differ: the newer one stays, as the
 * bucket orders them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openGcs } from '../../../../src/backends/gcp/gcs/open-gcs.ts';
import { ParcelStorage } from '../../../../src/gateway/parcel-storage.ts';
import type { ObjectStore } from '../../../../src/gateway/ports.ts';
import { SECOND } from '../../../../src/gateway/time.ts';
import { openGatewayRoom } from '../../../support/gateway-room.ts';
import { BUCKET, emulatedObjects } from '../../../support/gcs-objects.ts';
import { ManualClock } from '../../../support/manual-clock.ts';

const HOUR = 3_600_000;
/** How far the clocks of two processes may be apart, in milliseconds. */
const APART = 30 * SECOND;

const MAILBOX = `0${'a'.repeat(64)}`;
const SENDER = `0${'b'.repeat(64)}`;
const DIGEST = 'digest';

/** Two processes on one bucket, the first of which has a clock that goes before the other's. */
async function twoProcesses() {
  const under = await emulatedObjects();
  const { emulator, clock } = under;
  const room = await openGatewayRoom();
  const storageOf = async (drift: number) => {
    const own = new ManualClock(clock.now() + drift);
    const options = { bucket: BUCKET, clock: own, maxAge: 24 * HOUR, apiEndpoint: emulator.url };
    const objects: ObjectStore = await openGcs(options);
    const { records, work, signals, meters } = room.backends;
    return new ParcelStorage({ objects, records, work, signals, meters, clock: own });
  };
  return {
    clock,
    before: await storageOf(APART),
    behind: await storageOf(0),
    async [Symbol.asyncDispose]() {
      await room[Symbol.asyncDispose]();
      await under[Symbol.asyncDispose]();
    },
  };
}

function parcel(body: string, clock: ManualClock) {
  return { digest: DIGEST, bytes: Buffer.from(body), expiry: clock.now() + HOUR, metadata: {} };
}

async function bodyIn({ mailboxes }: ParcelStorage): Promise<string | undefined> {
  const entry = await mailboxes.find(MAILBOX, DIGEST);
  return entry && (await mailboxes.read(entry.key))?.body.toString();
}

test('A newer version that is held by a process whose clock is slow takes the place of the older one', async () => {
  await using processes = await twoProcesses();
  const { clock, before, behind } = processes;
  await before.mailboxes.put(MAILBOX, parcel('older', clock));
  clock.advance(SECOND);
  await behind.held.hold(MAILBOX, SENDER, parcel('newer', clock), {});
  assert.equal(await behind.held.move(MAILBOX), 1);
  assert.equal(await bodyIn(behind), 'newer');
});

test('An older version that is held by a process whose clock is fast gives way to the newer one', async () => {
  await using processes = await twoProcesses();
  const { clock, before, behind } = processes;
  await before.held.hold(MAILBOX, SENDER, parcel('older', clock), {});
  clock.advance(SECOND);
  await behind.mailboxes.put(MAILBOX, parcel('newer', clock));
  assert.equal(await before.held.move(MAILBOX), 0);
  assert.equal(await bodyIn(before), 'newer');
});
