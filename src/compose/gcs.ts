/** Configuration to objects: messages in Cloud Storage. Loaded only where they are kept there. */
import { openGcs } from '../backends/gcp/gcs/open-gcs.ts';
import type { LocalBackends } from '../backends/local/local-backends.ts';
import type { Config } from '../config.ts';
import type { Clock, ObjectStore } from '../gateway/ports.ts';
import type { Logger } from '../log.ts';

/**
 * The given backends, with the bucket in place of their object store.
 *
 * @throws Error in one line, when the bucket cannot be used or does not answer for a minute
 */
export async function withBucket(
  others: LocalBackends,
  config: Config,
  logger: Logger | undefined,
  clock: Clock,
): Promise<LocalBackends> {
  if (config.gcsBucket === undefined) {
    throw new Error('GCS_BUCKET must be set where OBJECT_STORE is gcs');
  }
  const objects = await openGcs({ bucket: config.gcsBucket, clock, maxAge: config.gcsMaxAge, log: logger });
  const replaced: { objects: ObjectStore; check(): Promise<void> } = {
    objects,
    async check() {
      await Promise.all([others.check(), objects.check()]);
    },
  };
  return Object.assign(Object.create(others) as LocalBackends, replaced);
}
