/**
 * Durable delivery over HTTP: 1 KiB parcels, signed beforehand, at 1 and 16 connections, beside their floor.
 *
 * The gateway and the floor are processes of their own and take turns in short rounds, since the machine is noisy; what
 * counts is the median of the rounds' ratios. Run by itself it prints its rows, and exits 1 when a bar is missed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { type Row, runAlone } from './row.ts';
import { sendAll } from './support/http-load.ts';
import { threadsCpuTime } from './support/process-cpu.ts';
import { deliveryRequests, type Recipient, registerRecipient } from './support/recipients.ts';
import { median } from './support/statistics.ts';
import { spawnUnlimitedGateway } from './support/unlimited-gateway.ts';

const ROUNDS = 9;
const CONNECTIONS = [1, 16];

/** Parcels a round, by connections. */
const PARCELS: Readonly<Record<number, number>> = { 1: 200, 16: 800 };

/**
 * Parcels before anything is measured, and how often they are sent. Both serve for weeks, and the compiler is at work on
 * the code of either for the first 20,000 or so.
 */
const WARM_UP_PARCELS = 2500;
const WARM_UP_TURNS = 10;

/** Of the floor's pace. */
const LEAST_SHARE = 0.5;

interface Server {
  readonly url: URL;
  readonly pid: number;
}

interface Round {
  /** Parcels a second. */
  readonly pace: number;
  /** Microseconds of the server's CPU that each parcel took. */
  readonly cpu: number;
}

export async function durableDeliveryRows(): Promise<Row[]> {
  await using gateway = await spawnUnlimitedGateway();
  using floor = await startFloor();
  const own: Server = { url: new URL(gateway.poweb), pid: gateway.process.pid as number };
  const recipient = await registerRecipient(own.url);

  await warmUp(own, floor, recipient);
  const rows: Row[] = [];
  for (const connections of CONNECTIONS) {
    const parcels = PARCELS[connections] as number;
    const requests = await deliveryRequests(own.url, recipient, parcels * ROUNDS);
    const rounds: { own: Round; floor: Round }[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const batch = requests.slice(round * parcels, (round + 1) * parcels);
      rounds.push({ own: await measure(own, batch, connections), floor: await measure(floor, batch, connections) });
    }
    rows.push(...rowsOf(connections, rounds));
  }
  return rows;
}

async function warmUp(own: Server, floor: Server, recipient: Recipient): Promise<void> {
  const requests = await deliveryRequests(own.url, recipient, WARM_UP_PARCELS);
  for (const { url } of [own, floor]) {
    for (let turn = 0; turn < WARM_UP_TURNS; turn++) {
      await sendAll(url, requests, 16);
    }
  }
}

async function measure({ url, pid }: Server, requests: readonly Buffer[], connections: number): Promise<Round> {
  const before = threadsCpuTime(pid);
  const time = await sendAll(url, requests, connections);
  return {
    pace: (requests.length / time) * 1000,
    cpu: ((threadsCpuTime(pid) - before) * 1000) / requests.length,
  };
}

function rowsOf(connections: number, rounds: readonly { own: Round; floor: Round }[]): Row[] {
  const name = `delivery, ${connections} ${connections === 1 ? 'connection' : 'connections'}`;
  const pace = median(rounds.map(({ own, floor }) => own.pace / floor.pace));
  const cpu = median(rounds.map(({ own, floor }) => own.cpu / floor.cpu));
  return [
    { name, value: median(rounds.map(({ own }) => own.pace)), unit: 'parcels/s' },
    { name: `${name}: its floor`, value: median(rounds.map(({ floor }) => floor.pace)), unit: 'parcels/s' },
    { name: `${name}, of floor`, value: pace, unit: '×', bar: `at least ${LEAST_SHARE}`, ok: pace >= LEAST_SHARE },
    { name: `${name}: server CPU`, value: median(rounds.map(({ own }) => own.cpu)), unit: 'µs/parcel' },
    {
      name: `${name}: server CPU, of floor`,
      value: cpu,
      unit: '×',
      bar: `at most ${1 / LEAST_SHARE}`,
      ok: cpu <= 1 / LEAST_SHARE,
    },
  ];
}

async function startFloor(): Promise<Server & Disposable> {
  const script = fileURLToPath(new URL('support/floor-server.ts', import.meta.url));
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [url] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { url: new URL(url), pid: child.pid as number, [Symbol.dispose]: () => child.kill('SIGKILL') };
}

await runAlone(import.meta, durableDeliveryRows);
