/** What the official JavaScript client delivered outlives the gateway's processes. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { StreamingMode } from '@relaycorp/relaynet-core';
import type { Deployment } from '../../support/deployment.ts';
import { OfficialPrivateGateway } from '../../support/official-client.ts';

export const durability = (deployment: Deployment) =>
  describe('What the official JavaScript client delivered', () => {
    test('waits when the gateway stops, ends a keep-alive collection with 4000, and starts anew', async () => {
      await using gateway = await deployment.startRestartable();
      const before = await OfficialPrivateGateway.register(gateway.poweb);
      const endpoint = await before.newEndpoint();
      const sender = await endpoint.authorize((await before.newEndpoint()).identity);
      const parcel = await endpoint.writeParcel(sender, randomBytes(512));
      await before.deliver(parcel);
      const collections = before.collect(StreamingMode.KEEP_ALIVE);
      await collections.next();
      // It was delivered and is not acknowledged.

      const following = assert.rejects(collections.next(), { name: 'ServerError', message: /closed .*\(code: 4000/ });
      assert.deepEqual(await gateway.end('SIGTERM'), { code: 0, signal: null });
      await following;

      await gateway.start();
      assert.deepEqual(await before.at(gateway.poweb).collectAll(), [Buffer.from(parcel)]);
    });

    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      test(`is kept, as registrations are, when the gateway ends by ${signal} and starts anew`, async () => {
        const sent: ArrayBuffer[] = [];
        await using gateway = await deployment.startRestartable();
        const before = await OfficialPrivateGateway.register(gateway.poweb);
        const endpoint = await before.newEndpoint();
        const sender = await endpoint.authorize((await before.newEndpoint()).identity);
        for (let count = 0; count < 3; count++) {
          const parcel = await endpoint.writeParcel(sender, randomBytes(512));
          await before.deliver(parcel);
          sent.push(parcel);
        }
        await gateway.end(signal);

        await gateway.start();
        const after = before.at(gateway.poweb);

        assert.deepEqual(
          await after.collectAll(),
          sent.map((parcel) => Buffer.from(parcel)),
        );
        const later = await endpoint.writeParcel(sender, randomBytes(512));
        await after.deliver(later);
        assert.deepEqual(await after.collectAll(), [Buffer.from(later)]);
      });
    }
  });
