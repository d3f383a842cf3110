/** A courier on a link of 1 Mbit/s: its calls are cut after 5 seconds, and still all cargo comes home by one CCA. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { Parcel } from '@relaycorp/relaynet-core';
import { CogRpcClient, type CogRpcError } from '../../src/courier/cogrpc-client.ts';
import { startGateway } from '../support/gateway.ts';
import { OfficialChannel } from '../support/official-channel.ts';
import { newOfficialIdentity } from '../support/official-client.ts';
import { startSlowLink } from '../support/slow-link.ts';

const KIB = 1024;
const OCTETS_PER_SECOND = 1_000_000 / 8;

/** Of all parcels together. */
const OCTETS = 5 * KIB * KIB;
const LARGEST_PARCEL = 64 * KIB;

/** What Kotlin gives a call, in milliseconds. */
const CALL = 5000;

/** Twice as many as the octets alone need. */
const MAX_CALLS = 2 * Math.ceil(OCTETS / (OCTETS_PER_SECOND * (CALL / 1000)));

test('a courier on a link of 1 Mbit/s takes 5 MiB home in calls of 5 s with one CCA', async () => {
  await using gateway = await startGateway();
  const channel = await OfficialChannel.register(gateway.poweb);
  const endpoint = await channel.privateGateway.newEndpoint();
  const sender = await endpoint.authorize(await newOfficialIdentity());
  const missing = new Set<string>();
  for (let octets = 0, index = 0; octets < OCTETS; index++) {
    // The largest, and smaller ones.
    const payload = randomBytes(LARGEST_PARCEL - 6 * KIB - (index % 4) * 15 * KIB);
    const id = `parcel-${index}`;
    const parcel = await endpoint.writeParcel(sender, payload, { id });
    assert.ok(parcel.byteLength <= LARGEST_PARCEL);
    await channel.privateGateway.deliver(parcel);
    octets += parcel.byteLength;
    missing.add(id);
  }

  await using link = await startSlowLink(gateway.cogrpc, { octetsPerSecond: OCTETS_PER_SECOND });
  const cca = await channel.newCca();
  let calls = 0;
  for (let isComplete = false; !isComplete; ) {
    assert.ok(++calls <= MAX_CALLS, `${missing.size} parcels are missing after ${calls - 1} calls`);
    const before = missing.size;
    isComplete = await collectFor(CALL, link.url, cca, async (cargo) => {
      for (const { item } of await channel.open(cargo)) {
        missing.delete((item as Parcel).id);
      }
    });
    assert.ok(isComplete || missing.size < before, 'a call brought nothing new');
  }
  assert.equal(missing.size, 0);
  // Little was sent twice.
  assert.ok(link.received < 1.5 * OCTETS, `${link.received} octets for ${OCTETS}`);
  await assert.rejects(
    collectFor(CALL, gateway.cogrpc, cca, async () => undefined),
    (error: CogRpcError) => error.status === 'PERMISSION_DENIED',
  );
});

/** One call; gives whether it ended well. */
async function collectFor(
  milliseconds: number,
  url: string,
  cca: Buffer,
  take: (cargo: Buffer) => Promise<void>,
): Promise<boolean> {
  using client = new CogRpcClient(new URL(url));
  const late = AbortSignal.timeout(milliseconds);
  try {
    for await (const { cargo, acknowledge } of client.collect(cca, late)) {
      await take(cargo);
      acknowledge();
    }
    return true;
  } catch (error) {
    if (late.aborted) {
      return false;
    }
    throw error;
  }
}
