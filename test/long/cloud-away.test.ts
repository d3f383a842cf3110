/** Firestore and Cloud KMS that were away for a while are used again soon after they are back. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { StoreError } from '../../src/gateway/ports.ts';
import { needsFirestore, startFirestore } from '../support/firestore-emulator.ts';
import { openFirestoreRoom } from '../support/firestore-records.ts';
import { startGrpcProxy } from '../support/grpc-proxy.ts';
import { openKmsRoom, startKms } from '../support/kms.ts';

/** Milliseconds. */
const ABSENCE = 30_000;
const SOON = 5000;

/** Asks again and again, as a gateway under load does. @returns milliseconds from the return to the first answer */
async function awayAndBack(
  proxy: { goAway(): Promise<void>; comeBack(): Promise<void> },
  ask: () => Promise<unknown>,
): Promise<number> {
  await ask();
  await proxy.goAway();
  let isBack = false;
  const asking = (async () => {
    while (!isBack) {
      await ask().catch((error: unknown) => assert.ok(error instanceof StoreError));
    }
  })();
  await pause(ABSENCE);
  isBack = true;
  await proxy.comeBack();
  const start = performance.now();
  await asking;
  for (;;) {
    try {
      await ask();
      return performance.now() - start;
    } catch {
      assert.ok(performance.now() - start < ABSENCE, 'it is never used again');
    }
  }
}

describe('After half a minute', () => {
  test('Firestore is used again within five seconds', needsFirestore(), async () => {
    await using emulator = await startFirestore();
    await using room = await openFirestoreRoom(emulator.host, { attempt: 1000, total: 1000 });
    const took = await awayAndBack(room.proxy, () => room.records.get('configuration', 'a'));
    assert.ok(took < SOON, `${took} ms`);
  });

  test('Cloud KMS is used again within five seconds', async () => {
    const emulator = await startKms();
    await using proxy = await startGrpcProxy(new URL(emulator.endpoint).host);
    const options = { endpoint: `http://${proxy.host}`, bounds: { attempt: 1000, total: 1000 } };
    await using room = await openKmsRoom(options, Promise.resolve(emulator));
    const key = await room.keys.identityKeys.create();
    const sign = () => key.crypto.subtle.sign({ name: 'RSA-PSS', saltLength: 32 }, key.privateKey, Buffer.from('x'));
    const took = await awayAndBack(proxy, sign);
    assert.ok(took < SOON, `${took} ms`);
  });
});
