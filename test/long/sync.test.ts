/**
 * SIGKILL cannot show a missing sync: the system keeps what a dead process wrote. So the program's system calls are
 * looked at: between a parcel's being written and its 202, a sync returns.
 */
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Endpoint } from '../../src/doctor/endpoint.ts';
import { deliverByPoHttp } from '../../src/doctor/internet-endpoint.ts';
import { PrivateGateway } from '../../src/doctor/private-gateway.ts';
import { spawnGateway, temporaryDirectory } from '../support/gateway.ts';
import { needsTool } from '../support/needs-tool.ts';
import { readTrace, straceCommand, unsyncedAnswers } from '../support/system-calls.ts';

const ONE_BY_ONE = 10;
const AT_ONCE = 20;

test(
  'a sync returns between the writing of each parcel and its 202',
  needsTool('strace', 'apt-get install strace'),
  async (t) => {
    const directory = temporaryDirectory();
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const traceFile = path.join(directory, 'trace');
    const gateway = await spawnGateway({ directory: path.join(directory, 'data'), under: straceCommand(traceFile) });
    // Killing the tracer alone would leave the program running.
    const program = childOf(gateway.process.pid as number);
    t.after(() => gateway.process.exitCode === null && process.kill(program, 'SIGKILL'));

    const signal = new AbortController().signal;
    const owner = await PrivateGateway.create(new URL(`${gateway.poweb}/`), signal);
    const { nodeCertificate: certificate } = await owner.register(await owner.preRegister());
    const endpoint = await Endpoint.create({ key: owner.key, certificate });
    const markers = Array.from({ length: ONE_BY_ONE + AT_ONCE }, (_, index) => `parcel-${index}-of-the-sync-test;`);
    const deliver = async (marker: string, index: number) => {
      const parcel = await endpoint.writeParcel(undefined, Date.now(), Buffer.alloc(2048, marker));
      await (index % 2 === 0
        ? owner.deliver(parcel, certificate)
        : deliverByPoHttp(new URL(gateway.pohttp), parcel, signal));
    };
    for (const [index, marker] of markers.slice(0, ONE_BY_ONE).entries()) {
      await deliver(marker, index);
    }
    await Promise.all(markers.slice(ONE_BY_ONE).map(deliver));
    process.kill(program, 'SIGTERM');
    await gateway.exited;

    const calls = readTrace(readFileSync(traceFile, 'latin1'));
    assert.deepEqual(unsyncedAnswers(calls, markers), []);

    // The same trace without its syncs must not pass.
    const unsynced = calls.filter(({ name }) => !name.endsWith('sync'));
    assert.equal(unsyncedAnswers(unsynced, markers).length, markers.length);
  },
);

/** The process that strace runs. */
function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ')[0]);
}
