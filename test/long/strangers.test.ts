/** Strangers do their worst, from many addresses at once: memory stays bounded, and who behaves well is served. */
import assert from 'node:assert/strict';
import { type ChildProcess, type ForkOptions, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { type SpawnedGateway, spawnGateway } from '../support/gateway.ts';
import { newOfficialIdentity, OfficialPrivateGateway } from '../support/official-client.ts';
import { RawCourier } from '../support/raw-courier.ts';

const MIB = 1024 * 1024;
const MAX_RESIDENT = 512 * MIB;

/** How long a flood lasts, in milliseconds. */
const DURATION = 45_000;

/** How often a client tries in vain at most. */
const ATTEMPTS = 10;

const FLOOD = new URL('../support/flood.ts', import.meta.url);
const REGISTERED_FLOOD = new URL('../support/registered-flood.ts', import.meta.url);

/** What each kind of flood must come to, in connections, lest it be no flood. */
const LEAST = { bodies: 500, headers: 500, handshakes: 500, messages: 500, calls: 500, watches: 500, collections: 10 };

type Kind = keyof typeof LEAST;

/** Resident memory of a process, in octets. */
function residentOctets(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  return Number(kib) * 1024;
}

/** Tries again as clients do: their 5 s may run out while thousands of strangers arrive at once. */
async function persevere<Result>(attempt: () => Promise<Result>): Promise<Result> {
  for (let failures = 0; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (failures === ATTEMPTS) {
        throw error;
      }
      await pause(500);
    }
  }
}

/**
 * Has strangers flood the gateway while `serve` has it serve somebody, again and again.
 *
 * @param serve given how often it was called before
 */
async function flood(gateway: SpawnedGateway, kinds: readonly Kind[], serve: (round: number) => Promise<void>) {
  const { poweb, pohttp, cogrpc, process: server } = gateway;
  const stdio: ForkOptions['stdio'] = ['ignore', 'ignore', 'inherit', 'ipc'];
  const floods: ChildProcess[] = kinds.map((kind) =>
    kind === 'collections'
      ? fork(REGISTERED_FLOOD, [poweb], { stdio })
      : fork(FLOOD, [kind, poweb, pohttp, cogrpc], { stdio }),
  );
  try {
    let most = 0;
    let served = 0;
    let slowest = 0;
    for (const end = performance.now() + DURATION; performance.now() < end; ) {
      const began = performance.now();
      await serve(served);
      slowest = Math.max(slowest, performance.now() - began);
      served++;
      most = Math.max(most, residentOctets(server.pid as number));
      await pause(200);
    }
    const reports = floods.map((process) => once(process, 'message') as Promise<[{ kind: Kind; connections: number }]>);
    for (const process of floods) {
      process.send('report');
    }
    const told = (await Promise.all(reports)).map(([report]) => report);
    console.log(
      `at most ${Math.round(most / MIB)} MiB resident; served ${served} times, the slowest in ` +
        `${Math.round(slowest)} ms; ${told.map(({ kind, connections }) => `${connections} ${kind}`).join(', ')}`,
    );
    for (const { kind, connections } of told) {
      assert.ok(connections > LEAST[kind], `the flood of ${kind} made ${connections} connections only`);
    }
    assert.ok(most < MAX_RESIDENT, `${most / MIB} MiB resident`);
    assert.ok(served >= 5, `served ${served} times in ${DURATION / 1000} s`);
  } finally {
    for (const process of floods) {
      process.kill('SIGKILL');
    }
  }
}

/** @returns has a parcel delivered and collected, as the official clients do it */
async function newParcels({ poweb }: SpawnedGateway): Promise<(round: number) => Promise<void>> {
  const peer = await OfficialPrivateGateway.register(poweb);
  const endpoint = await peer.newEndpoint();
  const sender = await endpoint.authorize(await newOfficialIdentity());
  return async (round) => {
    const id = `in-the-flood-${round}`;
    const parcel = await endpoint.writeParcel(sender, Buffer.from(id), { id });
    await persevere(() => peer.deliver(parcel));
    const collected = await persevere(() => peer.collectAll());
    assert.deepEqual(collected, [Buffer.from(parcel)], id);
  };
}

/** Has a courier bring what is no cargo, which it is told to carry no further; from a network where nobody floods. */
async function bringCargo({ cogrpc }: SpawnedGateway): Promise<void> {
  using courier = new RawCourier(cogrpc, {}, '127.99.0.1');
  const call = courier.deliverCargo();
  // Where the connection is lost, the call ends too.
  void call.send('1', Buffer.from('no cargo'));
  call.stream.end();
  assert.equal(await call.ended(), status.OK);
  assert.deepEqual(call.acknowledged, ['1']);
}

test('A flood of slow bodies, endless headers, half handshakes and large messages takes less than 512 MiB, and others are served', async () => {
  await using gateway = await spawnGateway();
  await flood(gateway, ['bodies', 'headers', 'handshakes', 'messages'], await newParcels(gateway));
});

test('So does one of endless cargo and of watches', async () => {
  await using gateway = await spawnGateway();
  const bringParcel = await newParcels(gateway);
  await flood(gateway, ['calls', 'watches'], async (round) => {
    await bringParcel(round);
    await persevere(() => bringCargo(gateway));
  });
});

test('So does one of collections by those who have registered', async () => {
  await using gateway = await spawnGateway();
  await flood(gateway, ['collections'], await newParcels(gateway));
});
