/**
 * A million stored parcels: how long the whole program takes until it is ready, what memory it needs then and while it
 * keeps house, and whether a mailbox of ten among them is listed as fast as among a thousand.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { openLocalBackends } from '../src/backends/local/local-backends.ts';
import { spawnGateway } from '../test/support/gateway.ts';
import { temporaryDirectory } from '../test/support/local-backends.ts';
import { type Row, runAlone } from './row.ts';
import { median } from './support/statistics.ts';

const MANY = 1_000_000;
const FEW = 1000;
const MAILBOX = 10;
const AT_ONCE = 2000;
const LISTS = 200;

const MIB = 1024 * 1024;
const READY_BAR = 1000;
const MEMORY_BAR = 200;

/** How much longer a list may take: what measurements differ by themselves. */
const TOLERANCE = 1.5;

/** Housekeeping begins with the start; so long it is watched, in milliseconds. */
const WATCHED = 15_000;

const mailbox = (number: number) => `mailboxes/0${number.toString(16).padStart(64, '0')}/`;

export async function manyParcelsRows(): Promise<Row[]> {
  const few = await measure(FEW);
  const many = await measure(MANY);
  return [
    {
      name: 'a million parcels: start',
      value: many.ready,
      unit: 'ms',
      bar: `≤ ${READY_BAR}`,
      ok: many.ready <= READY_BAR,
    },
    {
      name: 'a million parcels: resident memory when it is ready',
      value: many.memory,
      unit: 'MiB',
      bar: `≤ ${MEMORY_BAR}`,
      ok: many.memory <= MEMORY_BAR,
    },
    { name: 'a million parcels: highest memory while it keeps house', value: many.highestMemory, unit: 'MiB' },
    { name: 'a thousand parcels: start', value: few.ready, unit: 'ms' },
    { name: 'a thousand parcels: highest memory while it keeps house', value: few.highestMemory, unit: 'MiB' },
    { name: 'a mailbox of 10 among a thousand parcels: list', value: few.list * 1000, unit: 'µs' },
    {
      name: 'a mailbox of 10 among a million parcels: list',
      value: many.list * 1000,
      unit: 'µs',
      bar: `≤ ${(few.list * 1000 * TOLERANCE).toFixed(0)}`,
      ok: many.list <= few.list * TOLERANCE,
    },
  ];
}

interface Measured {
  /** Milliseconds. */
  readonly ready: number;
  readonly list: number;
  /** MiB. */
  readonly memory: number;
  readonly highestMemory: number;
}

async function measure(parcels: number): Promise<Measured> {
  await using directory = await temporaryDirectory();
  // The first start makes the keys.
  await (await spawnGateway({ directory: directory.path })).end('SIGTERM');
  const settings = { directory: directory.path, clock: Date, random: randomBytes };
  {
    await using backends = await openLocalBackends(settings);
    let next = 0;
    const put = async () => {
      for (let number = next++; number < parcels; number = next++) {
        // One of each mailbox after the other, as parcels come.
        const key = `${mailbox(number % (parcels / MAILBOX))}${randomBytes(32).toString('base64url')}`;
        await backends.objects.put(key, randomBytes(256), { expiry: Date.now() + 86_400_000 });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, put));
  }
  const gateway = await spawnGateway({ directory: directory.path });
  const memory = memoryOf(gateway.process.pid, 'VmRSS');
  await pause(WATCHED);
  const highestMemory = memoryOf(gateway.process.pid, 'VmHWM');
  await gateway.end('SIGTERM');

  await using backends = await openLocalBackends(settings);
  const times: number[] = [];
  const prefix = mailbox(Math.floor(parcels / MAILBOX / 2));
  for (let number = 0; number < LISTS; number++) {
    const began = performance.now();
    const entries = await Array.fromAsync(backends.objects.list(prefix));
    times.push(performance.now() - began);
    if (entries.length !== MAILBOX) {
      throw new Error(`A mailbox has ${entries.length} parcels instead of ${MAILBOX}`);
    }
  }
  return { ready: gateway.startTime, list: median(times), memory, highestMemory };
}

/** In MiB: what is resident, or the most that ever was. */
function memoryOf(pid: number | undefined, what: 'VmRSS' | 'VmHWM'): number {
  const [, kib] = new RegExp(`^${what}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  return (Number(kib) * 1024) / MIB;
}

await runAlone(import.meta, manyParcelsRows);
