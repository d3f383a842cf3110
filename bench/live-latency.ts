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
import { type Recipient, registerRecipient } from './support/recipients.ts';
import { median, quantile } from './support/statistics.ts';
import { spawnUnlimitedGateway } from './support/unlimited-gateway.ts';

const RECIPIENTS = 16;
const CONNECTIONS = 64;
const PARCELS = 5000;
/** To find the pace that the gateway can keep up. */
const CALIBRATION_PARCELS = 4000;

/** How long parcels may take to come at all, in milliseconds. */
const ARRIVAL_LIMIT = 20_000;

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
  const parcels: Sending[] = [];
  for (let number = 0; number < CALIBRATION_PARCELS + PARCELS; number++) {
    parcels.push(await sending(poweb, recipients[number % RECIPIENTS] as Recipient));
  }

  const arrivals = new Arrivals();
  const clients = await Promise.all(
    recipients.map(async ({ gateway: { key }, certificate }) => {
      const client = await CollectionClient.collect(gateway.poweb, [{ key: key.signing, certificate }]);
      await client.settled();
      return client;
    }),
  );
  for (const client of clients) {
    void receive(client, (parcel) => arrivals.note(parcel));
  }
  const pace = await fullPace(poweb, parcels.splice(0, CALIBRATION_PARCELS), arrivals);
  const started = new Map<string, number>();
  await sendAtPace(poweb, parcels, pace / 2, started);
  await arrivals.reach(CALIBRATION_PARCELS + PARCELS);
  for (const client of clients) {
    client[Symbol.dispose]();
  }

  const latencies = [...started].map(([mark, start]) => arrivals.timeOf(mark) - start);
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

/** When parcels came to their recipients. */
class Arrivals {
  private readonly times = new Map<string, number>();
  private expected = Number.POSITIVE_INFINITY;
  private whenReached: () => void = () => undefined;

  note(parcel: Buffer): void {
    this.times.set(markOf(parcel), performance.now());
    if (this.times.size === this.expected) {
      this.whenReached();
    }
  }

  timeOf(mark: string): number {
    return this.times.get(mark) ?? Number.NaN;
  }

  /** Resolves when so many parcels have come. @throws Error when they do not */
  async reach(count: number): Promise<void> {
    this.expected = count;
    if (this.times.size < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.whenReached = resolve;
      await Promise.race([promise, pause(ARRIVAL_LIMIT)]);
    }
    if (this.times.size < count) {
      throw new Error(`Only ${this.times.size} of ${count} parcels were delivered`);
    }
  }
}

/** Parcels a second that come to their recipients when they are sent as fast as they are taken. */
async function fullPace(poweb: URL, parcels: readonly Sending[], arrivals: Arrivals): Promise<number> {
  const requests = parcels.map(({ octets }) => octets);
  const half = Math.floor(requests.length / 2);
  await sendAll(poweb, requests.slice(0, half), 16);
  await arrivals.reach(half);
  const start = performance.now();
  await sendAll(poweb, requests.slice(half), 16);
  await arrivals.reach(requests.length);
  return ((requests.length - half) / (performance.now() - start)) * 1000;
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
