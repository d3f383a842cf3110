/** Configuration to objects: messages in Cloud Storage. Loaded only where they are kept there. */
import type { GcsObjectStore } from '../backends/gcp/gcs/object-store.ts';
import { openGcs } from '../backends/gcp/gcs/open-gcs.ts';
import type { Config } from '../config.ts';
import type { Clock } from '../gateway/ports.ts';
import type { Logger } from '../log.ts';
import { rarely } from './patience.ts';

/** @throws Error in one line, when the bucket cannot be used or does not answer within `START_PATIENCE` */
export async function openBucket(config: Config, logger: Logger | undefined, clock: Clock): Promise<GcsObjectStore> {
  if (config.gcsBucket === undefined) {
    throw new Error('GCS_BUCKET must be set where OBJECT_STORE is gcs');
  }
  return openGcs({
    bucket: config.gcsBucket,
    clock,
    maxAge: config.gcsMaxAge,
    log: rarely(logger),
    apiEndpoint: config.storageEmulatorHost,
    startPatience: config.startPatience,
  });
}
