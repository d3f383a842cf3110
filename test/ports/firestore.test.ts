/** Firestore, Google's own emulator, keeps the promises of records, and of what keeps something in records. */
import { after, before, suite } from 'node:test';
import { openFirestoreRecords } from '../../src/backends/gcp/firestore/open-firestore.ts';
import { machineRandom } from '../../src/machine.ts';
import { PATIENT } from '../support/call-bounds.ts';
import { type FirestoreEmulator, needsFirestore, newProject, startFirestore } from '../support/firestore-emulator.ts';
import { openKmsRoom } from '../support/kms.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { identityKeysContract } from './identity-keys.contract.ts';
import { keyWrappingContract } from './key-wrapping.contract.ts';
import { recordsContract } from './records.contract.ts';

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
      ...{ project, database: '(default)', emulator: emulator.host, clock, random: machineRandom, bounds: PATIENT },
    });
    return { records, clock, [Symbol.asyncDispose]: () => records[Symbol.asyncDispose]() };
  }

  /** Keys in Cloud KMS, with what is noted of them in Firestore. */
  async function openKeys() {
    await using opened = new AsyncDisposableStack();
    const { records } = opened.use(await open());
    const room = opened.use(await openKmsRoom({ records }));
    const resources = opened.move();
    return { ...room.keys, [Symbol.asyncDispose]: () => resources.disposeAsync() };
  }

  recordsContract('Firestore', open);
  identityKeysContract('Cloud KMS, with records in Firestore,', openKeys);
  keyWrappingContract('Cloud KMS, with records in Firestore,', openKeys);
});
