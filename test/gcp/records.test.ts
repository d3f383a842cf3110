/** Google's own Firestore: records keep their promises there. */
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { Firestore } from '@google-cloud/firestore';
import { openFirestoreRecords } from '../../src/backends/gcp/firestore/open-firestore.ts';
import { machineRandom } from '../../src/machine.ts';
import { recordsContract } from '../ports/records.contract.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { setting } from './settings.ts';

const project = setting('GCP_TEST_PROJECT');
const database = setting('GCP_TEST_DATABASE');
const firestore = new Firestore({ projectId: project, databaseId: database });
after(() => firestore.terminate());

/** Each case has the database to itself, and leaves it empty. One that is in use is not touched. */
async function open() {
  const [collection] = await firestore.listCollections();
  assert.equal(collection?.id, undefined, `GCP_TEST_DATABASE ${database} is not empty`);
  const clock = new ManualClock(Date.now());
  const emulator = process.env['FIRESTORE_EMULATOR_HOST'];
  const records = await openFirestoreRecords({ project, database, emulator, clock, random: machineRandom });
  return {
    records,
    clock,
    async [Symbol.asyncDispose]() {
      await records[Symbol.asyncDispose]();
      for (const each of await firestore.listCollections()) {
        await firestore.recursiveDelete(each);
      }
    },
  };
}

recordsContract("Google's Firestore", open);
