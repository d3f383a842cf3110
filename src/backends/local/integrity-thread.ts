/**
 * A short-lived thread that reads a large store through and tells whether its indexes still lead to all its rows.
 *
 * A damaged index makes no error: rows are only not found. Bodies are left out, since they carry checksums of their
 * own and are found by number.
 */

import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { faultOfIndexes } from './integrity.ts';
import type { FileName } from './schema.ts';

const { path, name } = workerData as { path: string; name: FileName };
const database = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
parentPort?.postMessage(faultOfIndexes(database, name));
database.close();
