/**
 * Delivery to the Internet: parcels a second that one core sends to 1 and to 100 destinations, beside a bare undici loop
 * with the same bodies; and what destinations in trouble cost the others.
 *
 * The destinations are a process of their own. Both ways of sending take turns in this one, in short rounds, since the
 * machine is noisy; what counts is the CPU time that a parcel takes of this process, all its threads included, as the
 * median of the rounds. Run by itself it prints its rows, and exits 1 when a bar is missed.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { Pool } from 'undici';
import { DAY } from '../src/gateway/time.ts';
import { machineChance, machineClock } from '../src/machine.ts';
import { createDialler } from '../src/workers/internet-delivery/dialler.ts';
import { DnsOverHttps } from '../src/workers/internet-delivery/dns-over-https.ts';
import { InternetDelivery } from '../src/workers/internet-delivery/internet-delivery.ts';
import { PoHttpClient } from '../src/workers/internet-delivery/pohttp-client.ts';
import { type GatewayRoom, openGatewayRoom } from '../test/support/gateway-room.ts';
import { ManualClock } from '../test/support/manual-clock.ts';
import { type Row, runAlone } from './row.ts';
import { type InternetNodes, type NodeCounts, spawnInternetNodes } from './support/internet-nodes.ts';
import { median } from './support/statistics.ts';

const PARCEL_OCTETS = 1024;
const PARCELS = 2000;
const ROUNDS = 7;
const WARM_UP_ROUNDS = 2;
const PER_DESTINATION = 16;

/** How many requests the bare loop has under way, to all destinations together. */
const BARE_CONCURRENCY = 64;

/** Of what the bare loop sends in the same CPU time. */
const LEAST_SHARE = 0.5;

/** With destinations in trouble, latency may be so many times that without. */
const MOST_SLOWDOWN = 1.5;

const TROUBLE_WARM_UP_ROUNDS = 5;
const TROUBLE_ROUNDS = 40;

const WAITING_PARCELS = 10_000;

/** Milliseconds: long enough for a retry. */
const WAITING_TIME = 35_000;

/** Percent of a core. */
const MOST_WAITING_SHARE = 1;

const PEER = '0aa';

const AUTHORITIES = getCACertificates('default');

export async function outboundRows(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const count of [1, 100]) {
    rows.push(...(await paceRows(count)));
  }
  rows.push(...(await troubleRows()), ...(await waitingRows()));
  return rows;
}

/** A worker that sends for real, on stores of its own. */
class Sender implements AsyncDisposable {
  private readonly room: GatewayRoom;
  private readonly client: PoHttpClient;
  /** By the parcel's id: when it was sent, in milliseconds. */
  private sent = new Map<string, number>();
  private worker: InternetDelivery | undefined;
  private allSent = Promise.withResolvers<void>();
  private expected = 0;

  constructor(room: GatewayRoom, nodes: InternetNodes) {
    this.room = room;
    const mayDial = () => true;
    const dns = new DnsOverHttps({ url: nodes.resolverUrl, mayDial, clock: machineClock });
    const connections = PER_DESTINATION;
    this.client = new PoHttpClient({ dns, mayDial, asksMachine: false, connections, chance: machineChance });
  }

  /** Puts a parcel into the outbox; gives its id. */
  async put(destination: string, body: Buffer): Promise<string> {
    const parcel = randomUUID();
    const metadata = { trace: 'bench', parcel, sender: '0bb', recipient: '0cc' };
    const expiry = machineClock.now() + DAY;
    await this.room.storage.outbox.put(PEER, { digest: parcel, bytes: body, expiry, metadata }, destination);
    return parcel;
  }

  start(): void {
    const { storage, backends } = this.room;
    const told = ({ parcel = '' }: { parcel?: string }, message: string) => {
      if (message === 'Parcel sent') {
        this.sent.set(parcel, performance.now());
        if (this.sent.size === this.expected) {
          this.allSent.resolve();
        }
      }
    };
    this.worker = new InternetDelivery({
      queue: storage.internetQueue,
      outbox: storage.outbox,
      sent: storage.sent,
      deliver: (address, parcel) => this.client.deliver(address, parcel),
      clock: machineClock,
      chance: machineChance,
      log: { info: told, warn: told, error: (details) => console.error(details) },
      journal: backends.journal,
      perDestination: PER_DESTINATION,
    });
    this.worker.start();
  }

  /** Resolves when so many were sent since the last time; gives when each was. */
  async whenSent(count: number): Promise<ReadonlyMap<string, number>> {
    this.expected = count;
    if (this.sent.size < count) {
      await this.allSent.promise;
    }
    const { sent } = this;
    this.sent = new Map();
    this.allSent = Promise.withResolvers();
    return sent;
  }

  /** Resolves when nothing is in hand. */
  async settled(): Promise<void> {
    await this.worker?.settled();
  }

  async stop(): Promise<void> {
    await this.worker?.stop(AbortSignal.timeout(10_000));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.worker?.stop(AbortSignal.abort());
    await this.client[Symbol.asyncDispose]();
    await this.worker?.settled();
    await this.room[Symbol.asyncDispose]();
  }
}

async function paceRows(count: number): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const nodes = stack.use(await startNodes({ well: count }));
  const sender = stack.use(await openSender(nodes));
  const bare = new BareLoop(nodes.origins);
  stack.defer(() => bare.close());
  const bodies = Array.from({ length: PARCELS }, () => randomBytes(PARCEL_OCTETS));

  const rounds: { own: number; bare: number }[] = [];
  for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
    await putAll(sender, nodes.addresses.well, bodies);
    const own = await cpuOf(async () => {
      sender.start();
      await sender.whenSent(PARCELS);
      await sender.settled();
    });
    await sender.stop();
    rounds.push({ own, bare: await cpuOf(() => bare.send(bodies)) });
  }
  const measured = rounds.slice(WARM_UP_ROUNDS);
  const pace = (of: 'own' | 'bare') => (PARCELS / median(measured.map((round) => round[of]))) * 1000;
  const share = median(measured.map((round) => round.bare / round.own));
  const name = `outbound, ${count} destination${count > 1 ? 's' : ''}`;
  return [
    { name: `${name}: parcels per second of one core`, value: pace('own'), unit: '/s' },
    { name: `${name}: bare undici loop`, value: pace('bare'), unit: '/s' },
    {
      name: `${name}: share of the bare loop's pace`,
      value: share,
      unit: '×',
      bar: `≥ ${LEAST_SHARE}`,
      ok: share >= LEAST_SHARE,
    },
  ];
}

/** In turns: rounds in which only destinations that are well get parcels, and rounds in which those in trouble do, too. */
async function troubleRows(): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const nodes = stack.use(await startNodes({ well: 140, hanging: 20, failing: 20, closed: 20 }));
  const { well, hanging, failing, closed } = nodes.addresses;
  const calm = stack.use(await openSender(nodes));
  const troubled = stack.use(await openSender(nodes));
  calm.start();
  troubled.start();
  const latencies: { calm: number[]; troubled: number[] } = { calm: [], troubled: [] };
  for (let round = -TROUBLE_WARM_UP_ROUNDS; round < TROUBLE_ROUNDS; round++) {
    const inCalm = await sendRound(calm, well, []);
    const inTrouble = await sendRound(troubled, well, [...hanging, ...failing, ...closed]);
    if (round >= 0) {
      latencies.calm.push(...inCalm);
      latencies.troubled.push(...inTrouble);
    }
  }
  const slowdown = median(latencies.troubled) / median(latencies.calm);
  return [
    {
      name: 'outbound, 200 destinations, 60 in trouble: median latency of the others',
      value: median(latencies.troubled),
      unit: 'ms',
    },
    {
      name: 'outbound, 200 destinations: that by the latency without trouble',
      value: slowdown,
      unit: '×',
      bar: `≤ ${MOST_SLOWDOWN}`,
      ok: slowdown <= MOST_SLOWDOWN,
    },
  ];
}

/** One parcel for each; gives, in milliseconds, how long each for a destination that is well took from being put. */
async function sendRound(sender: Sender, well: readonly string[], inTrouble: readonly string[]): Promise<number[]> {
  const body = randomBytes(PARCEL_OCTETS);
  const starts = new Map<string, number>();
  for (const address of inTrouble) {
    await sender.put(address, body);
  }
  for (const address of well) {
    const start = performance.now();
    starts.set(await sender.put(address, body), start);
  }
  const ends = await sender.whenSent(well.length);
  return [...starts].map(([parcel, start]) => (ends.get(parcel) as number) - start);
}

/** What waiting costs: many parcels for a destination that is down. */
async function waitingRows(): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const nodes = stack.use(await startNodes({ well: 1, closed: 1 }));
  const sender = stack.use(await openSender(nodes));
  const body = randomBytes(PARCEL_OCTETS);
  await putAll(sender, nodes.addresses.closed, Array(WAITING_PARCELS).fill(body));
  sender.start();
  await pause(1000);
  const cpu = await cpuOf(() => pause(WAITING_TIME));
  const share = (cpu / WAITING_TIME) * 100;
  return [
    {
      name: `outbound, ${WAITING_PARCELS} parcels for a dead destination: of a core`,
      value: share,
      unit: '%',
      bar: `< ${MOST_WAITING_SHARE}`,
      ok: share < MOST_WAITING_SHARE,
    },
  ];
}

async function putAll(sender: Sender, addresses: readonly string[], bodies: readonly Buffer[]): Promise<void> {
  await Promise.all(bodies.map((body, index) => sender.put(addresses[index % addresses.length] as string, body)));
}

/** Requests one after another in as many lanes as there may be. */
class BareLoop {
  private readonly pools: readonly Pool[];

  constructor(origins: readonly string[]) {
    const connect = createDialler(
      async () => ['127.0.0.1'],
      () => true,
    );
    this.pools = origins.map((origin) => new Pool(origin, { connect, connections: PER_DESTINATION }));
  }

  async send(bodies: readonly Buffer[]): Promise<void> {
    let next = 0;
    const lane = async () => {
      for (let index = next++; index < bodies.length; index = next++) {
        const pool = this.pools[index % this.pools.length] as Pool;
        const headers = { 'content-type': 'application/vnd.awala.parcel' };
        const response = await pool.request({ method: 'POST', path: '/', headers, body: bodies[index] as Buffer });
        await response.body.dump();
      }
    };
    await Promise.all(Array.from({ length: Math.min(BARE_CONCURRENCY, PER_DESTINATION * this.pools.length) }, lane));
  }

  async close(): Promise<void> {
    await Promise.all(this.pools.map((pool) => pool.close()));
  }
}

async function startNodes(counts: NodeCounts): Promise<InternetNodes> {
  const nodes = await spawnInternetNodes(counts);
  // All nodes' authorities have one name, by which the wrong one might be found.
  setDefaultCACertificates([...AUTHORITIES, nodes.certificate]);
  return nodes;
}

/** A sender with room for all that is put, on the machine's time. */
async function openSender(nodes: InternetNodes): Promise<Sender> {
  const quota = { count: 10_000_000, octets: 2 ** 40 };
  return new Sender(await openGatewayRoom(new RunningClock(), { outboxQuota: quota }), nodes);
}

class RunningClock extends ManualClock {
  override now(): number {
    return Date.now();
  }
}

/** Milliseconds of CPU that this process and its threads take for something. */
async function cpuOf(action: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await action();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

await runAlone(import.meta, outboundRows);
