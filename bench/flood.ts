/**
 * A private gateway that floods: it delivers at ten times its limit, and another one's deliveries are timed meanwhile,
 * beside the same without a flood. Deliveries leave at set times and count from these, answered or not.
 */
import { spawnGateway } from '../test/support/gateway.ts';
import { type Row, runAlone } from './row.ts';
import { Connection } from './support/http-load.ts';
import { deliveryRequests, registerRecipient } from './support/recipients.ts';
import { quantile } from './support/statistics.ts';

/** Parcels in a minute that a private gateway may deliver here: a tenth of what this machine can be sent ten times of. */
const LIMIT = 3000;
const FLOOD_PACE = (10 * LIMIT) / 60;
const PACE = 25;

/** How long each is measured, in milliseconds: longer than the flooder takes to spend what it may in a minute. */
const DURATION = 12_000;

const CONNECTIONS = 64;

export async function floodRows(): Promise<Row[]> {
  await using gateway = await spawnGateway({ environment: { DELIVERIES_PER_PEER: `${LIMIT}` } });
  const poweb = new URL(gateway.poweb);
  const [other, flooder] = [await registerRecipient(poweb), await registerRecipient(poweb)];
  const requests = await deliveryRequests(poweb, other, 250);
  // The same parcels again and again replace each other, and cost as much as others.
  const flood = await deliveryRequests(poweb, flooder, 500);

  await send(poweb, requests, PACE, 2000);
  const quiet = await send(poweb, requests, PACE, DURATION);
  const [flooded, refusals] = await Promise.all([
    send(poweb, requests, PACE, DURATION),
    send(poweb, flood, FLOOD_PACE, DURATION),
  ]);
  const before = quantile(quiet.times, 0.99);
  const meanwhile = quantile(flooded.times, 0.99);
  const refused = refusals.statuses.filter((status) => status === 503).length;
  return [
    { name: 'flood: deliveries of the flooder', value: FLOOD_PACE, unit: 'parcels/s' },
    { name: 'flood: refused of these', value: refused, unit: '', bar: 'more than 0', ok: refused > 0 },
    {
      name: 'flood: refused of another private gateway',
      value: flooded.statuses.filter((status) => status !== 202).length,
      unit: '',
      bar: '0',
      ok: flooded.statuses.every((status) => status === 202),
    },
    { name: "flood: another's 99th percentile without it", value: before, unit: 'ms' },
    {
      name: "flood: another's 99th percentile in it",
      value: meanwhile,
      unit: 'ms',
      bar: `≤ ${(2 * before).toFixed(1)}`,
      ok: meanwhile <= 2 * before,
    },
  ];
}

/** Sends at a pace, over connections that each have one request at a time. */
async function send(
  poweb: URL,
  requests: readonly Buffer[],
  pace: number,
  duration: number,
): Promise<{ times: number[]; statuses: number[] }> {
  const idle = await Promise.all(Array.from({ length: CONNECTIONS }, () => Connection.open(poweb)));
  const times: number[] = [];
  const statuses: number[] = [];
  const pending: Promise<void>[] = [];
  const start = performance.now();
  for (let number = 0; (number / pace) * 1000 < duration; number++) {
    const due = start + (number / pace) * 1000;
    while (performance.now() < due || idle.length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const connection = idle.pop() as Connection;
    pending.push(
      connection.request(requests[number % requests.length] as Buffer).then((status) => {
        times.push(performance.now() - due);
        statuses.push(status);
        idle.push(connection);
      }),
    );
  }
  await Promise.all(pending);
  for (const connection of idle) {
    connection[Symbol.dispose]();
  }
  return { times, statuses };
}

await runAlone(import.meta, floodRows);
