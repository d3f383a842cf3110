/** Parcels that expire or are from the future, from the official JavaScript client, by the clock of the machine. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Addresses, Deployment } from '../../support/deployment.ts';
import { type OfficialEndpoint, OfficialPrivateGateway, type OfficialSender } from '../../support/official-client.ts';

const SECOND = 1000;
const HOUR = 3600 * SECOND;

/** How far the clocks of private nodes may be off (protocol section 3). */
const CLOCK_DRIFT = 2 * HOUR;

/** Seconds that a parcel lives which expires while it waits. */
const SHORT_LIFE = 3;

export const expiry = (deployment: Deployment) =>
  describe('Expiry of parcels from the official JavaScript client, by the clock of the machine', () => {
    let gateway: Addresses & AsyncDisposable;
    let owner: OfficialPrivateGateway;
    let endpoint: OfficialEndpoint;
    let sender: OfficialSender;

    before(async () => {
      gateway = await deployment.start();
      owner = await OfficialPrivateGateway.register(gateway.poweb);
      endpoint = await owner.newEndpoint();
      sender = await endpoint.authorize((await owner.newEndpoint()).identity);
    });

    after(() => gateway?.[Symbol.asyncDispose]());

    const write = (creation: number, ttl: number) =>
      endpoint.writeParcel(sender, randomBytes(64), { creationDate: new Date(creation), ttl });

    /** Delivers a parcel that lives for a short while yet when it has come, however slow that is. @returns its expiry */
    async function deliverShort(): Promise<number> {
      for (;;) {
        const creation = Math.floor(Date.now() / SECOND) * SECOND;
        const end = creation + SHORT_LIFE * SECOND;
        const parcel = await write(creation, SHORT_LIFE);
        await owner.deliver(parcel);
        if (Date.now() < end) {
          return end;
        }
        // It had perhaps expired when it came, and is kept for the drift of clocks.
        await owner.collectAll();
      }
    }

    test('a parcel that expires while it waits is not collected, and others are', async () => {
      const end = await deliverShort();
      const long = await write(Date.now(), 3600);
      await owner.deliver(long);
      await delay(end + SECOND - Date.now());
      assert.deepEqual(await owner.collectAll(), [Buffer.from(long)]);
    });

    test('a parcel that had expired, within the drift of clocks, when it came is delivered', async () => {
      const parcel = await write(Date.now() - HOUR, 60);
      await owner.deliver(parcel);
      assert.deepEqual(await owner.collectAll(), [Buffer.from(parcel)]);
    });

    test('a parcel that expired before that is refused for good', async () => {
      const parcel = await write(Date.now() - CLOCK_DRIFT - 120 * SECOND, 60);
      await assert.rejects(owner.deliver(parcel), { name: 'RefusedParcelError' });
    });

    test('a parcel from the future is accepted within the drift of clocks and refused beyond it', async () => {
      const parcel = await write(Date.now() + CLOCK_DRIFT - 300 * SECOND, 3600);
      await owner.deliver(parcel);
      assert.deepEqual(await owner.collectAll(), [Buffer.from(parcel)]);
      const late = await write(Date.now() + CLOCK_DRIFT + 300 * SECOND, 3600);
      await assert.rejects(owner.deliver(late), { name: 'RefusedParcelError' });
    });
  });
