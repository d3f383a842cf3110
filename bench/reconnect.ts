/**
 * 15,000 collections that come back at once, as after a gateway's restart: how long until all are served, what that
 * costs the server, whether its event loop stalls, and how many mailboxes are listed at a time.
 *
 * The server is a process of its own, the clients another. As in `idle-collections.ts` all clients sign with one key,
 * and the server, having verified that, gives each a mailbox of its own. A client that is refused comes back after the
 * pause that the Kotlin client makes.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { readCertificate } from '../src/awala/pki/certificate.ts';
import { CertificateCache } from '../src/awala/pki/certificate-cache.ts';
import { ParcelCollections } from '../src/gateway/parcel-collections.ts';
import { serveCollection } from '../src/services/collection/collection.ts';
import { AddressLimits } from '../src/services/http/address-limits.ts';
import { createHttpServer } from '../src/services/http/server.ts';
import { CollectionClient } from '../test/support/collection-client.ts';
import { openGatewayRoom } from '../test/support/gateway-room.ts';
import { issued, testIdentity } from '../test/support/pki.ts';
import { type Row, runAlone } from './row.ts';

const COLLECTIONS = 15_000;

const MAX_TIME = 40_000;
const MAX_CPU = 10_000;
const MAX_STALL = 250;
/** How often the event loop is looked at, in milliseconds. */
const LOOK = 10;
/** As `parcel-collections.ts` allows. */
const MAX_LISTINGS = 32;

/** What the Kotlin client waits before it comes back, in milliseconds. */
const RETRY_PAUSE = 3000;

interface Cost {
  readonly collections: number;
  /** Milliseconds. */
  readonly cpu: number;
  readonly stall: number;
  /** The same by the CPU time of the event loop's thread: what of a delay is the server's own. */
  readonly busiest: number;
  /** The most mailboxes that were listed at once. */
  readonly listings: number;
}

export async function reconnectRows(): Promise<Row[]> {
  const server = start('serve');
  const clients = start('collect');
  try {
    const [address] = await message<{ url: string; certificate: string }>(server);
    clients.send({ ...address, total: COLLECTIONS });
    const [{ time, refused }] = await message<{ time: number; refused: number }>(clients);
    server.send('measure');
    const [{ collections, cpu, stall, busiest, listings }] = await message<Cost>(server);
    return [
      {
        name: 'reconnection: collections served',
        value: collections,
        unit: '',
        bar: `= ${COLLECTIONS}`,
        ok: collections === COLLECTIONS,
      },
      {
        name: 'reconnection: until all are served',
        value: time,
        unit: 'ms',
        bar: `≤ ${MAX_TIME}`,
        ok: time <= MAX_TIME,
      },
      { name: 'reconnection: told to come back meanwhile', value: refused, unit: '' },
      { name: 'reconnection: CPU of the server', value: cpu, unit: 'ms', bar: `≤ ${MAX_CPU}`, ok: cpu <= MAX_CPU },
      {
        name: 'reconnection: longest delay of the event loop',
        value: stall,
        unit: 'ms',
        bar: `≤ ${MAX_STALL}`,
        ok: stall <= MAX_STALL,
      },
      { name: 'reconnection: that, by CPU of its thread', value: busiest, unit: 'ms' },
      {
        name: 'reconnection: mailboxes listed at once',
        value: listings,
        unit: '',
        bar: `≤ ${MAX_LISTINGS}`,
        ok: listings <= MAX_LISTINGS,
      },
    ];
  } finally {
    clients.kill('SIGKILL');
    server.kill('SIGTERM');
  }
}

function start(role: 'serve' | 'collect'): ChildProcess {
  return fork(fileURLToPath(import.meta.url), [role], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
}

/** The next message of a process. @throws Error when it ends instead */
async function message<Message>(child: ChildProcess): Promise<[Message]> {
  const ended = new AbortController();
  const { signal } = ended;
  const exit = once(child, 'exit', { signal }).then(() =>
    Promise.reject(new Error('A process of the benchmark ended')),
  );
  try {
    return (await Promise.race([once(child, 'message', { signal }), exit])) as [Message];
  } finally {
    ended.abort();
    exit.catch(() => undefined);
  }
}

/** Verifies each handshake, then takes its signer for somebody else each time. */
class SeparateMailboxes extends ParcelCollections {
  private count = 0;

  override authenticate(nonce: Buffer, response: Buffer): string[] {
    const nodeId = () =>
      `0${createHash('sha256')
        .update(`${++this.count}`)
        .digest('hex')}`;
    return super.authenticate(nonce, response).map(nodeId);
  }
}

async function serve(): Promise<void> {
  const room = await openGatewayRoom();
  process.once('SIGTERM', () => void room[Symbol.asyncDispose]().then(() => process.exit()));
  const { identity, storage, clock, backends } = room;
  let listing = 0;
  let listings = 0;
  const list = storage.mailboxes.list.bind(storage.mailboxes);
  storage.mailboxes.list = async function* counted(peer) {
    listings = Math.max(listings, ++listing);
    try {
      yield* list(peer);
    } finally {
      listing--;
    }
  };
  const log = pino({ level: 'info' }, { write: () => undefined });
  const server = await createHttpServer({ name: 'collection', host: '127.0.0.1', port: 0, log });
  const door = serveCollection(server, {
    collections: new SeparateMailboxes({ identity, storage, certificates: new CertificateCache(), clock }),
    limits: new AddressLimits({ meters: backends.meters, clock }),
  });
  const privateGateway = await issued(await testIdentity('private-gateway'), room.asNode());
  const delay = monitorEventLoopDelay({ resolution: LOOK });
  const url = await server.listen();
  const before = process.cpuUsage();
  delay.enable();
  let busiest = 0;
  let used = threadCpu();
  setInterval(() => {
    const now = threadCpu();
    busiest = Math.max(busiest, now - used);
    used = now;
  }, LOOK).unref();
  process.on('message', () => {
    delay.disable();
    const { user, system } = process.cpuUsage(before);
    const cost = { collections: door.size, cpu: (user + system) / 1000, stall: delay.max / 1e6, busiest, listings };
    process.send?.(cost satisfies Cost);
  });
  process.send?.({ url, certificate: privateGateway.certificate.raw.toString('base64') });
}

/** Milliseconds that this thread has used. */
function threadCpu(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

async function collect(): Promise<void> {
  const { key } = await testIdentity('private-gateway');
  process.on('message', async ({ url, certificate, total }: { url: string; certificate: string; total: number }) => {
    const signer = { key, certificate: readCertificate(Buffer.from(certificate, 'base64')) };
    const began = performance.now();
    let refused = 0;
    const comeBack = async () => {
      for (;;) {
        try {
          const client = await CollectionClient.collect(url, [signer]);
          const gone = client.closed.then(({ code }) => Promise.reject(new Error(`Closed with ${code}`)));
          gone.catch(() => undefined);
          await Promise.race([client.settled(), gone]);
          return;
        } catch {
          refused++;
          await pause(RETRY_PAUSE);
        }
      }
    };
    await Promise.all(Array.from({ length: total }, comeBack));
    process.send?.({ time: performance.now() - began, refused });
  });
}

const ROLES: Readonly<Record<string, () => Promise<void>>> = { serve, collect };
const role = import.meta.main ? ROLES[process.argv[2] ?? ''] : undefined;
if (role) {
  await role();
} else {
  await runAlone(import.meta, reconnectRows);
}
