/** Parcels that expire (RS-001), by the official JavaScript client, with the gateway's clock in the test's hands. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { StreamingMode } from '@relaycorp/relaynet-core';
import { type InProcessGateway, startGateway } from '../support/gateway.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { type OfficialEndpoint, OfficialPrivateGateway, type OfficialSender } from '../support/official-client.ts';

const SECOND = 1000;
const HOUR = 3600 * SECOND;

describe('Expiry of parcels from the official JavaScript client', () => {
  const clock = new ManualClock(Date.now());
  let gateway: InProcessGateway;
  let owner: OfficialPrivateGateway;
  let endpoint: OfficialEndpoint;
  let sender: OfficialSender;

  before(async () => {
    gateway = await startGateway({ clock });
    owner = await OfficialPrivateGateway.register(gateway.poweb);
    endpoint = await owner.newEndpoint();
    sender = await endpoint.authorize((await owner.newEndpoint()).identity);
  });

  after(() => gateway[Symbol.asyncDispose]());

  test('a parcel waits until the second of its expiry and is not collected after it', async () => {
    const creationDate = new Date(clock.now());
    const short = await endpoint.writeParcel(sender, randomBytes(64), { creationDate, ttl: 60 });
    const long = await endpoint.writeParcel(sender, randomBytes(64), { creationDate, ttl: 3600 });
    await owner.deliver(short);
    await owner.deliver(long);

    clock.advance(58 * SECOND);
    assert.deepEqual(await peek(owner), Buffer.from(short));
    clock.advance(3 * SECOND);
    assert.deepEqual(await owner.collectAll(), [Buffer.from(long)]);
  });

  test('a parcel that had expired, within the drift of clocks, when it came is delivered until that drift is over', async () => {
    const creationDate = new Date(clock.now() - HOUR);
    const write = () => endpoint.writeParcel(sender, randomBytes(64), { creationDate, ttl: 60 });
    const [soon, late] = [await write(), await write()];

    await owner.deliver(soon);
    assert.deepEqual(await owner.collectAll(), [Buffer.from(soon)]);

    await owner.deliver(late);
    clock.advance(HOUR + 61 * SECOND);
    assert.deepEqual(await owner.collectAll(), []);
  });
});

/** The first parcel that waits; it stays. */
async function peek(owner: OfficialPrivateGateway): Promise<Buffer | undefined> {
  for await (const { parcelSerialized } of owner.collect(StreamingMode.CLOSE_UPON_COMPLETION)) {
    return Buffer.from(parcelSerialized);
  }
  return undefined;
}
