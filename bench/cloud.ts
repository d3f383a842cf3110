/**
 * Parcels through the whole split, on emulators: taken by one process, durable in the bucket, told through Redis, sent to
 * their private gateways by another, acknowledged and deleted; beside the same through one process on embedded stores.
 *
 * The emulators take processor time too, and more than the gateway's: the pace says little, and only the CPU of the
 * gateway's own processes says what a cloud machine would need.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { needsCloud } from '../test/support/cloud.ts';
import { CollectionClient } from '../test/support/collection-client.ts';
import { startFleet } from '../test/support/fleet.ts';
import { type Row, runAlone } from './row.ts';
import { sendAll } from './support/http-load.ts';
import { cpuTime } from './support/process-cpu.ts';
import { deliveryRequest, type Recipient, registerRecipient } from './support/recipients.ts';
import { spawnUnlimitedGateway, UNLIMITED } from './support/unlimited-gateway.ts';

const RECIPIENTS = 8;
const CONNECTIONS = 16;
const PARCELS = 1000;
/** Before anything is measured: processes serve for weeks. */
const WARM_UP_PARCELS = 1000;
/** How long all may take to arrive, in milliseconds. */
const ARRIVAL_LIMIT = 120_000;
/** What is under way behind the last acknowledgement, in milliseconds. */
const SETTLING = 2000;

interface Subject {
  readonly poweb: string;
  readonly collection: string;
  /** Of the gateway's own processes. */
  readonly pids: readonly number[];
}

interface Outcome {
  /** Parcels a second, from the first sent to the last collected. */
  readonly pace: number;
  /** Microseconds of CPU a parcel, of all processes together, and of each. */
  readonly cpu: number;
  readonly each: readonly number[];
}

export async function cloudRows(): Promise<Row[]> {
  if (needsCloud().skip) {
    console.log(`cloud: left out. ${needsCloud().skip}`);
    return [];
  }
  const embedded = await measureEmbedded();
  const split = await measureSplit();
  const services = ['poweb', 'collection', 'pohttp', 'cogrpc', 'worker', 'worker'];
  return [
    { name: 'delivered and collected, embedded', value: embedded.pace, unit: 'parcels/s' },
    { name: 'delivered and collected, embedded: CPU', value: embedded.cpu, unit: 'µs/parcel' },
    { name: 'delivered and collected, split, on emulators', value: split.pace, unit: 'parcels/s' },
    { name: 'delivered and collected, split: CPU of its processes', value: split.cpu, unit: 'µs/parcel' },
    ...split.each.slice(0, 2).map((value, index) => ({
      name: `delivered and collected, split: CPU of ${services[index]}`,
      value,
      unit: 'µs/parcel',
    })),
    { name: 'delivered and collected, split: CPU, of embedded', value: split.cpu / embedded.cpu, unit: '×' },
  ];
}

async function measureEmbedded(): Promise<Outcome> {
  await using gateway = await spawnUnlimitedGateway();
  return await measure({ poweb: gateway.poweb, collection: gateway.poweb, pids: [gateway.process.pid as number] });
}

async function measureSplit(): Promise<Outcome> {
  await using fleet = await startFleet({ environment: UNLIMITED });
  return await measure({
    poweb: fleet.process('poweb').poweb,
    collection: fleet.process('collection').poweb,
    pids: fleet.processes.map(({ process }) => process.pid as number),
  });
}

async function measure({ poweb, collection, pids }: Subject): Promise<Outcome> {
  const url = new URL(poweb);
  const recipients: Recipient[] = [];
  for (let number = 0; number < RECIPIENTS; number++) {
    recipients.push(await registerRecipient(url));
  }
  const requests: Buffer[] = [];
  for (let number = 0; number < WARM_UP_PARCELS + PARCELS; number++) {
    requests.push(await deliveryRequest(url, recipients[number % RECIPIENTS] as Recipient));
  }
  let collected = 0;
  const clients = await Promise.all(
    recipients.map(async ({ gateway: { key }, certificate }) => {
      const client = await CollectionClient.collect(collection, [{ key: key.signing, certificate }]);
      await client.settled();
      return client;
    }),
  );
  for (const client of clients) {
    void receive(client, () => collected++);
  }
  const reach = async (count: number) => {
    for (const end = performance.now() + ARRIVAL_LIMIT; collected < count; await pause(1)) {
      if (performance.now() > end) {
        throw new Error(`Only ${collected} of ${count} parcels were delivered`);
      }
    }
  };
  await sendAll(url, requests.slice(0, WARM_UP_PARCELS), CONNECTIONS);
  await reach(WARM_UP_PARCELS);
  await pause(SETTLING);

  const before = pids.map(cpuTime);
  const start = performance.now();
  await sendAll(url, requests.slice(WARM_UP_PARCELS), CONNECTIONS);
  await reach(WARM_UP_PARCELS + PARCELS);
  const pace = (PARCELS / (performance.now() - start)) * 1000;
  await pause(SETTLING);
  const each = pids.map((pid, index) => ((cpuTime(pid) - (before[index] ?? 0)) * 1000) / PARCELS);
  for (const client of clients) {
    client[Symbol.dispose]();
  }
  return { pace, cpu: each.reduce((sum, one) => sum + one, 0), each };
}

async function receive(client: CollectionClient, onParcel: () => void): Promise<void> {
  try {
    for (;;) {
      await client.collectNext();
      onParcel();
    }
  } catch {
    // The benchmark is over and has closed the connection; missing parcels are counted.
  }
}

await runAlone(import.meta, cloudRows);
