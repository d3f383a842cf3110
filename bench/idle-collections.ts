/**
 * What 15,000 idle collections cost in one process: the door and the gateway room in a process of their own, as in the
 * program, and the clients in another.
 *
 * Each client does a whole handshake. Nobody can make 15,000 RSA keys for this, so all sign with one, and the server,
 * having verified that, gives each a mailbox of its own. Memory is resident memory after garbage collection, when all
 * have been pinged; the first few hundred collections are the base, since code and stores are not what is measured.
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
const BASE = 500;

/** How many clients connect at once. */
const BATCH = 50;

/** Every connection is pinged once in this time, and answers. */
const PING_ROUND = 6000;

const MAX_KIB_EACH = 12;

/** Issue 3: no stall of the event loop over this, in milliseconds. */
const MAX_DELAY = 250;

interface Measurement {
  readonly collections: number;
  readonly residentOctets: number;
  /** The longest that the event loop was late in the last ping round, in milliseconds. */
  readonly delay: number;
}

/** Measures, in processes that it starts and ends. */
export async function idleCollectionsRows(): Promise<Row[]> {
  const server = start('serve', ['--expose-gc']);
  const clients = start('collect');
  try {
    const { url, certificate } = await answer<{ url: string; certificate: string }>(server);
    const open = async (total: number): Promise<Measurement> => {
      clients.send({ url, certificate, total });
      await answer(clients);
      server.send('measure');
      return answer<Measurement>(server);
    };
    const base = await open(BASE);
    const full = await open(COLLECTIONS);
    const each = (full.residentOctets - base.residentOctets) / (full.collections - base.collections) / 1024;
    return [
      {
        name: 'idle collections in one process',
        value: full.collections,
        unit: '',
        bar: `= ${COLLECTIONS}`,
        ok: full.collections === COLLECTIONS,
      },
      {
        name: 'resident memory of an idle collection',
        value: each,
        unit: 'KiB',
        bar: `≤ ${MAX_KIB_EACH}`,
        ok: each <= MAX_KIB_EACH,
      },
      {
        name: 'longest delay of the event loop meanwhile',
        value: full.delay,
        unit: 'ms',
        bar: `≤ ${MAX_DELAY}`,
        ok: full.delay <= MAX_DELAY,
      },
    ];
  } finally {
    clients.kill('SIGKILL');
    server.kill('SIGTERM');
  }
}

function start(role: 'serve' | 'collect', execArgv: string[] = []): ChildProcess {
  return fork(fileURLToPath(import.meta.url), [role], { execArgv, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
}

/** The next message of a process. @throws Error when it ends instead */
async function answer<Message>(child: ChildProcess): Promise<Message> {
  const ended = new AbortController();
  try {
    const { signal } = ended;
    const exit = once(child, 'exit', { signal }).then(() =>
      Promise.reject(new Error('A process of the benchmark ended')),
    );
    const [message] = await Promise.race([once(child, 'message', { signal }), exit]);
    return message as Message;
  } finally {
    ended.abort();
  }
}

/** Verifies each handshake, then takes its signer for somebody else each time. */
class SeparateMailboxes extends ParcelCollections {
  private count = 0;

  override authenticate(nonce: Buffer, response: Buffer): string[] {
    return super.authenticate(nonce, response).map(
      () =>
        `0${createHash('sha256')
          .update(`${++this.count}`)
          .digest('hex')}`,
    );
  }
}

async function serve(): Promise<void> {
  const room = await openGatewayRoom();
  process.once('SIGTERM', () => void room[Symbol.asyncDispose]().then(() => process.exit()));
  const { identity, storage, clock, backends } = room;
  const log = pino({ level: 'info' }, { write: () => undefined });
  const server = await createHttpServer({ name: 'collection', host: '127.0.0.1', port: 0, log });
  const door = serveCollection(server, {
    collections: new SeparateMailboxes({ identity, storage, certificates: new CertificateCache(), clock }),
    limits: new AddressLimits({ meters: backends.meters, clock }),
  });
  const privateGateway = await issued(await testIdentity('private-gateway'), room.asNode());
  process.on('message', async () => {
    const delay = monitorEventLoopDelay({ resolution: 10 });
    delay.enable();
    await pause(PING_ROUND);
    delay.disable();
    // Twice: what finalizers let go is collected by the second.
    globalThis.gc?.();
    await pause(100);
    globalThis.gc?.();
    process.send?.({
      collections: door.size,
      residentOctets: process.memoryUsage.rss(),
      delay: delay.max / 1e6,
    } satisfies Measurement);
  });
  process.send?.({ url: await server.listen(), certificate: privateGateway.certificate.raw.toString('base64') });
}

async function collect(): Promise<void> {
  const { key } = await testIdentity('private-gateway');
  const clients: CollectionClient[] = [];
  process.on('message', async ({ url, certificate, total }: { url: string; certificate: string; total: number }) => {
    const signer = { key, certificate: readCertificate(Buffer.from(certificate, 'base64')) };
    while (clients.length < total) {
      const batch = Math.min(BATCH, total - clients.length);
      const opened = await Promise.all(
        Array.from({ length: batch }, async () => {
          const client = await CollectionClient.collect(url, [signer]);
          await client.settled();
          return client;
        }),
      );
      clients.push(...opened);
    }
    process.send?.('done');
  });
}

if (import.meta.main) {
  const roles: Record<string, () => Promise<void>> = { serve, collect };
  const role = roles[process.argv[2] ?? ''];
  await (role ? role() : runAlone(import.meta, idleCollectionsRows));
}
