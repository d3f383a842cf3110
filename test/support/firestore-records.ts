/** Records in Firestore for tests, through a proxy that counts the calls and can spoil them. */
import type { CallBounds } from '../../src/backends/gcp/calls.ts';
import { openFirestoreRecords } from '../../src/backends/gcp/firestore/open-firestore.ts';
import type { FirestoreRecords } from '../../src/backends/gcp/firestore/records.ts';
import { machineRandom } from '../../src/machine.ts';
import { PATIENT } from './call-bounds.ts';
import { newProject } from './firestore-emulator.ts';
import { type GrpcProxy, startGrpcProxy } from './grpc-proxy.ts';
import { ManualClock } from './manual-clock.ts';

export interface FirestoreRoom extends AsyncDisposable {
  readonly project: string;
  readonly proxy: GrpcProxy;
  readonly records: FirestoreRecords;
  readonly clock: ManualClock;
  /** Opens the same records once more, as another process does; without the proxy. */
  another(): Promise<FirestoreRecords>;
}

/** @param emulator HOST:PORT; nothing is counted of what the opening itself costs */
export async function openFirestoreRoom(emulator: string, bounds = PATIENT): Promise<FirestoreRoom> {
  await using opened = new AsyncDisposableStack();
  const clock = new ManualClock();
  const project = newProject();
  const proxy = opened.use(await startGrpcProxy(emulator));
  const open = async (host: string, bound: CallBounds) =>
    openFirestoreRecords({
      ...{ project, database: '(default)', emulator: host, clock, random: machineRandom, bounds: bound },
    });
  const records = opened.use(await open(proxy.host, bounds));
  proxy.resetCounts();
  const resources = opened.move();
  return {
    ...{ project, proxy, records, clock },
    another: async () => resources.use(await open(emulator, PATIENT)),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
