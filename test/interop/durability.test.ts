/** What the official JavaScript client delivered outlives the gateway's process. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { StreamingMode } from '@relaycorp/relaynet-core';
import { spawnGateway, temporaryDirectory } from '../support/gateway.ts';
import { OfficialPrivateGateway } from '../support/official-client.ts';

test('a gateway that stops ends a keep-alive collection with 4000, and what waits is collected afterwards', async (t) => {
  const directory = temporaryDirectory();
  t.after(() => rmSync(directory, { recursive: true }));
  const first = await spawnGateway({ directory });
  t.after(() => first.end('SIGKILL'));
  const before = await OfficialPrivateGateway.register(first.poweb);
  const endpoint = await before.newEndpoint();
  const sender = await endpoint.authorize((await before.newEndpoint()).identity);
  const parcel = await endpoint.writeParcel(sender, randomBytes(512));
  await before.deliver(parcel);
  const collections = before.collect(StreamingMode.KEEP_ALIVE);
  await collections.next();
  // It was delivered and is not acknowledged.

  const following = assert.rejects(collections.next(), { name: 'ServerError', message: /closed .*\(code: 4000/ });
  assert.deepEqual(await first.end('SIGTERM'), { code: 0, signal: null });
  await following;

  await using second = await spawnGateway({ directory });
  assert.deepEqual(await before.at(second.poweb).collectAll(), [Buffer.from(parcel)]);
});

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`parcels and registrations are kept when the gateway ends by ${signal} and starts anew`, async (t) => {
    const directory = temporaryDirectory();
    t.after(() => rmSync(directory, { recursive: true }));
    const sent: ArrayBuffer[] = [];
    const first = await spawnGateway({ directory });
    t.after(() => first.end('SIGKILL'));
    const before = await OfficialPrivateGateway.register(first.poweb);
    const endpoint = await before.newEndpoint();
    const sender = await endpoint.authorize((await before.newEndpoint()).identity);
    for (let count = 0; count < 3; count++) {
      const parcel = await endpoint.writeParcel(sender, randomBytes(512));
      await before.deliver(parcel);
      sent.push(parcel);
    }
    await first.end(signal);

    await using second = await spawnGateway({ directory });
    const after = before.at(second.poweb);

    assert.deepEqual(
      await after.collectAll(),
      sent.map((parcel) => Buffer.from(parcel)),
    );
    const later = await endpoint.writeParcel(sender, randomBytes(512));
    await after.deliver(later);
    assert.deepEqual(await after.collectAll(), [Buffer.from(later)]);
  });
}
