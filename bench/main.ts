/**
 * `npm run bench`: all benchmarks one after another, as one table; exits 1 when a bar is missed. With names of
 * benchmarks as arguments, only these. docs/performance.md says how to read it.
 */
import type { Benchmark } from './row.ts';
import { printRows, type Row } from './row.ts';

/** Each is loaded when its turn comes, so that none weighs on another. */
const BENCHMARKS: Readonly<Record<string, () => Promise<Benchmark>>> = {
  'parcel-verify': async () => (await import('./parcel-verify.ts')).parcelVerifyRows,
  'durable-delivery': async () => (await import('./durable-delivery.ts')).durableDeliveryRows,
  'live-latency': async () => (await import('./live-latency.ts')).liveLatencyRows,
  'idle-collections': async () => (await import('./idle-collections.ts')).idleCollectionsRows,
  outbound: async () => (await import('./outbound.ts')).outboundRows,
  cargo: async () => (await import('./cargo.ts')).cargoRows,
  flood: async () => (await import('./flood.ts')).floodRows,
  reconnect: async () => (await import('./reconnect.ts')).reconnectRows,
  'many-parcels': async () => (await import('./many-parcels.ts')).manyParcelsRows,
  cloud: async () => (await import('./cloud.ts')).cloudRows,
  restore: async () => (await import('./restore.ts')).restoreRows,
  'start-up': async () => (await import('./start-up.ts')).startUpRows,
};

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !(name in BENCHMARKS));
if (unknown.length > 0) {
  console.error(`There is no benchmark "${unknown[0]}"; there are ${Object.keys(BENCHMARKS).join(', ')}`);
  process.exit(2);
}
const all: Row[] = [];
for (const [name, load] of Object.entries(BENCHMARKS)) {
  if (chosen.length === 0 || chosen.includes(name)) {
    const rows = await (await load())();
    printRows(rows);
    all.push(...rows);
  }
}
const missed = all.filter(({ ok }) => ok === false);
console.log(missed.length === 0 ? '\nEvery bar is met.' : `\nMissed: ${missed.map(({ name }) => name).join('; ')}`);
