/** Configuration to objects: records in Firestore. Loaded only where they are kept there. */
import { openFirestoreRecords } from '../backends/gcp/firestore/open-firestore.ts';
import type { FirestoreRecords } from '../backends/gcp/firestore/records.ts';
import type { Config } from '../config.ts';
import type { Clock } from '../gateway/ports.ts';
import type { Logger } from '../log.ts';
import { machineRandom } from '../machine.ts';
import { rarely } from './patience.ts';

/** @throws Error in one line, when the database cannot be used or does not answer within `START_PATIENCE` */
export async function openDatabase(
  config: Config,
  logger: Logger | undefined,
  clock: Clock,
): Promise<FirestoreRecords> {
  if (config.gcpProject === undefined) {
    throw new Error('GCP_PROJECT must be set where RECORDS is firestore');
  }
  return openFirestoreRecords({
    project: config.gcpProject,
    database: config.firestoreDatabase,
    emulator: config.firestoreEmulatorHost,
    clock,
    random: machineRandom,
    log: rarely(logger),
    startPatience: config.startPatience,
  });
}
