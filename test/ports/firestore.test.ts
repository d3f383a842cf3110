/** Firestore, Google's own emulator, keeps the promises of records. */
import { after, before, suite } from 'node:test';
import { openFirestoreRecords } from '../../src/backends/gcp/firestore/open-firestore.ts';
import { machineRandom } from '../../src/machine.ts';
import { type FirestoreEmulator, needsFirestore, newProject, startFirestore } from '../support/firestore-emulator.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { recordsContract } from './records.contract.ts';

/** A machine that is busy must not fail what is shown here: milliseconds. */
const BOUNDS = { attempt: 20_000, total: 60_000 };

suite('Firestore', needsFirestore(), () => {
  let emulator: FirestoreEmulator;
  before(async () => {
    emulator = await startFirestore();
  });
  after(() => emulator[Symbol.asyncDispose]());

  async function open() {
    const clock = new ManualClock();
    const project = newProject();
    const records = await openFirestoreRecords({
      ...{ project, database: '(default)', emulator: emulator.host, clock, random: machineRandom, bounds: BOUNDS },
    });
    return { records, clock, [Symbol.asyncDispose]: () => records[Symbol.asyncDispose]() };
  }

  recordsContract('Firestore', open);
});
