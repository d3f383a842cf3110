/**
 * Live delivery: from the POST of a parcel to its WebSocket message, at half of the pace that the gateway can keep up.
 *
 * Parcels are sent at set times, whether or not earlier ones were answered, and each counts from the time that was set
 * for it: a gateway that falls behind cannot hide it. Recipients collect one parcel at a time, as the JavaScript client
 * does.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { writeParcelCountersignature } from '../src/awala/poweb/countersignature.ts';
import { PARCEL_TYPE } from '../src/doctor/private-gateway.ts';
import { CollectionClient } from '../test/support/collection-client.ts';

import { type Row, runAlone } from './row.ts';
import { Connection, requestOctets, requireAccepted, sendAll } from './support/http-load.ts';
import { deliveryRequests, type Recipient, registerRecipient } from './support/recipients.ts';
import { median, quantile } from './support/statistics.ts';
import { spawnUnlimitedGateway } from './support/unlimited-gateway.ts';

const RECIPIENTS = 16;
const CONNECTIONS = 64;
const PARCELS = 5000;
/** To find the pace that the gateway can keep up. */
const CALIBRATION_PARCELS = 2000;

/** Milliseconds. */
const MEDIAN_BAR = 5;
const WORST_BAR = 20;

/** Octets at the end of a parcel, part of its signature: they tell it from every other. */
const MARK = 24;

interface Sending {
  readonly octets: Buffer;
  readonly mark: string;
}

export async function liveLatencyRows(): Promise<Row[]> {
  await using gateway = await spawnUnlimitedGateway();
  const poweb = new URL(gateway.poweb);
  const recipients = await Promise.all(Array.from({ length: RECIPIENTS }, () => registerRecipient(poweb)));
  const pace = await fullPace(poweb);
  const parcels: Sending[] = [];
  for (let number = 0; number < PARCELS; number++) {
    parcels.push(await sending(poweb, recipients[number % RECIPIENTS] as Recipient));
  }

  const started = new Map<string, number>();
  const latencies: number[] = [];
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  const clients = await Promise.all(
    recipients.map(async ({ gateway: { key }, certificate }) => {
      const client = await CollectionClient.collect(gateway.poweb, [{ key: key.signing, certificate }]);
      await client.settled();
      return client;
    }),
  );
  for (const client of clients) {
    void receive(client, (parcel) => {
      const start = started.get(markOf(parcel));
      latencies.push(performance.now() - (start ?? Number.NaN));
      if (latencies.length === PARCELS) {
        finish();
      }
    });
  }
  await sendAtPace(poweb, parcels, pace / 2, started);
  await Promise.race([finished, pause(10_000)]);
  for (const client of clients) {
    client[Symbol.dispose]();
  }
  if (latencies.length < PARCELS) {
    throw new Error(`Only ${latencies.length} of ${PARCELS} parcels were delivered`);
  }

  const middle = median(latencies);
  const worst = quantile(latencies, 0.99);
  return [
    { name: 'live delivery: half load', value: pace / 2, unit: 'parcels/s' },
    { name: 'live delivery: median', value: middle, unit: 'ms', bar: `under ${MEDIAN_BAR}`, ok: middle < MEDIAN_BAR },
    {
      name: 'live delivery: 99th percentile',
      value: worst,
      unit: 'ms',
      bar: `under ${WORST_BAR}`,
      ok: worst < WORST_BAR,
    },
  ];
}

/** Parcels a second that the gateway takes as fast as it can, into a mailbox that nobody collects. */
async function fullPace(poweb: URL): Promise<number> {
  const idle = await registerRecipient(poweb);
  const requests = await deliveryRequests(poweb, idle, CALIBRATION_PARCELS);
  const half = CALIBRATION_PARCELS / 2;
  await sendAll(poweb, requests.slice(0, half), 16);
  return (half / (await sendAll(poweb, requests.slice(half), 16))) * 1000;
}

async function sending(poweb: URL, { gateway, certificate, endpoint }: Recipient): Promise<Sending> {
  const parcel = await endpoint.writeParcel(undefined, Date.now());
  const countersignature = await writeParcelCountersignature(parcel, { key: gateway.key.signing, certificate });
  const headers = {
    authorization: `Relaynet-Countersignature ${countersignature.toString('base64')}`,
    'content-type': PARCEL_TYPE,
  };
  return { octets: requestOctets(poweb, '/v1/parcels', headers, parcel), mark: markOf(parcel) };
}

function markOf(parcel: Buffer): string {
  return parcel.toString('latin1', parcel.length - MARK);
}

async function receive(client: CollectionClient, onParcel: (parcel: Buffer) => void): Promise<void> {
  try {
    for (;;) {
      onParcel(await client.collectNext());
    }
  } catch {
    // The benchmark is over and has closed the connection; missing parcels are counted.
  }
}

async function sendAtPace(
  poweb: URL,
  parcels: readonly Sending[],
  pace: number,
  started: Map<string, number>,
): Promise<void> {
  const idle = await Promise.all(Array.from({ length: CONNECTIONS }, () => Connection.open(poweb)));
  const pending: Promise<void>[] = [];
  const start = performance.now();
  for (const [number, { octets, mark }] of parcels.entries()) {
    const due = start + (number / pace) * 1000;
    while (performance.now() < due || idle.length === 0) {
      // A timer is too coarse for this pace; this lets whatever has come be handled.
      await new Promise(setImmediate);
    }
    const connection = idle.pop() as Connection;
    started.set(mark, due);
    pending.push(
      connection.request(octets).then((status) => {
        requireAccepted(status);
        idle.push(connection);
      }),
    );
  }
  await Promise.all(pending);
  for (const connection of idle) {
    connection[Symbol.dispose]();
  }
}

await runAlone(import.meta, liveLatencyRows);
