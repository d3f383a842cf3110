/** Strangers do their worst, from many addresses at once: memory stays bounded, and who behaves well is served. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { spawnGateway } from '../support/gateway.ts';
import { newOfficialIdentity, OfficialPrivateGateway } from '../support/official-client.ts';

const MIB = 1024 * 1024;
const MAX_RESIDENT = 512 * MIB;

/** How long the flood lasts, in milliseconds. */
const DURATION = 45_000;

/** How often a client tries in vain at most. */
const ATTEMPTS = 10;

const FLOOD = new URL('../support/flood.ts', import.meta.url);

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

test('A flood of slow bodies, endless headers, half handshakes and large messages takes less than 512 MiB, and others are served', async () => {
  await using gateway = await spawnGateway();
  const { poweb, pohttp, process: server } = gateway;
  const peer = await OfficialPrivateGateway.register(poweb);
  const endpoint = await peer.newEndpoint();
  const sender = await endpoint.authorize(await newOfficialIdentity());

  const floods: ChildProcess[] = ['bodies', 'headers', 'handshakes', 'messages'].map((kind) =>
    fork(FLOOD, [kind, poweb, pohttp], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }),
  );
  try {
    let most = 0;
    let served = 0;
    let slowest = 0;
    for (const end = performance.now() + DURATION; performance.now() < end; ) {
      const began = performance.now();
      const id = `in-the-flood-${served}`;
      const parcel = await endpoint.writeParcel(sender, Buffer.from(id), { id });
      await persevere(() => peer.deliver(parcel));
      const collected = await persevere(() => peer.collectAll());
      assert.deepEqual(collected, [Buffer.from(parcel)], id);
      slowest = Math.max(slowest, performance.now() - began);
      served++;
      most = Math.max(most, residentOctets(server.pid as number));
      await pause(200);
    }
    const reports = floods.map((flood) => once(flood, 'message') as Promise<[{ kind: string; connections: number }]>);
    for (const flood of floods) {
      flood.send('report');
    }
    const told = (await Promise.all(reports)).map(([report]) => report);
    console.log(
      `at most ${Math.round(most / MIB)} MiB resident; ${served} parcels delivered and collected, ` +
        `the slowest in ${Math.round(slowest)} ms; ${told.map(({ kind, connections }) => `${connections} ${kind}`).join(', ')}`,
    );
    for (const { kind, connections } of told) {
      assert.ok(connections > 500, `the flood of ${kind} made ${connections} connections only`);
    }
    assert.ok(most < MAX_RESIDENT, `${most / MIB} MiB resident`);
    assert.ok(served >= 5, `${served} parcels in ${DURATION / 1000} s`);
  } finally {
    for (const flood of floods) {
      flood.kill('SIGKILL');
    }
  }
});
