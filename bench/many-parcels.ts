/**
 * A million stored parcels: how long a start takes, what memory it needs, and whether a mailbox of ten among them is
 * listed as fast as among a thousand.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { openLocalBackends } from '../src/backends/local/local-backends.ts';
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

/** A process of its own that opens a store, lists a mailbox and prints its resident octets. */
const REPORTER = fileURLToPath(new URL('../test/support/store-memory.ts', import.meta.url));

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
      name: 'a million parcels: resident memory',
      value: many.residentOctets / MIB,
      unit: 'MiB',
      bar: `≤ ${MEMORY_BAR}`,
      ok: many.residentOctets <= MEMORY_BAR * MIB,
    },
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

async function measure(parcels: number): Promise<{ ready: number; list: number; residentOctets: number }> {
  await using directory = await temporaryDirectory();
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
  const start = performance.now();
  await using backends = await openLocalBackends(settings);
  const ready = performance.now() - start;
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
  await backends[Symbol.asyncDispose]();
  const report = execFileSync(process.execPath, [REPORTER, directory.path, mailbox(0)], { encoding: 'utf8' });
  return { ready, list: median(times), residentOctets: Number(report) };
}

await runAlone(import.meta, manyParcelsRows);
