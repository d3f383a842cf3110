/** Ten thousand records in Firestore, which a list reads page by page. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FirestoreClient } from '@google-cloud/firestore-api';
import { credentials } from '@grpc/grpc-js';
import { writeDocument } from '../../src/backends/gcp/firestore/document-fields.ts';
import { DocumentNames } from '../../src/backends/gcp/firestore/document-names.ts';
import { machineRandom } from '../../src/machine.ts';
import { needsFirestore, startFirestore } from '../support/firestore-emulator.ts';
import { openFirestoreRoom } from '../support/firestore-records.ts';

const RECORDS = 10_000;
/** Writes that one commit may have. */
const BATCH = 500;

suite('Many records in Firestore', needsFirestore(), () => {
  test('are listed whole and in order, in pages', async () => {
    await using emulator = await startFirestore();
    await using room = await openFirestoreRoom(emulator.host);
    const { records, proxy, project } = room;
    const names = new DocumentNames({ project, database: '(default)' });
    const keys = Array.from({ length: RECORDS }, (_, n) => `peer/${String(n).padStart(5, '0')}`);
    const [apiEndpoint = '', port] = emulator.host.split(':');
    const client = new FirestoreClient({
      ...{ projectId: project, apiEndpoint, port: Number(port), sslCreds: credentials.createInsecure() },
      clientOptions: { universeDomain: 'googleapis.com' },
    });
    for (let start = 0; start < keys.length; start += BATCH) {
      const writes = keys.slice(start, start + BATCH).map((key) => ({
        update: writeDocument(names.ofRecord('collected-parcels', key), { key }, undefined, machineRandom(12)),
      }));
      await client.commit({ database: names.database, writes });
    }
    await client.close();
    const listed: string[] = [];
    for await (const { key, fields } of records.list('collected-parcels', 'peer/')) {
      assert.equal(fields['key'], key);
      listed.push(key);
    }
    assert.deepEqual(listed, keys);
    // 100, 300, 900, then 1,000 each.
    assert.equal(proxy.counts['RunQuery'], 12);
  });
});
