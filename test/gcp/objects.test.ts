/** Google's own Cloud Storage: the store in a bucket keeps its promises there. */
import assert from 'node:assert/strict';
import { Storage } from '@google-cloud/storage';
import { openGcs } from '../../src/backends/gcp/gcs/open-gcs.ts';
import { objectStoreContract } from '../ports/object-store.contract.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { setting } from './settings.ts';

const MAX_AGE = 180 * 86_400_000;

const name = setting('GCP_TEST_BUCKET');
const bucket = new Storage().bucket(name);

/** Each case has the bucket to itself, and leaves it empty. One that is in use is not touched. */
async function open() {
  const [files] = await bucket.getFiles({ maxResults: 1, autoPaginate: false });
  assert.equal(files[0]?.name, undefined, `GCP_TEST_BUCKET ${name} is not empty`);
  const clock = new ManualClock(Date.now());
  const objects = await openGcs({ bucket: name, clock, maxAge: MAX_AGE });
  return { objects, clock, [Symbol.asyncDispose]: () => bucket.deleteFiles() };
}

objectStoreContract("A bucket of Google's", open);
