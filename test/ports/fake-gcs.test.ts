/** The store in a bucket keeps its promises also on a Cloud Storage that is not of our making. */
import { after, before, suite } from 'node:test';
import { openGcs } from '../../src/backends/gcp/gcs/open-gcs.ts';
import { type FakeGcsServer, needsFakeGcs, startFakeGcs } from '../support/fake-gcs-server.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { type Departures, objectStoreContract } from './object-store.contract.ts';

const MAX_AGE = 180 * 86_400_000;

/** What fake-gcs-server does otherwise than Cloud Storage: a case here must fail, so this is true as long as it stands. */
const DEPARTURES: Departures = {
  'with a version, deletes that version only': {
    label: 'it deletes whatever is there, without a look at ifGenerationMatch',
    match: { code: 'ERR_ASSERTION', actual: true, expected: false },
  },
};

suite('fake-gcs-server', needsFakeGcs(), () => {
  let server: FakeGcsServer;
  before(async () => {
    server = await startFakeGcs();
  });
  after(() => server[Symbol.asyncDispose]());

  async function open() {
    const clock = new ManualClock();
    const bucket = await server.makeBucket();
    const objects = await openGcs({ bucket, clock, maxAge: MAX_AGE, apiEndpoint: server.url, youth: 60_000 });
    return { objects, clock, async [Symbol.asyncDispose]() {} };
  }

  objectStoreContract('A bucket of fake-gcs-server', open, DEPARTURES);
});
