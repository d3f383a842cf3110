/**
 * Cargo out and in, beside the least that its octets cost: AES-128-CBC and SHA-256 alone, in the same process and in
 * turns with ours. And whole collections over CogRPC: how long one takes, and how much memory.
 *
 * Each case runs in a process of its own. CPU is that of all its threads.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { readCargoMessageSet } from '../src/awala/cargo/cargo-message-set.ts';
import { CertificateCache } from '../src/awala/pki/certificate-cache.ts';
import { verifyPath } from '../src/awala/pki/certification-path.ts';
import { RamfType, readRamfMessage, verifyRamfMessage } from '../src/awala/ramf/ramf-message.ts';
import { MAX_SHARED_CARGO } from '../src/config/settings.ts';
import { CogRpcClient } from '../src/courier/cogrpc-client.ts';
import { DEFAULT_CARGO_SIZES } from '../src/gateway/cargo/cargo-collection.ts';
import { giveBack } from '../src/gateway/give-back.ts';
import { CLOCK_DRIFT } from '../src/gateway/time.ts';
import { collectCargo } from '../src/services/cogrpc/collect-cargo.ts';
import { createCogRpcServer } from '../src/services/cogrpc/server.ts';
import { CargoRecipient, cargoCollectionsOf } from '../test/support/cargo-recipient.ts';
import { CargoSender, openCargoRoom } from '../test/support/cargo-room.ts';
import { type GatewayRoom, openGatewayRoom } from '../test/support/gateway-room.ts';
import { ManualClock } from '../test/support/manual-clock.ts';
import { type TestChain, testChain, testParcel } from '../test/support/pki.ts';
import { type Row, runAlone } from './row.ts';
import {
  againstFloor,
  cpuOf,
  encryptAndHash,
  hashAndDecrypt,
  type Ratio,
  signingAndAgreeing,
} from './support/cargo-floor.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const MB = 1_000_000;

/** Octets that each round of the ratios moves. */
const ROUND_OCTETS = 30 * MB;

/**
 * Cargo out is made again and again of one mailbox, a full collection at a time, so that more rounds cost little; it is
 * encrypted a parcel at a time, or some tens of KiB of small ones.
 */
const OUT = { octets: 50 * MB, rounds: 7, warmUpRounds: 8, piece: MIB };

/** Octets of cargo that comes in: deployed clients fill it nearly to its limit of 8 MiB. */
const CARGO_OCTETS = 7 * MIB;

const LEAST_OF_FLOOR = { large: 0.6, small: 0.25 };
const MAX_SECONDS = 3;
const MAX_GROWTH = 64;

interface Peak {
  /** Highest resident memory during the collection, in octets. */
  readonly peak: number;
}

export async function cargoRows(): Promise<Row[]> {
  return [
    ...(await outRows()),
    ...ratioRows('cargo in, 1 MiB parcels, opened', await inProcess<Ratio>('opened', MIB), LEAST_OF_FLOOR.large),
    ...ratioRows('cargo in, 1 KiB parcels, opened', await inProcess<Ratio>('opened', KIB), LEAST_OF_FLOOR.small),
    ...ratioRows('cargo in, 1 MiB parcels, delivered', await inProcess<Ratio>('delivered', MIB)),
    ...ratioRows('cargo in, 1 KiB parcels, delivered', await inProcess<Ratio>('delivered', KIB)),
    ...(await collectionRows()),
  ];
}

/** A parcel of 1 MiB fills a cargo of the default size, which so needs a key, an agreement and a signature for itself. */
async function outRows(): Promise<Row[]> {
  const { most } = DEFAULT_CARGO_SIZES;
  const alone = await inProcess<Ratio>('out', MIB, most);
  const { ratioToDue = 0 } = alone;
  return [
    ...ratioRows('cargo out, 1 MiB parcels, one a cargo', alone),
    {
      name: 'cargo out, 1 MiB parcels, one a cargo: to what that needs',
      value: ratioToDue,
      unit: '',
      bar: `≥ ${LEAST_OF_FLOOR.large}`,
      ok: ratioToDue >= LEAST_OF_FLOOR.large,
    },
    ...ratioRows(
      'cargo out, 1 MiB parcels, largest CARGO_SIZE',
      await inProcess<Ratio>('out', MIB, MAX_SHARED_CARGO),
      LEAST_OF_FLOOR.large,
    ),
    ...ratioRows('cargo out, 1 KiB parcels', await inProcess<Ratio>('out', KIB, most), LEAST_OF_FLOOR.small),
    ...ratioRows(
      'cargo out, 1 KiB parcels, largest CARGO_SIZE',
      await inProcess<Ratio>('out', KIB, MAX_SHARED_CARGO),
      LEAST_OF_FLOOR.small,
    ),
  ];
}

function ratioRows(name: string, { pace, ratio }: Ratio, bar?: number): Row[] {
  const share = { name: `${name}: to AES and SHA-256 alone`, value: ratio, unit: '' };
  return [
    { name: `${name}, a core`, value: pace, unit: 'MB/s' },
    bar === undefined ? share : { ...share, bar: `≥ ${bar}`, ok: ratio >= bar },
  ];
}

async function collectionRows(): Promise<Row[]> {
  const small = await collectOver(20 * MB, 64 * KIB);
  const large = await collectOver(200 * MB, 64 * KIB);
  const timed = await collectOver(50 * MB, KIB);
  const growth = (large.peak - small.peak) / MIB;
  return [
    {
      name: 'a collection of 50 MB in 1 KiB parcels, over CogRPC',
      value: timed.seconds,
      unit: 's',
      bar: `≤ ${MAX_SECONDS}`,
      ok: timed.seconds <= MAX_SECONDS,
    },
    { name: 'peak memory of collecting 20 MB', value: small.peak / MIB, unit: 'MiB' },
    {
      name: 'peak memory of collecting 200 MB, beyond that',
      value: growth,
      unit: 'MiB',
      bar: `≤ ${MAX_GROWTH}`,
      ok: growth <= MAX_GROWTH,
    },
  ];
}

/** Collects from a server in a process of its own. */
async function collectOver(octets: number, payload: number): Promise<{ seconds: number; peak: number }> {
  const server = start('serve', octets, payload);
  try {
    const { url, cca } = await answer<{ url: string; cca: string }>(server);
    using client = new CogRpcClient(new URL(url));
    server.send('watch');
    const began = performance.now();
    let received = 0;
    for await (const { cargo, acknowledge } of client.collect(
      Buffer.from(cca, 'base64'),
      new AbortController().signal,
    )) {
      received += cargo.length;
      acknowledge();
    }
    const seconds = (performance.now() - began) / 1000;
    if (received < octets) {
      throw new Error(`Only ${received} octets came`);
    }
    server.send('tell');
    return { seconds, ...(await answer<Peak>(server)) };
  } finally {
    server.send('end');
  }
}

/** @param most octets of a cargo that goes out */
async function inProcess<Result>(role: string, payload: number, most?: number): Promise<Result> {
  const child = start(role, most ? OUT.octets : ROUND_OCTETS, payload, most);
  try {
    return await answer<Result>(child);
  } finally {
    child.send('end');
  }
}

function start(role: string, octets: number, payload: number, most = 0): ChildProcess {
  return fork(fileURLToPath(import.meta.url), [role, String(octets), String(payload), String(most)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
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

const QUOTA = { count: 10_000_000, octets: 1024 ** 4 };

/** One parcel, signed once, under as many keys as octets need: what is inside is nobody's business on its way out. */
async function fillMailbox(room: GatewayRoom, chain: TestChain, octets: number, payload: number): Promise<void> {
  const bytes = await testParcel(chain, { payload: randomBytes(payload) });
  const count = Math.ceil(octets / bytes.length);
  const expiry = room.clock.now() + 86_400_000;
  const metadata = { trace: '', parcel: 'parcel', sender: chain.sender.id, recipient: chain.endpoint.id };
  const batch = Math.max(1, Math.min(500, Math.floor((4 * MIB) / bytes.length)));
  for (let done = 0; done < count; done += batch) {
    const some = Array.from({ length: Math.min(batch, count - done) }, (_, index) =>
      room.mailboxes.put(chain.privateGateway.id, { digest: `${done + index}`, bytes, expiry, metadata }),
    );
    await Promise.all(some);
  }
}

async function filledRoom(octets: number, payload: number) {
  const room = await openGatewayRoom(new ManualClock(Date.now()), { mailboxQuota: QUOTA });
  const chain = await testChain({ gateway: room.asNode() });
  await fillMailbox(room, chain, octets, payload);
  return { room, recipient: await CargoRecipient.register(room, chain.privateGateway) };
}

/** From the mailbox to cargo that is ready to be sent. @param most octets of a cargo */
async function out(octets: number, payload: number, most: number): Promise<Ratio> {
  const { room, recipient } = await filledRoom(octets, payload);
  await using _ = room;
  const collections = cargoCollectionsOf(room, { sizes: { ...DEFAULT_CARGO_SIZES, most } });
  const { key } = room.identity.issuer();
  const round = async () => {
    const collection = await collections.open(await recipient.writeCca(), { trace: '' });
    const sizes: number[] = [];
    const cpu = await cpuOf(async () => {
      for await (const { id, cargo, octets } of collection.deliveries(new AbortController().signal)) {
        sizes.push(octets);
        collection.acknowledge(id);
        // As the door does when it is sent.
        cargo.forEach(giveBack);
      }
    });
    collection[Symbol.dispose]();
    return { sizes, cpu };
  };
  return await againstFloor(round, encryptAndHash, { ...OUT, due: await signingAndAgreeing(key) });
}

/** From cargo to the messages in it, or to where these wait. */
async function into(octets: number, payload: number, isWhole: boolean): Promise<Ratio> {
  await using cargoRoom = await openCargoRoom({ quotas: { mailboxQuota: QUOTA, outboxQuota: QUOTA } });
  const { room, delivery, processing, sessions } = cargoRoom;
  const sender = await CargoSender.register(room);
  const certificates = new CertificateCache();
  const open = async (bytes: Buffer) => {
    const now = room.clock.now();
    const cargo = readRamfMessage(RamfType.CARGO, bytes, certificates);
    const trusted = room.identity.trusted();
    verifyPath(cargo.sender, { intermediates: [], trusted, now, drift: CLOCK_DRIFT, cache: certificates });
    verifyRamfMessage(cargo, now, CLOCK_DRIFT);
    const plaintext = await sessions.decrypt(cargo.payload, sender.id, cargo.creation);
    Array.from(readCargoMessageSet(plaintext));
  };
  const deliver = async (bytes: Buffer) => {
    await delivery.deliver(bytes, { trace: '' });
    for await (const { key } of room.backends.objects.list('cargo/')) {
      await processing.open(key, async () => undefined);
    }
  };
  return await againstFloor(async () => {
    const cargoes = await newCargoes(sender, octets, payload);
    const cpu = await cpuOf(async () => {
      for (const cargo of cargoes) {
        await (isWhole ? deliver(cargo) : open(cargo));
      }
    });
    return { sizes: cargoes.map(({ length }) => length), cpu };
  }, hashAndDecrypt);
}

/** Parcels that never came before, in cargoes as deployed clients make them. */
async function newCargoes(sender: CargoSender, octets: number, payload: number): Promise<Buffer[]> {
  const cargoes: Buffer[] = [];
  for (let total = 0; total < octets; ) {
    const parcels: Buffer[] = [];
    for (let size = 0; size < CARGO_OCTETS - payload; size += parcels.at(-1)?.length ?? 0) {
      parcels.push(await sender.parcel({ payload: randomBytes(payload) }));
    }
    const cargo = await sender.cargo(parcels);
    cargoes.push(cargo);
    total += cargo.length;
  }
  return cargoes;
}

/** The door of couriers over a full mailbox. */
async function serve(octets: number, payload: number): Promise<void> {
  const { room, recipient } = await filledRoom(octets, payload);
  const log = pino({ level: 'info' }, { write: () => undefined });
  const options = { host: '127.0.0.1', port: 0, log, checkStores: () => room.backends.check() };
  const server = await createCogRpcServer(options, { collectCargo: collectCargo(cargoCollectionsOf(room), log) });
  let peak = 0;
  const watch = () => {
    peak = Math.max(peak, process.memoryUsage.rss());
  };
  process.on('message', (message) => {
    if (message === 'watch') {
      setInterval(watch, 5).unref();
    } else if (message === 'tell') {
      watch();
      process.send?.({ peak } satisfies Peak);
    }
  });
  const cca = (await recipient.writeCca()).toString('base64');
  // What filling the mailbox has left behind is gone.
  await pause(500);
  process.send?.({ url: await server.listen(), cca });
}

const [, program, role, octetsText, payloadText, mostText] = process.argv;
if (program === fileURLToPath(import.meta.url) && role !== undefined) {
  const [octets, payload] = [Number(octetsText), Number(payloadText)];
  const roles: Record<string, () => Promise<Ratio | undefined>> = {
    out: () => out(octets, payload, Number(mostText)),
    opened: () => into(octets, payload, false),
    delivered: () => into(octets, payload, true),
    serve: async () => {
      await serve(octets, payload);
      return undefined;
    },
  };
  process.on('message', (message) => {
    if (message === 'end') {
      process.exit();
    }
  });
  const result = await roles[role]?.();
  if (result) {
    process.send?.(result);
  }
} else {
  await runAlone(import.meta, cargoRows);
}
