/**
 * Google's own emulator of Firestore for tests: one that runs already (`FIRESTORE_EMULATOR_HOST`), or the one that came
 * with the Cloud SDK, started on a free port. Tests share one and have projects of their own in it.
 */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, realpathSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import type { TestOptions } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { openFirestoreRecords } from '../../src/backends/gcp/firestore/open-firestore.ts';
import { machineClock, machineRandom } from '../../src/machine.ts';
import { startBoundProcess } from './bound-process.ts';
import { PATIENT } from './call-bounds.ts';
import { freePort } from './free-port.ts';
import { needsTool } from './needs-tool.ts';

/** Where the Cloud SDK has it, below its root. */
const JAR = 'platform/cloud-firestore-emulator/cloud-firestore-emulator.jar';
/** Where Debian's packages put the Cloud SDK. */
const DEBIAN_ROOT = '/usr/lib/google-cloud-sdk';
const MAIN_CLASS = 'com.google.cloud.datastore.emulator.firestore.CloudFirestore';

/** It starts faster than by default, and stays small. */
const JAVA_OPTIONS = ['-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Duser.language=en'];

const HOW_TO_GET =
  "google-cloud-cli-firestore-emulator and a Java of Google's and Debian's packages, or set FIRESTORE_EMULATOR_HOST";

const START_LIMIT = 60_000;
const POLL = 50;

/** Options for a test that needs Firestore; skips it where there is none. @throws Error in continuous integration */
export function needsFirestore(): TestOptions {
  if (process.env['FIRESTORE_EMULATOR_HOST']) {
    return {};
  }
  return jar() === undefined ? needsTool('cloud-firestore-emulator', HOW_TO_GET) : needsTool('java', HOW_TO_GET);
}

function jar(): string | undefined {
  return cloudSdkRoots()
    .map((root) => path.join(root, JAR))
    .find(existsSync);
}

function cloudSdkRoots(): string[] {
  const given = process.env['CLOUDSDK_ROOT_DIR'];
  const found = (process.env['PATH'] ?? '')
    .split(path.delimiter)
    .map((directory) => path.join(directory, 'gcloud'))
    .filter(existsSync)
    .map((gcloud) => path.resolve(realpathSync(gcloud), '../..'));
  return [...(given ? [given] : []), ...found, DEBIAN_ROOT];
}

export interface FirestoreEmulator extends AsyncDisposable {
  /** HOST:PORT, as in `FIRESTORE_EMULATOR_HOST`. */
  readonly host: string;
  /** The process; undefined for one that runs anyway. */
  readonly pid: number | undefined;
}

/** Starts it, or gives the one that runs; disposal kills what was started. */
export async function startFirestore(): Promise<FirestoreEmulator> {
  const given = process.env['FIRESTORE_EMULATOR_HOST'];
  if (given) {
    return { host: given, pid: undefined, async [Symbol.asyncDispose]() {} };
  }
  const port = await freePort();
  const parameters = [...JAVA_OPTIONS, '-cp', jar() ?? '', MAIN_CLASS, 'start', '--host=127.0.0.1', `--port=${port}`];
  await using started = new AsyncDisposableStack();
  const { child } = started.use(startBoundProcess('java', parameters));
  await answers(port, child);
  await warm(`127.0.0.1:${port}`);
  const resources = started.move();
  return {
    host: `127.0.0.1:${port}`,
    pid: child.pid,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

async function answers(port: number, child: ChildProcess): Promise<void> {
  for (const end = performance.now() + START_LIMIT; !(await isListening(port)); await pause(POLL)) {
    const outcome = child.exitCode ?? child.signalCode;
    if (outcome !== null || performance.now() > end) {
      throw new Error(`The Firestore emulator does not start on port ${port} (it ended: ${outcome})`);
    }
  }
}

/** The very first calls take a Java longer than any later one, and longer than a gateway waits on a busy machine. */
async function warm(host: string): Promise<void> {
  await using records = await openFirestoreRecords({
    ...{ project: newProject(), database: '(default)', emulator: host },
    ...{ clock: machineClock, random: machineRandom, bounds: PATIENT },
  });
  await records.put('configuration', 'warm', {});
  await Array.fromAsync(records.list('configuration'));
  const { version = '' } = (await records.get('configuration', 'warm')) ?? {};
  await records.replace('configuration', 'warm', version, {});
  await records.delete('configuration', 'warm');
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** A project that nobody else has. */
export function newProject(): string {
  return `test-${randomBytes(6).toString('hex')}`;
}
